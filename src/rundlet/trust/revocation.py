"""Whether an authority has taken back a certificate: by OCSP, else by its list (CRL). No I/O.

:func:`check` is a generator: it yields a :class:`Question`, is sent the answer's body or None, and returns until when
the answers hold; None where nobody had to be asked. What can't be found out is a failure as well as what was revoked.
See: Notary Project, trust-store-trust-policy, "Certificate Revocation Evaluation"; RFC 5280, 5 and 6.3; RFC 6960.
"""

from collections.abc import Generator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, CRLEntryExtensionOID, ExtendedKeyUsageOID, ExtensionOID

from rundlet.trust.chains import Certificate, extension
from rundlet.trust.errors import NotationError

OCSP_LIMIT: Final = 1 << 20
OCSP_SECONDS: Final = 2.0
CRL_LIMIT: Final = 32 << 20
CRL_SECONDS: Final = 5.0
ANSWERS_HOLD: Final = timedelta(days=1)
"""At most, whatever an answer says of itself."""

_UNDERSTOOD: Final = (ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.DELTA_CRL_INDICATOR)
_URLS: Final = 4
"""Of one certificate that are asked."""


class Question(NamedTuple):
    """A GET, or with ``body`` a POST; ``limit`` is in bytes."""

    url: str
    body: bytes | None
    seconds: float
    limit: int


class RevokedError(NotationError):
    """An authority has taken a certificate back."""

    reason = "trust-revoked"

    def __init__(self, name: str) -> None:
        super().__init__(f"the certificate of {name} has been revoked")


class UnknownStatusError(NotationError):
    """Nobody could say whether a certificate is still good."""

    reason = "trust-revocation-unknown"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"whether the certificate of {name} has been revoked can't be found out: {why}")


class _Unavailable(Exception):
    """Of one source: why it says nothing."""


Exchange = Generator[Question, bytes | None, datetime | None]


def check(chain: Sequence[Certificate], now: datetime, stamped: datetime | None) -> Exchange:
    """From the root to the signer. ``stamped`` is when an authority saw the signature, where one did.

    A certificate that names nobody to ask is good. Raises RevokedError, UnknownStatusError.
    """
    until: datetime | None = None
    for position in range(len(chain) - 2, -1, -1):
        until = _sooner(until, (yield from _status(chain[position], chain[position + 1], now, stamped)))
    return until


def _sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((item for item in (one, other) if item is not None), default=None)


def _status(certificate: Certificate, issuer: Certificate, now: datetime, stamped: datetime | None) -> Exchange:
    name = certificate.subject.rfc4514_string()
    responders, lists = _responders(certificate), _lists(certificate, ExtensionOID.CRL_DISTRIBUTION_POINTS)
    failures: list[str] = []
    for source, url in [*((_by_ocsp, url) for url in responders), *((_by_list, url) for url in lists)]:
        try:
            return (yield from source(url, certificate, issuer, now, stamped))
        except _Unavailable as exc:
            failures.append(f"{url}: {exc}")
        except NotationError:
            raise
        except Exception as exc:  # whatever a parser stumbles over, it says nothing of the certificate
            failures.append(f"{url}: it can't be read ({type(exc).__name__})")
    if failures:
        raise UnknownStatusError(name, "; ".join(failures))
    if extension(certificate, ExtensionOID.CRL_DISTRIBUTION_POINTS) is not None:
        raise UnknownStatusError(name, "no address in it is one of HTTP")
    return None


def _responders(certificate: Certificate) -> list[str]:
    access: Iterable[Any] = extension(certificate, ExtensionOID.AUTHORITY_INFORMATION_ACCESS) or ()
    locations = (item.access_location for item in access if item.access_method == AuthorityInformationAccessOID.OCSP)
    return _urls(locations)


def _lists(holder: Certificate | x509.CertificateRevocationList, oid: x509.ObjectIdentifier) -> list[str]:
    points: Iterable[Any] = _value(holder, oid) or ()
    return _urls(location for point in points for location in point.full_name or ())


