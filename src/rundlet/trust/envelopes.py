"""Notation's envelopes: a JWS or a COSE_Sign1, taken apart, and their signature checked.

See: Notary Project specification v1.0, signature-envelope-jws, signature-envelope-cose, signature-specification.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from rundlet.trust.errors import NotationError

JWS: Final = "application/jose+json"
COSE: Final = "application/cose"
CHAIN_LIMIT: Final = 10
STAMP: Final = "io.cncf.notary.timestampSignature"

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
    stamp: bytes
    """A time stamp authority's token (RFC 3161) for ``signature``; empty where there is none."""


# ── two forms ────────────────────────────────────────────────────────────────────────────────────────────────


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
            stamp=base64.b64decode(document["header"].get(STAMP, ""), validate=True),
        )
    except Exception as exc:  # whatever a parser stumbles over in a stranger's bytes
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
            stamp=bytes(memoryview(unprotected.get(STAMP, b""))),
        )
    except Exception as exc:
        raise NotationError(f"no COSE envelope: {exc}") from exc


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)


def read_time(value: Any) -> datetime:
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


# ── the signature ────────────────────────────────────────────────────────────────────────────────────────────


def check_signature(envelope: Envelope) -> None:
    """By the key of the first certificate. Raises NotationError."""
    if not envelope.chain:
        raise NotationError("it has no certificate")
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
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as exc:
        raise NotationError("the signature is wrong") from exc


def _chosen(
    table: Mapping[int, tuple[str, int, hashes.HashAlgorithm]], size: int, algorithm: str | int
) -> tuple[str, int, hashes.HashAlgorithm]:
    """The one algorithm that goes with a key: the envelope has no choice."""
    row = table.get(size)
    if row is None or algorithm not in row[:2]:
        raise NotationError(f"the algorithm {algorithm!r} does not go with a key of {size} bits")
    return row
