"""Signatures as Notation makes them: a JWS or a COSE envelope around a descriptor, with a chain of certificates.

:func:`verify` does no I/O: the envelope, what is demanded and the time go in; what has to be asked of authorities
(revocation) is yielded, and the verdict comes out. What a level only logs is named in the verdict.
See: Notary Project specification v1.0, trust-store-trust-policy, "Signature Verification".
"""

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from rundlet.trust import revocation, timestamps
from rundlet.trust.chains import Certificate, check_chain, check_times, load_certificates
from rundlet.trust.envelopes import COSE, JWS, Envelope, check_signature, open_cose, open_jws, read_time
from rundlet.trust.errors import NotationError
from rundlet.trust.policy import Rule, actions_of
from rundlet.trust.revocation import Question

__all__ = ["ARTIFACT", "COSE", "ENVELOPE_LIMIT", "JWS", "PAYLOAD", "Demands", "NotationError", "Verdict", "verify"]

ARTIFACT: Final = "application/vnd.cncf.notary.signature"
PAYLOAD: Final = "application/vnd.cncf.notary.payload.v1+json"
ENVELOPE_LIMIT: Final = 4 << 20

_SCHEME: Final = "io.cncf.notary.signingScheme"
_TIME: Final = "io.cncf.notary.signingTime"
_AUTHENTIC: Final = "io.cncf.notary.authenticSigningTime"
_EXPIRY: Final = "io.cncf.notary.expiry"
_UNDERSTOOD: Final = frozenset((_SCHEME, _TIME, _EXPIRY, _AUTHENTIC, 3))
_X509, _AUTHORITY = "notary.x509", "notary.x509.signingAuthority"


class Demands(NamedTuple):
    """What a rule of the policy asks for. ``actions`` by validation: ``enforce``, ``log`` or ``skip``."""

    roots: Sequence[Certificate]
    authorities: Sequence[Certificate]
    """Roots of signing authorities, which vouch for the time as well."""
    stampers: Sequence[Certificate]
    """Roots of time stamp authorities; with none, time stamps are not looked at."""
    identities: Sequence[str]
    """``x509.subject: C=…, ST=…, O=…`` as in Notation's trust policy; none, or ``*``, is anyone."""
    actions: Mapping[str, str]
    stamped_after_expiry: bool = False
    """Whether a time stamp counts only when the certificates have ended."""


class Verdict(NamedTuple):
    """A signature is good ``until`` then (None: for ever); ``logged`` are the failures that do not count."""

    until: datetime | None
    logged: tuple[str, ...]


Exchange = Generator[Question, bytes | None, Verdict]


def demands_of(rule: Rule) -> Demands:
    """Raises NotationError where a store's file is no certificate."""

    def store(key: str) -> list[Certificate]:
        return load_certificates(rule.files_in(rule.settings[key])) if key in rule.settings else []

    return Demands(
        roots=store("trust-store"),
        authorities=store("signing-authority-store"),
        stampers=store("tsa-store"),
        identities=rule.settings.get("identities", ()),
        actions=actions_of(rule.settings),
        stamped_after_expiry=rule.settings.get("verify-timestamp") == "afterCertExpiry",
    )


def require(demands: Demands) -> None:
    """Raises NotationError where a package is missing that the demands can't be met without."""
    if demands.stampers:
        timestamps.require()


def verify(data: bytes, media_type: str, digest: str, demands: Demands, now: datetime) -> Exchange:
    """Raises NotationError unless ``data`` is a signature of ``digest`` as ``demands`` has it."""
    try:
        envelope = open_cose(data) if media_type == COSE else open_jws(data)
        _check_integrity(envelope, digest)
        return (yield from _Verification(envelope, demands, now).run())
    except NotationError:
        raise
    except Exception as exc:  # certificates are read piece by piece, and there is more than one way to break them
        raise NotationError(f"it can't be read ({type(exc).__name__}): {str(exc)[:160]}") from exc


