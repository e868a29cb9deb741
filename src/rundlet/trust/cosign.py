"""Signatures as cosign makes them, by key. No I/O: documents and keys in, verdict out.

Two forms: *simple signing*, a small JSON document with its signature in an annotation, and *bundles*, a DSSE envelope
around an in-toto statement. See: cosign's SIGNATURE_SPEC.md and BUNDLE_SPEC.md; the DSSE protocol.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from rundlet.trust.errors import BadKeyError
from rundlet.trust.keys import RSA_BITS

Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

SIMPLE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION: Final = "dev.cosignproject.cosign/signature"
ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE_PREFIX: Final = "application/vnd.dev.sigstore.bundle"
TYPE: Final = "cosign container image signature"
IN_TOTO: Final = "application/vnd.in-toto+json"
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
DOCUMENT_LIMIT: Final = 1 << 20


def signature_tag(digest: str) -> str:
    """The tag under which signatures of ``digest`` are, in registries that know no referrers."""
    return digest.replace(":", "-") + ".sig"


def load_public(data: bytes) -> Public:
    """A PEM public key. Raises BadKeyError."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise BadKeyError(f"no public key in PEM: {exc}") from exc
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        raise BadKeyError(f"an RSA key of {key.key_size} bits is too short")
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)):
        raise BadKeyError("unsupported key type: want ECDSA, RSA or Ed25519")
    return key


def verifies(key: Public, payload: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (DER for ECDSA, PKCS#1 v1.5 or PSS for RSA) is one of ``payload``."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ec.ECDSA(_hash_of(key)))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, payload)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _hash_of(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    return {384: hashes.SHA384(), 521: hashes.SHA512()}.get(key.curve.key_size, hashes.SHA256())


def sign(key: Private, payload: bytes) -> bytes:
    """What :func:`verifies` accepts."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(payload, ec.ECDSA(_hash_of(key.public_key())))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(payload)


# ── simple signing ───────────────────────────────────────────────────────────────────────────────────────────


def simple_payload(repository: str, digest: str) -> bytes:
    """What is signed for an image."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": TYPE,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def simple_is_good(payload: bytes, signature: str, digest: str, keys: Iterable[Public]) -> bool:
    """Whether one of ``keys`` signed ``payload``, and it is about ``digest``. ``signature`` is in base64."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return False
    if not any(verifies(key, payload, raw) for key in keys):
        return False
    return simple_is_about(payload, digest)


def simple_is_about(payload: bytes, digest: str) -> bool:
    """Whether a signed document (nothing else is looked into) says that ``digest`` is signed."""
    try:
        critical = json.loads(payload)["critical"]
        return bool(critical["image"]["docker-manifest-digest"] == digest and critical["type"] == TYPE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


# ── bundles ──────────────────────────────────────────────────────────────────────────────────────────────────


def bundle_is_good(data: bytes, digest: str, keys: Iterable[Public]) -> bool:
    """Whether a bundle holds a statement about ``digest`` that one of ``keys`` signed."""
    try:
        envelope: Any = json.loads(data)["dsseEnvelope"]
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]]
        if kind != IN_TOTO:
            return False
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return False
    message = pre_authentication(kind, payload)
    chosen = list(keys)
    if not any(verifies(key, message, signature) for signature in signatures[:16] for key in chosen):
        return False
    return statement_is_about(payload, digest)


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """DSSE's encoding of what is signed."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def statement_is_about(payload: bytes, digest: str) -> bool:
    """Whether a signed in-toto statement says that ``digest`` is signed (an attestation says something else)."""
    algorithm, _, value = digest.partition(":")
    try:
        statement = json.loads(payload)
        if statement["predicateType"] != SIGN_PREDICATE:
            return False
        return any(subject["digest"].get(algorithm) == value for subject in statement["subject"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