def _urls(locations: Iterable[Any]) -> list[str]:
    found = [item.value for item in locations if isinstance(item, x509.UniformResourceIdentifier)]
    return [url for url in found if url.startswith(("http://", "https://"))][:_URLS]


def _value(holder: Certificate | x509.CertificateRevocationList | x509.RevokedCertificate, oid: Any) -> Any:
    try:
        return holder.extensions.get_extension_for_oid(oid).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _decide(certificate: Certificate, invalid: datetime | None, stamped: datetime | None) -> None:
    """A revoked one: what was signed before it became invalid stays good. Raises RevokedError."""
    if invalid is None or stamped is None or invalid < stamped:
        raise RevokedError(certificate.subject.rfc4514_string())


def _invalid_since(extensions: x509.Extensions) -> datetime | None:
    try:
        found = extensions.get_extension_for_class(x509.InvalidityDate).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found.invalidity_date_utc


def _current(name: str, start: datetime | None, end: datetime | None, now: datetime) -> datetime:
    """Until when an answer holds. Raises _Unavailable."""
    if start is not None and start > now + timedelta(minutes=5):  # clocks differ
        raise _Unavailable(f"the {name} is of tomorrow")
    if end is not None and now > end:
        raise _Unavailable(f"the {name} has expired")
    return now + ANSWERS_HOLD if end is None else min(end, now + ANSWERS_HOLD)


# ── OCSP ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_ocsp(
    url: str, certificate: Certificate, issuer: Certificate, now: datetime, stamped: datetime | None
) -> Exchange:
    """Raises _Unavailable, RevokedError."""
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
    data = yield Question(url, asked.public_bytes(Encoding.DER), OCSP_SECONDS, OCSP_LIMIT)
    if data is None:
        raise _Unavailable("no answer")
    try:
        answer = ocsp.load_der_ocsp_response(data)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _Unavailable(f"it says {answer.response_status.name.lower().replace('_', ' ')}")
        expected = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _sound(answer.hash_algorithm)).build()
        about = (answer.serial_number, answer.issuer_name_hash, answer.issuer_key_hash)
        if about != (expected.serial_number, expected.issuer_name_hash, expected.issuer_key_hash):
            raise _Unavailable("it answers for another certificate")
        until = yield from _responder(answer, issuer, now)
        until = _sooner(until, _current("answer", answer.this_update_utc, answer.next_update_utc, now))
        if answer.certificate_status is ocsp.OCSPCertStatus.REVOKED:
            _decide(certificate, _invalid_since(answer.single_extensions), stamped)
        elif answer.certificate_status is not ocsp.OCSPCertStatus.GOOD:
            raise _Unavailable("the certificate is not known there")
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _Unavailable(f"no OCSP answer: {exc}") from exc
    return until


def _sound(algorithm: hashes.HashAlgorithm) -> Any:
    """What a name and a key are looked up by, not what is trusted. Raises ValueError."""
    if not isinstance(algorithm, hashes.SHA1 | hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise ValueError("unknown hash")
    return algorithm


def _responder(answer: ocsp.OCSPResponse, issuer: Certificate, now: datetime) -> Exchange:
    """The issuer itself, or whom it has told to answer. Raises _Unavailable, RevokedError."""
    if _signed(answer, issuer):
        return None
    for certificate in answer.certificates:
        purposes = extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE) or ()
        if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes or not _signed(answer, certificate):
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            continue
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            continue
        if extension(certificate, ExtensionOID.OCSP_NO_CHECK) is not None:
            return certificate.not_valid_after_utc
        for url in _lists(certificate, ExtensionOID.CRL_DISTRIBUTION_POINTS):
            return (yield from _by_list(url, certificate, issuer, now, None))
        return certificate.not_valid_after_utc
    raise _Unavailable("the answer is not signed by the authority")


