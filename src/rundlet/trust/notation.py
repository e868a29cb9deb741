"""Signatures as Notation makes them: a JWS or a COSE envelope around a descriptor, with a chain of certificates.

No I/O: the envelope, the trust store's certificates and the time go in, the verdict comes out. Time stamps of
authorities are not looked at: the certificates have to be good now. Revocation is not asked for.
See: Notary Project specification v1.0, signature-specification, signature-envelope-jws and -cose, trust-store.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from rundlet.trust.errors import TrustError

ARTIFACT: Final = "application/vnd.cncf.notary.signature"
JWS: Final = "application/jose+json"
COSE: Final = "application/cose"
PAYLOAD: Final = "application/vnd.cncf.notary.payload.v1+json"
ENVELOPE_LIMIT: Final = 4 << 20
CHAIN_LIMIT: Final = 10

_SCHEME: Final = "io.cncf.notary.signingScheme"
_TIME: Final = "io.cncf.notary.signingTime"
_EXPIRY: Final = "io.cncf.notary.expiry"
_UNDERSTOOD: Final = frozenset((_SCHEME, _TIME, _EXPIRY, "io.cncf.notary.authenticSigningTime", 3))
_SCHEMES: Final = ("notary.x509", "notary.x509.signingAuthority")

# Algorithm names of JWS and numbers of COSE, by key and hash. See: signature-specification, "Algorithm Selection".
_RSA: Final[dict[int, tuple[str, int, hashes.HashAlgorithm]]] = {
    2048: ("PS256", -37, hashes.SHA256()),
    3072: ("PS384", -38, hashes.SHA384()),
    4096: ("PS512", -39, hashes.SHA512()),
}
_EC: Final[dict[int, tuple[str, int, hashes.HashAlgorithm]]] = {
    256: ("ES256", -7, hashes.SHA256()),
    384: ("ES384", -35, hashes.SHA384()),
    521: ("ES512", -36, hashes.SHA512()),
}


class NotationError(TrustError):
    """Why a signature is not believed."""

    reason = "trust-notation"


class Envelope(NamedTuple):
    """A signature taken apart: ``attributes`` are the protected ones, and ``chain`` begins with the signer's."""

    payload: bytes
    message: bytes
    signature: bytes
    algorithm: str | int
    content_type: Any
    critical: tuple[Any, ...]
    attributes: Mapping[Any, Any]
    chain: tuple[x509.Certificate, ...]