class _Verification:
    """One envelope under one rule: each validation, and what its failure means."""

    def __init__(self, envelope: Envelope, demands: Demands, now: datetime) -> None:
        self._envelope = envelope
        self._demands = demands
        self._now = now
        self._logged: list[str] = []
        self._until: list[datetime] = []

    def run(self) -> Exchange:
        authentic = self._step("authenticity", self._authenticity)
        self._step("expiry", self._expiry)
        stamped: datetime | None = None
        try:
            stamped = yield from self._times()
        except NotationError as exc:
            self._failed("authenticTimestamp", exc)
        if authentic:
            yield from self._revocation(self._envelope.chain, stamped)
        else:
            # The addresses in a stranger's certificates are not worth a visit.
            self._failed("revocation", NotationError("the certificates are not trusted to say whom to ask"))
        return Verdict(min(self._until, default=None), tuple(self._logged))

    def _step(self, name: str, check: Callable[[], None]) -> bool:
        try:
            check()
        except NotationError as exc:
            self._failed(name, exc)
            return False
        return True

    def _failed(self, name: str, exc: NotationError) -> None:
        """Raises what is enforced."""
        action = self._demands.actions[name]
        if action == "enforce":
            raise exc
        if action == "log":
            self._logged.append(f"{name}: {exc}")

    def _holds_until(self, name: str, end: datetime) -> None:
        if self._demands.actions[name] == "enforce":
            self._until.append(end)

    # ── validations ──────────────────────────────────────────────────────────────────────────────────────────

    def _authenticity(self) -> None:
        own = self._envelope.attributes[_SCHEME] == _X509
        check_chain(self._envelope.chain, self._demands.roots if own else self._demands.authorities)
        _check_identity(self._envelope.chain[0], self._demands.identities)

    def _expiry(self) -> None:
        value = self._envelope.attributes.get(_EXPIRY)
        if value is None:
            return
        expiry = read_time(value)
        if expiry <= self._now:
            raise NotationError("the signature has expired")
        self._holds_until("expiry", expiry)

    def _times(self) -> Generator[Question, bytes | None, datetime | None]:
        """When it is known to have been signed; None where that is nobody's word. Raises NotationError."""
        envelope, now = self._envelope, self._now
        if envelope.attributes[_SCHEME] == _AUTHORITY:
            if envelope.attributes.get(_AUTHENTIC) is None or _AUTHENTIC not in envelope.critical:
                raise NotationError("it does not say when it was signed")
            moment = read_time(envelope.attributes[_AUTHENTIC])
            check_times(envelope.chain, moment, moment)
            return moment
        ended = any(now > certificate.not_valid_after_utc for certificate in envelope.chain)
        if not self._demands.stampers or (self._demands.stamped_after_expiry and not ended):
            check_times(envelope.chain, now, now)
            self._holds_until("authenticTimestamp", min(item.not_valid_after_utc for item in envelope.chain))
            return None
        if not envelope.stamp:
            raise NotationError("it has no time stamp of an authority")
        stamp = timestamps.verify(envelope.stamp, envelope.signature, self._demands.stampers)
        yield from self._revocation(stamp.chain, None)
        check_times(envelope.chain, stamp.first, stamp.last)
        return stamp.last

    def _revocation(
        self, chain: Sequence[Certificate], stamped: datetime | None
    ) -> Generator[Question, bytes | None, None]:
        """Raises NotationError where it is enforced."""
        if self._demands.actions["revocation"] == "skip":
            return
        try:
            until = yield from revocation.check(chain, self._now, stamped)
        except NotationError as exc:
            self._failed("revocation", exc)
        else:
            if until is not None:
                self._holds_until("revocation", until)


def _check_integrity(envelope: Envelope, digest: str) -> None:
    """What every level enforces. Raises NotationError."""
    attributes = envelope.attributes
    if envelope.content_type != PAYLOAD:
        raise NotationError(f"the payload has the type {envelope.content_type!r}")
    if attributes.get(_SCHEME) not in (_X509, _AUTHORITY) or _SCHEME not in envelope.critical:
        raise NotationError(f"the signing scheme {attributes.get(_SCHEME)!r} is not known")
    unknown = [item for item in envelope.critical if item not in _UNDERSTOOD]
    if unknown:
        raise NotationError(f"it demands what is not known here: {unknown}")
    check_signature(envelope)
    try:
        found = json.loads(envelope.payload)["targetArtifact"]["digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise NotationError("the payload is no descriptor") from exc
    if found != digest:
        raise NotationError(f"it signs {str(found)[:80]}")


# ── identities ───────────────────────────────────────────────────────────────────────────────────────────────


def check_identities(identities: Sequence[str]) -> None:
    """Whether a policy may have these. Raises NotationError."""
    if list(identities) == ["*"]:
        return
    seen: list[frozenset[tuple[str, str]]] = []
    for identity in identities:
        kind, _, text = identity.partition(":")
        wanted = _attributes(text)
        present = {oid for oid, _ in wanted}
        demanded = (NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME)
        if kind.strip() != "x509.subject" or not all(oid.dotted_string in present for oid in demanded):
            raise NotationError(f'{identity!r}: want "x509.subject: C=…, ST=…, O=…" or "*" alone')
        if any(wanted <= other or other <= wanted for other in seen):
            raise NotationError(f"{identity!r}: another identity overlaps with it")
        seen.append(wanted)


def _check_identity(certificate: Certificate, identities: Sequence[str]) -> None:
    if not identities or "*" in identities:
        return
    has = _attributes(certificate.subject.rfc4514_string())
    for identity in identities:
        kind, _, text = identity.partition(":")
        wanted = _attributes(text)
        if kind.strip() == "x509.subject" and wanted and wanted <= has:
            return
    raise NotationError(f"{certificate.subject.rfc4514_string()} is none of the trusted identities")


def _attributes(text: str) -> frozenset[tuple[str, str]]:
    """Of a distinguished name. Nothing for what is none."""
    try:
        # People write a space after the comma; one that is part of a value is written with a backslash.
        name = x509.Name.from_rfc4514_string(re.sub(r"(?<!\\),\s+", ",", text.strip()))
    except ValueError:
        return frozenset()
    return frozenset((item.oid.dotted_string, str(item.value)) for item in name)