def _signed(answer: ocsp.OCSPResponse, certificate: Certificate) -> bool:
    key, digest = certificate.public_key(), answer.signature_hash_algorithm
    if digest is None or isinstance(digest, hashes.SHA1 | hashes.MD5):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_list(
    url: str, certificate: Certificate, issuer: Certificate, now: datetime, stamped: datetime | None
) -> Exchange:
    """Raises _Unavailable, RevokedError."""
    base = yield from _fetch(url, issuer)
    _check_scope(base, certificate)
    if _value(base, ExtensionOID.DELTA_CRL_INDICATOR) is not None:
        raise _Unavailable("it is a list of changes")
    newest = base.get_revoked_certificate_by_serial_number(certificate.serial_number)
    try:
        until = _current("list", base.last_update_utc, base.next_update_utc, now)
    except _Unavailable:
        # An old list says nothing of who is good; who was taken back for good stays so.
        if newest is not None and _reason(newest) is not x509.ReasonFlags.certificate_hold:
            _decide(certificate, _invalid_since(newest.extensions), stamped)
        raise
    changes = _lists(base, ExtensionOID.FRESHEST_CRL)
    if changes:
        delta = yield from _fetch(changes[0], issuer)
        _check_delta(base, delta)
        _check_scope(delta, certificate)
        until = min(until, _current("list of changes", delta.last_update_utc, delta.next_update_utc, now))
        newest = delta.get_revoked_certificate_by_serial_number(certificate.serial_number) or newest
    if newest is not None and _reason(newest) is not x509.ReasonFlags.remove_from_crl:
        _decide(certificate, _invalid_since(newest.extensions), stamped)
    return until


def _fetch(url: str, issuer: Certificate) -> Generator[Question, bytes | None, x509.CertificateRevocationList]:
    """Raises _Unavailable."""
    data = yield Question(url, None, CRL_SECONDS, CRL_LIMIT)
    if data is None:
        raise _Unavailable("no answer")
    try:
        found = x509.load_pem_x509_crl(data) if data.lstrip().startswith(b"-----") else x509.load_der_x509_crl(data)
        good = found.issuer == issuer.subject and found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _Unavailable(f"no list of revoked certificates: {exc}") from exc
    if not good or isinstance(found.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        raise _Unavailable("the list is not signed by the authority")
    return found


def _check_scope(found: x509.CertificateRevocationList, certificate: Certificate) -> None:
    """Whether the list speaks of certificates like this one, and of every reason. Raises _Unavailable."""
    if any(item.critical and item.oid not in _UNDERSTOOD for item in found.extensions):
        raise _Unavailable("the list demands what is not known here")
    point = _value(found, ExtensionOID.ISSUING_DISTRIBUTION_POINT)
    if point is None:
        return
    constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    authority = constraints is not None and constraints.ca
    if (
        point.indirect_crl
        or point.only_some_reasons
        or point.only_contains_attribute_certs
        or (point.only_contains_user_certs and authority)
        or (point.only_contains_ca_certs and not authority)
    ):
        raise _Unavailable("the list speaks of other certificates")


def _check_delta(base: x509.CertificateRevocationList, delta: x509.CertificateRevocationList) -> None:
    """Raises _Unavailable."""
    indicator, number = _value(delta, ExtensionOID.DELTA_CRL_INDICATOR), _value(base, ExtensionOID.CRL_NUMBER)
    newer = _value(delta, ExtensionOID.CRL_NUMBER)
    if indicator is None or number is None or newer is None:
        raise _Unavailable("the list of changes does not say to what")
    if indicator.crl_number > number.crl_number or newer.crl_number < number.crl_number:
        raise _Unavailable("the list of changes belongs to another list")


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    found = _value(entry, CRLEntryExtensionOID.CRL_REASON)
    reason: x509.ReasonFlags | None = None if found is None else found.reason
    return reason
