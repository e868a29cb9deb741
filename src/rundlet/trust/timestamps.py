"""Time stamps of authorities (RFC 3161) over a signature: when it existed at the latest, or why that can't be said.

The token's own signature is checked by ``rfc3161-client``; its certificates, and that the signature names the one that
made it, here. No I/O. See: RFC 3161, 2.4.2; RFC 5035; Notary Project, "Validate Trusted Timestamp".
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from rundlet.trust.chains import Certificate, check_chain, check_times
from rundlet.trust.envelopes import CHAIN_LIMIT
from rundlet.trust.errors import NotationError

COMMAND: Final = "pip install 'rundlet[notation]'"

_BASELINE_POLICY: Final = "0.4.0.2023.1.1"
"""ETSI's: one second, where the token says nothing. See: RFC 3628, 5.2."""
_SIGNING_CERTIFICATE: Final = bytes.fromhex("060b2a864886f70d010910020c")
_SIGNING_CERTIFICATE_V2: Final = bytes.fromhex("060b2a864886f70d010910022f")
_SEQUENCE, _SET, _OCTETS, _CONTEXT_0 = 0x30, 0x31, 0x04, 0xA0


class Stamp(NamedTuple):
    """The signature existed between ``first`` and ``last``; ``chain`` begins with the authority's certificate."""

    first: datetime
    last: datetime
    chain: tuple[Certificate, ...]


def verify(token: bytes, message: bytes, roots: Sequence[Certificate]) -> Stamp:
    """Raises NotationError unless ``token`` is one for ``message`` by an authority below ``roots``."""
    library = _load()
    try:
        response = library.decode_timestamp_response(_as_response(_in_order(token)))
        info = response.tst_info
        builder = library.VerifierBuilder(roots=list(roots), intermediates=[])
        builder.build().verify_message(response, message)
        moment = info.gen_time if info.gen_time.tzinfo else info.gen_time.replace(tzinfo=UTC)
        chain = _chain(response)
        accuracy = _accuracy(info)
    except NotationError:
        raise
    except Exception as exc:  # whatever the library makes of a stranger's bytes, it is no proof
        why = str(exc).strip("'\"").splitlines() or [type(exc).__name__]
        raise NotationError(f"the time stamp is not believed: {why[0][:160]}") from exc
    try:
        check_chain(chain, roots, ExtendedKeyUsageOID.TIME_STAMPING)
        check_times(chain, moment - accuracy, moment + accuracy)
        _check_named(token, chain[0])
    except NotationError as exc:
        raise NotationError(f"the time stamp is not believed: {exc}") from exc
    return Stamp(moment - accuracy, moment + accuracy, chain)


def require() -> None:
    """Raises NotationError where the library is missing."""
    _load()


def _load() -> Any:
    """Raises NotationError."""
    import importlib

    try:
        return importlib.import_module("rfc3161_client")
    except ImportError as exc:
        raise NotationError(f"time stamps need the rfc3161-client package, which is not installed: {COMMAND}") from exc


def _as_response(token: bytes) -> bytes:
    """An answer that grants ``token``, which is what the library reads."""
    status = bytes.fromhex("3003020100")
    size = len(status) + len(token)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([_SEQUENCE, 0x80 | len(length)]) + length + status + token


def _chain(response: Any) -> tuple[Certificate, ...]:
    """From the one that signed to the root, out of those that came along. Raises NotationError, ValueError."""
    signers = list(response.signed_data.signer_infos)
    if len(signers) != 1:
        raise NotationError(f"the time stamp has {len(signers)} signers")
    known = [x509.load_der_x509_certificate(data) for data in response.signed_data.certificates]
    (signer,) = signers
    found = [item for item in known if (item.issuer, item.serial_number) == (signer.issuer, signer.serial_number)]
    if len(found) != 1:
        raise NotationError("the time stamp does not bring the certificate of its authority")
    chain = found
    while chain[-1].subject != chain[-1].issuer and len(chain) < CHAIN_LIMIT:
        above = [item for item in known if item.subject == chain[-1].issuer and item not in chain]
        if not above:
            raise NotationError("the time stamp does not bring all certificates up to a root")
        chain.append(above[0])
    return tuple(chain)


def _accuracy(info: Any) -> timedelta:
    given = info.accuracy
    if given is None:
        return timedelta(seconds=1 if info.policy.dotted_string == _BASELINE_POLICY else 0)
    return timedelta(seconds=given.seconds or 0, milliseconds=given.millis or 0, microseconds=given.micros or 0)


# ── the certificate that the signature names ─────────────────────────────────────────────────────────────────


def _check_named(token: bytes, certificate: Certificate) -> None:
    """The attribute ``signing-certificate``: without it another certificate of the key could be put there."""
    der = certificate.public_bytes(_der())
    wanted = {
        _SIGNING_CERTIFICATE: [hashlib.sha1(der, usedforsecurity=False).digest()],
        _SIGNING_CERTIFICATE_V2: [hashlib.new(name, der).digest() for name in ("sha256", "sha384", "sha512")],
    }
    for attribute in _signed_attributes(token):
        for name, digests in wanted.items():
            if attribute.startswith(name):
                # The first certificate in the list is the signer's; the digest is the first octet string of it.
                if _first_octets(attribute[len(name) :]) in digests:
                    return
                raise NotationError("it names another certificate than the one that came along")
    raise NotationError("it does not name the certificate of its authority")


def _der() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def _signed_data(token: bytes) -> list["_Element"]:
    """Of a signed message: version, algorithms, content, certificates, signers. Raises NotationError. See: RFC 5652."""
    for content in _elements(token)[:1]:
        for inner in _elements(content.data):
            if inner.tag == _CONTEXT_0:
                return [part for whole in _elements(inner.data) for part in _elements(whole.data)]
    raise NotationError("it is not signed")


def _signed_attributes(token: bytes) -> Iterator[bytes]:
    """Their contents, each beginning with its object identifier. Raises NotationError."""
    sets = [part for part in _signed_data(token) if part.tag == _SET]
    for signer in _elements(sets[-1].data) if sets else ():
        for part in _elements(signer.data):
            if part.tag == _CONTEXT_0:
                yield from (attribute.data for attribute in _elements(part.data))


def _in_order(token: bytes) -> bytes:
    """With its certificates in the order that DER has for sets: openssl's authority does not care, the library does.

    They are not part of what is signed. Raises NotationError.
    """
    for part in _signed_data(token):
        if part.tag == _CONTEXT_0:
            return token.replace(part.data, b"".join(sorted(item.whole for item in _elements(part.data))), 1)
    return token


def _first_octets(data: bytes) -> bytes:
    """The first octet string in ``data``, depth first. Raises NotationError."""
    for part in _elements(data):
        if part.tag == _OCTETS:
            return part.data
        if part.tag in (_SEQUENCE, _SET) and (found := _first_octets(part.data)):
            return found
    return b""


class _Element(NamedTuple):
    tag: int
    data: bytes
    whole: bytes


def _elements(data: bytes) -> list[_Element]:
    """What stands one after another in ``data``: tags of one byte, definite lengths. Raises NotationError."""
    found = []
    while data:
        size, start = data[1] if len(data) > 1 else 0x80, 2
        if size == 0x80 or size > 0x84:
            raise NotationError("it is not in DER")
        if size > 0x80:
            start += size - 0x80
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            raise NotationError("it is cut short")
        found.append(_Element(data[0], data[start : start + size], data[: start + size]))
        data = data[start + size :]
    return found
