"""Public and private keys in Notary's terms.

A key's ID is the SHA-256 of the canonical JSON of its public part. A root key stands in metadata as a certificate (key
type ``…-x509``) whose common name is the repository; its *canonical* ID, that of the bare public key, names its file.
"""

import base64
import binascii
import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rundlet.trust import canonical
from rundlet.trust.errors import BadKeyError, MalformedError

ECDSA: Final = "ecdsa"
ECDSA_X509: Final = "ecdsa-x509"
RSA: Final = "rsa"
RSA_X509: Final = "rsa-x509"
ED25519: Final = "ed25519"
KEY_TYPES: Final = frozenset((ECDSA, ECDSA_X509, RSA, RSA_X509, ED25519))
RSA_BITS: Final = 2048
LEEWAY: Final = timedelta(days=1)
"""How far in the future a certificate may begin: clocks differ."""

_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo

Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class PublicKey(NamedTuple):
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

    def bare(self) -> "PublicKey":
        """The key without its certificate. Raises BadKeyError."""
        if self.keytype not in (ECDSA_X509, RSA_X509):
            return self
        return public_key(self.certificate().public_key())

    def encode(self) -> dict[str, Any]:
        public = base64.b64encode(self.public).decode()
        return {"keytype": self.keytype, "keyval": {"private": None, "public": public}}

    def certificate(self) -> x509.Certificate:
        """Raises BadKeyError when it is none."""
        try:
            return x509.load_pem_x509_certificate(self.public)
        except ValueError as exc:
            raise BadKeyError(f"a {self.keytype} key that is no certificate: {exc}") from exc

    def load(self) -> Public:
        """Raises BadKeyError for broken keys and for kinds that are not used for signing."""
        try:
            if self.keytype == ED25519:
                return ed25519.Ed25519PublicKey.from_public_bytes(self.public)
            if self.keytype in (ECDSA_X509, RSA_X509):
                found: Any = self.certificate().public_key()
            else:
                found = serialization.load_der_public_key(self.public)
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise BadKeyError(f"a {self.keytype} key that can't be read: {exc}") from exc
        wanted = ec.EllipticCurvePublicKey if self.keytype in (ECDSA, ECDSA_X509) else rsa.RSAPublicKey
        if not isinstance(found, wanted):
            raise BadKeyError(f"the key is not of the type {self.keytype}")
        return found

    def verifies(self, payload: bytes, method: str, signature: bytes) -> bool:
        """Whether ``signature`` is one of ``payload`` by this key, made by the method that goes with it."""
        try:
            _verify(self.load(), payload, method, signature)
        except (InvalidSignature, BadKeyError, UnsupportedAlgorithm, ValueError):
            return False
        return True


def _verify(key: Public, payload: bytes, method: str, signature: bytes) -> None:
    """Raises InvalidSignature, ValueError."""
    if isinstance(key, ec.EllipticCurvePublicKey) and method == "ecdsa":
        size = (key.curve.key_size + 7) // 8
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.verify(encode_dss_signature(r, s), payload, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey) and method == "rsapss":
        if key.key_size < RSA_BITS:
            raise InvalidSignature
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        key.verify(signature, payload, pss, hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PublicKey) and method == "eddsa":
        key.verify(signature, payload)
    else:
        raise InvalidSignature


class PrivateKey(NamedTuple):
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
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(payload, ec.ECDSA(hashes.SHA256())))
            size = (self.key.curve.key_size + 7) // 8
            return "ecdsa", r.to_bytes(size) + s.to_bytes(size)
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
            return "rsapss", self.key.sign(payload, pss, hashes.SHA256())
        return "eddsa", self.key.sign(payload)


def generate(role: str = "", gun: str = "") -> PrivateKey:
    """A new ECDSA key on P-256, as Docker makes them."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()), role, gun)


def public_key(key: object) -> PublicKey:
    """Notary's form of a key of ``cryptography``. Raises BadKeyError."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(ED25519, key.public_bytes_raw())
    if isinstance(key, ec.EllipticCurvePublicKey):
        return PublicKey(ECDSA, key.public_bytes(_DER, _SPKI))
    if isinstance(key, rsa.RSAPublicKey):
        return PublicKey(RSA, key.public_bytes(_DER, _SPKI))
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


def certificate_key(private: PrivateKey, gun: str, now: datetime) -> PublicKey:
    """A root key as metadata has it: in a certificate for ``gun`` that it signs itself, good for ten years."""
    if isinstance(private.key, ed25519.Ed25519PrivateKey):
        raise BadKeyError("an ed25519 key can't be a root key")
    with _long_names():
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gun, _validate=False)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private.key, hashes.SHA256())
    )
    keytype = RSA_X509 if isinstance(private.key, rsa.RSAPrivateKey) else ECDSA_X509
    return PublicKey(keytype, certificate.public_bytes(_PEM))


@contextmanager
def _long_names() -> Iterator[None]:
    """A common name has 64 characters at most in RFC 5280; Notary writes any repository's name there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def names_repository(key: PublicKey, gun: str) -> bool:
    """Whether a root key's certificate is for ``gun``: by its whole name, or by a prefix that ends with ``*``."""
    try:
        with _long_names():
            names = key.certificate().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (BadKeyError, ValueError):
        return False
    if len(names) != 1:
        return False
    common = str(names[0].value)
    return gun.startswith(common.rstrip("*")) if common.endswith("*") else common == gun


def in_force(key: PublicKey, now: datetime) -> bool:
    """Whether a root key's certificate is valid at ``now``."""
    try:
        certificate = key.certificate()
    except BadKeyError:
        return False
    return certificate.not_valid_before_utc - LEEWAY <= now <= certificate.not_valid_after_utc
