"""Root keys in certificates: made, read, and whom and when they are for.

``cryptography.x509`` takes longer to load than a verification takes; it is loaded where a certificate is looked at.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rundlet.trust.errors import BadKeyError
from rundlet.trust.keys import ECDSA_X509, RSA_X509, PrivateKey, PublicKey

LEEWAY: Final = timedelta(days=1)
"""How far in the future a certificate may begin: clocks differ."""


def certificate_of(key: PublicKey) -> x509.Certificate:
    """Raises BadKeyError when it is none."""
    try:
        return x509.load_pem_x509_certificate(key.public)
    except ValueError as exc:
        raise BadKeyError(f"a {key.keytype} key that is no certificate: {exc}") from exc


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
    return PublicKey(keytype, certificate.public_bytes(serialization.Encoding.PEM))


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
            names = certificate_of(key).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (BadKeyError, ValueError):
        return False
    if len(names) != 1:
        return False
    common = str(names[0].value)
    return gun.startswith(common.rstrip("*")) if common.endswith("*") else common == gun


def in_force(key: PublicKey, now: datetime) -> bool:
    """Whether a root key's certificate is valid at ``now``."""
    try:
        certificate = certificate_of(key)
    except BadKeyError:
        return False
    return certificate.not_valid_before_utc - LEEWAY <= now <= certificate.not_valid_after_utc


def valid_until(keys: list[PublicKey]) -> datetime:
    """Until when each of ``keys`` is in force; the beginning of time where there are none."""
    ends = [certificate_of(key).not_valid_after_utc for key in keys]
    return min(ends) if ends else datetime.fromtimestamp(0, UTC)
