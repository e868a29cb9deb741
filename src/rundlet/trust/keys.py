"""Public and private keys in Notary's terms.

A key's ID is the SHA-256 of the canonical JSON of its public part. A root key stands in metadata as a certificate (key
type ``…-x509``) whose common name is the repository; its *canonical* ID, that of the bare public key, names its file.
Every signed pull loads this module, and most find nothing new to verify: what computes with keys is loaded when it is
needed, and what is for rarer kinds of them when one is met.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from rundlet.trust import canonical
from rundlet.trust.errors import BadKeyError, MalformedError
from rundlet.util.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

ECDSA: Final = "ecdsa"
ECDSA_X509: Final = "ecdsa-x509"
RSA: Final = "rsa"
RSA_X509: Final = "rsa-x509"
ED25519: Final = "ed25519"
KEY_TYPES: Final = frozenset((ECDSA, ECDSA_X509, RSA, RSA_X509, ED25519))
RSA_BITS: Final = 2048

# The beginning of a SubjectPublicKeyInfo (RFC 5480) with an uncompressed point on P-256.
_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


class PublicKey(Record):
    """``public`` is a SubjectPublicKeyInfo (DER), for ``…-x509`` a certificate (PEM), for ed25519 the raw 32 bytes."""

    keytype: str
    public: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(canonical.encode(self.encode())).hexdigest()

    @property
    def canonical_id(self) -> str:
        """The ID of the bare key, by which private keys are filed. Raises BadKeyError."""
        return self.bare().id

    def bare(self) -> PublicKey:
        """The key without its certificate. Raises BadKeyError."""
        if self.keytype not in (ECDSA_X509, RSA_X509):
            return self
        from rundlet.trust.certificates import certificate_of

        return public_key(certificate_of(self).public_key())

    def encode(self) -> dict[str, Any]:
        public = base64.b64encode(self.public).decode()
        return {"keytype": self.keytype, "keyval": {"private": None, "public": public}}

    def load(self) -> Public:
        """Raises BadKeyError for broken keys and for kinds that are not used for signing."""
        if self.keytype == ECDSA and self.public.startswith(_P256) and len(self.public) == len(_P256) + 65:
            # The usual kind, without what reads all the others.
            from cryptography.hazmat.primitives.asymmetric import ec

            try:
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.public[len(_P256) :])
            except ValueError as exc:
                raise BadKeyError(f"a {self.keytype} key that can't be read: {exc}") from exc
        return _load(self)

    def verifies(self, payload: bytes, method: str, signature: bytes) -> bool:
        """Whether ``signature`` is one of ``payload`` by this key, made by the method that goes with it."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        try:
            _verify(self.load(), payload, method, signature)
        except (InvalidSignature, BadKeyError, UnsupportedAlgorithm, ValueError):
            return False
        return True


def _load(key: PublicKey) -> Public:
    """Raises BadKeyError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        if key.keytype == ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(key.public)
        if key.keytype in (ECDSA_X509, RSA_X509):
            from rundlet.trust.certificates import certificate_of

            found: Any = certificate_of(key).public_key()
        else:
            found = serialization.load_der_public_key(key.public)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise BadKeyError(f"a {key.keytype} key that can't be read: {exc}") from exc
    wanted = ec.EllipticCurvePublicKey if key.keytype in (ECDSA, ECDSA_X509) else rsa.RSAPublicKey
    if not isinstance(found, wanted):
        raise BadKeyError(f"the key is not of the type {key.keytype}")
    return found


def _verify(key: Public, payload: bytes, method: str, signature: bytes) -> None:
    """Raises InvalidSignature, ValueError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if isinstance(key, ec.EllipticCurvePublicKey):
        size = (key.curve.key_size + 7) // 8
        if method != "ecdsa" or len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.verify(encode_dss_signature(r, s), payload, ec.ECDSA(hashes.SHA256()))
        return
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if method != "rsapss" or key.key_size < RSA_BITS:
            raise InvalidSignature
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        key.verify(signature, payload, pss, hashes.SHA256())
    elif method == "eddsa":
        key.verify(signature, payload)
    else:
        raise InvalidSignature


class PrivateKey(Record):
    """A key that can sign; ``role`` and ``gun`` are the notes in its file ("" when there are none)."""

    key: Private
    role: str = ""
    gun: str = ""

    @property
    def public(self) -> PublicKey:
        return public_key(self.key.public_key())

    @property
    def id(self) -> str:
        return self.public.id

    def sign(self, payload: bytes) -> tuple[str, bytes]:
        """Notary's name of the method, and the signature."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(payload, ec.ECDSA(hashes.SHA256())))
            size = (self.key.curve.key_size + 7) // 8
            return "ecdsa", r.to_bytes(size) + s.to_bytes(size)
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
            return "rsapss", self.key.sign(payload, pss, hashes.SHA256())
        return "eddsa", self.key.sign(payload)


def generate(role: str = "", gun: str = "") -> PrivateKey:
    """A new ECDSA key on P-256, as Docker makes them."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return PrivateKey(ec.generate_private_key(ec.SECP256R1()), role, gun)


def public_key(key: object) -> PublicKey:
    """Notary's form of a key of ``cryptography``. Raises BadKeyError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(ED25519, key.public_bytes_raw())
    if isinstance(key, ec.EllipticCurvePublicKey):
        return PublicKey(ECDSA, key.public_bytes(der, spki))
    if isinstance(key, rsa.RSAPublicKey):
        return PublicKey(RSA, key.public_bytes(der, spki))
    raise BadKeyError("unknown public key format")


def decode_public(value: Any, what: str) -> PublicKey:
    """A key out of metadata. Raises MalformedError."""
    try:
        keytype, public = value["keytype"], value["keyval"]["public"]
        data = base64.b64decode(public, validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise MalformedError(f"{what} is no public key") from exc
    if not isinstance(keytype, str) or keytype not in KEY_TYPES:
        raise MalformedError(f"{what} has the unknown key type {keytype!r}")
    return PublicKey(keytype, data)