def verify(
    data: bytes,
    media_type: str,
    digest: str,
    roots: Sequence[x509.Certificate],
    identities: Sequence[str],
    now: datetime,
) -> None:
    """Raises NotationError unless ``data`` is a signature of ``digest`` by one of ``identities`` below ``roots``.

    ``identities`` are ``x509.subject: C=…, ST=…, O=…`` as in Notation's trust policy; none, or ``*``, is anyone.
    """
    envelope = open_cose(data) if media_type == COSE else open_jws(data)
    _check_attributes(envelope, now)
    check_chain(envelope.chain, roots, now)
    _check_signature(envelope)
    _check_identity(envelope.chain[0], identities)
    try:
        target = json.loads(envelope.payload)["targetArtifact"]
        found = target["digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise NotationError("the payload is no descriptor") from exc
    if found != digest:
        raise NotationError(f"it signs {str(found)[:80]}")


# ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────────


def open_jws(data: bytes) -> Envelope:
    """Raises NotationError."""
    try:
        document = json.loads(data)
        protected = json.loads(_unpadded(document["protected"]))
        chain = tuple(
            x509.load_der_x509_certificate(base64.b64decode(item, validate=True))
            for item in document["header"]["x5c"][:CHAIN_LIMIT]
        )
        return Envelope(
            payload=_unpadded(document["payload"]),
            message=f"{document['protected']}.{document['payload']}".encode("ascii"),
            signature=_unpadded(document["signature"]),
            algorithm=protected["alg"],
            content_type=protected.get("cty"),
            critical=tuple(protected.get("crit") or ()),
            attributes=protected,
            chain=chain,
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as exc:
        raise NotationError(f"no JWS envelope: {exc}") from exc


def open_cose(data: bytes) -> Envelope:
    """A COSE_Sign1 (RFC 9052). Raises NotationError, also where the package that reads CBOR is missing."""
    try:
        import cbor2
    except ImportError as exc:
        raise NotationError(
            "COSE signatures need the cbor2 package, which is not installed: pip install 'rundlet[notation]'"
        ) from exc
    try:
        tagged = cbor2.loads(data)
        protected, unprotected, payload, signature = tagged.value
        if tagged.tag != 18:
            raise ValueError("no COSE_Sign1")
        attributes = cbor2.loads(protected)
        certificates = unprotected[33]
        certificates = [certificates] if isinstance(certificates, bytes) else certificates[:CHAIN_LIMIT]
        return Envelope(
            payload=payload,
            message=cbor2.dumps(["Signature1", protected, b"", payload]),
            signature=signature,
            algorithm=attributes[1],
            content_type=attributes.get(3),
            critical=tuple(attributes.get(2) or ()),
            attributes=attributes,
            chain=tuple(x509.load_der_x509_certificate(item) for item in certificates),
        )
    except (cbor2.CBORError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotationError(f"no COSE envelope: {exc}") from exc


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)


def _check_attributes(envelope: Envelope, now: datetime) -> None:
    attributes = envelope.attributes
    if envelope.content_type != PAYLOAD:
        raise NotationError(f"the payload has the type {envelope.content_type!r}")
    if attributes.get(_SCHEME) not in _SCHEMES or _SCHEME not in envelope.critical:
        raise NotationError(f"the signing scheme {attributes.get(_SCHEME)!r} is not known")
    unknown = [item for item in envelope.critical if item not in _UNDERSTOOD]
    if unknown:
        raise NotationError(f"it demands what is not known here: {unknown}")
    expiry = attributes.get(_EXPIRY)
    if expiry is not None and _time(expiry) <= now:
        raise NotationError("the signature has expired")


def _time(value: Any) -> datetime:
    """Raises NotationError. JWS has text, COSE a time of its own."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)
    except (ValueError, TypeError, OverflowError, OSError) as exc:
        raise NotationError(f"{value!r} is no time") from exc
    if found.tzinfo is None:
        raise NotationError(f"{value!r} is no time")
    return found


def _check_signature(envelope: Envelope) -> None:
    key = envelope.chain[0].public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _, _, digest = _chosen(_RSA, key.key_size, envelope.algorithm)
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(envelope.signature, envelope.message, pss, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            _, _, digest = _chosen(_EC, key.curve.key_size, envelope.algorithm)
            size = (key.curve.key_size + 7) // 8
            if len(envelope.signature) != 2 * size:
                raise InvalidSignature
            r, s = (int.from_bytes(part) for part in (envelope.signature[:size], envelope.signature[size:]))
            key.verify(encode_dss_signature(r, s), envelope.message, ec.ECDSA(digest))
        else:
            raise NotationError("the certificate's key is neither RSA nor ECDSA")
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as exc:
        raise NotationError("the signature is wrong") from exc


def _chosen(
    table: Mapping[int, tuple[str, int, hashes.HashAlgorithm]], size: int, algorithm: str | int
) -> tuple[str, int, hashes.HashAlgorithm]:
    """The one algorithm that goes with a key: the envelope has no choice."""
    row = table.get(size)
    if row is None or algorithm not in row[:2]:
        raise NotationError(f"the algorithm {algorithm!r} does not go with a key of {size} bits")
    return row


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────


def load_certificates(files: Mapping[str, bytes]) -> list[x509.Certificate]:
    """A trust store's certificates, PEM or DER. Raises NotationError."""
    found: list[x509.Certificate] = []
    for path, data in files.items():
        try:
            if data.lstrip().startswith(b"-----"):
                found += x509.load_pem_x509_certificates(data)
            else:
                found.append(x509.load_der_x509_certificate(data))
        except ValueError as exc:
            raise NotationError(f"{path} is no certificate: {exc}") from exc
    return found


def check_chain(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime) -> None:
    """From the signer to one of ``roots``, each issued by the next, all valid at ``now``. Raises NotationError."""
    if not chain:
        raise NotationError("it has no certificate")
    for position, certificate in enumerate(chain):
        name = certificate.subject.rfc4514_string()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise NotationError(f"the certificate of {name} is not valid now")
        if position:
            _check_authority(certificate, name, below=position - 1)
        issuer = chain[position + 1] if position + 1 < len(chain) else certificate
        # Only a root of the store may have issued itself.
        if issuer is certificate and certificate not in roots:
            raise NotationError(f"{name} is not in the trust store")
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError) as exc:
            raise NotationError(f"{issuer.subject.rfc4514_string()} did not issue the certificate of {name}") from exc
    _check_signer(chain[0], alone=len(chain) == 1)


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> Any:
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _check_authority(certificate: x509.Certificate, name: str, *, below: int) -> None:
    constraints = _extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    usage = _extension(certificate, ExtensionOID.KEY_USAGE)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise NotationError(f"{name} is no certificate authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise NotationError(f"{name} may not have authorities below it")


def _check_signer(certificate: x509.Certificate, *, alone: bool) -> None:
    """The certificate that signed. One that stands alone in the trust store was put there by hand."""
    name = certificate.subject.rfc4514_string()
    usage = _extension(certificate, ExtensionOID.KEY_USAGE)
    if usage is None or not usage.digital_signature:
        raise NotationError(f"the certificate of {name} is not for signatures")
    constraints = _extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is not None and constraints.ca and not alone:
        raise NotationError(f"{name} is a certificate authority, not a signer")
    purposes = _extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE)
    if purposes is not None and ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise NotationError(f"the certificate of {name} is not for signing code")


def _check_identity(certificate: x509.Certificate, identities: Sequence[str]) -> None:
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
        name = x509.Name.from_rfc4514_string(",".join(part.strip() for part in text.split(",")))
    except ValueError:
        return frozenset()
    return frozenset((item.oid.dotted_string, str(item.value)) for item in name)
