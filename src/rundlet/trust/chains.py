"""Chains of certificates as the Notary Project demands them: from a signer to a root that is trusted.

When they are to be valid is the caller's business. See: signature-specification, "Certificate Requirements".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from rundlet.trust.errors import NotationError

Certificate = x509.Certificate

_FOREIGN: Final = frozenset(
    (
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.TIME_STAMPING,
    )
)
"""Purposes of which a signer has its own and none of the others."""


def load_certificates(files: Mapping[str, bytes]) -> list[x509.Certificate]:
    """A trust store's certificates, PEM or DER. Raises NotationError."""
    found: list[x509.Certificate] = []
    for path, data in files.items():
        try:
            if data.lstrip().startswith(b"-----"):
                found += x509.load_pem_x509_certificates(data)
            else:
                found.append(x509.load_der_x509_certificate(data))
        except (ValueError, x509.InvalidVersion) as exc:
            raise NotationError(f"{path} is no certificate: {exc}") from exc
    return found


def check_chain(
    chain: Sequence[Certificate],
    roots: Sequence[Certificate],
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
) -> None:
    """From the signer to a root, each issued by the next, and one of them in ``roots``. Raises NotationError."""
    if not chain:
        raise NotationError("it has no certificate")
    if not any(certificate in roots for certificate in chain):
        raise NotationError(f"{chain[-1].subject.rfc4514_string()} is not in the trust store")
    for position, certificate in enumerate(chain):
        name = certificate.subject.rfc4514_string()
        if position:
            _check_authority(certificate, name, below=position - 1)
        issuer = chain[position + 1] if position + 1 < len(chain) else certificate
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError) as exc:
            raise NotationError(f"{issuer.subject.rfc4514_string()} did not issue the certificate of {name}") from exc
        if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
            raise NotationError(f"the certificate of {name} is signed with a broken algorithm")
    _check_signer(chain[0], purpose, alone=len(chain) == 1)


def check_times(chain: Sequence[Certificate], first: datetime, last: datetime) -> None:
    """All of them valid from ``first`` to ``last``. Raises NotationError."""
    for certificate in chain:
        if not (certificate.not_valid_before_utc <= first and last <= certificate.not_valid_after_utc):
            name = certificate.subject.rfc4514_string()
            raise NotationError(f"the certificate of {name} is not valid at {last:%Y-%m-%d %H:%M:%S} UTC")


def extension(certificate: Certificate, oid: x509.ObjectIdentifier) -> Any:
    """Its value; None where there is none that can be read."""
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _check_authority(certificate: Certificate, name: str, *, below: int) -> None:
    constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise NotationError(f"{name} is no certificate authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise NotationError(f"{name} may not have authorities below it")


def _check_signer(certificate: Certificate, purpose: x509.ObjectIdentifier, *, alone: bool) -> None:
    """The certificate that signed. One that stands alone in the trust store was put there by hand."""
    name = certificate.subject.rfc4514_string()
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    if usage is None or not usage.digital_signature or _other_uses(usage):
        raise NotationError(f"the certificate of {name} is not for signatures alone")
    constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is not None and constraints.ca and not alone:
        raise NotationError(f"{name} is a certificate authority, not a signer")
    purposes = extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE)
    stamps = purpose == ExtendedKeyUsageOID.TIME_STAMPING
    if purposes is None:
        if stamps:
            raise NotationError(f"the certificate of {name} is not for time stamps")
        return
    if purpose not in purposes or any(item in _FOREIGN and item != purpose for item in purposes):
        raise NotationError(f"the certificate of {name} is not for {'time stamps' if stamps else 'signing code'} alone")


def _other_uses(usage: x509.KeyUsage) -> bool:
    return (
        usage.key_encipherment
        or usage.data_encipherment
        or usage.key_agreement
        or usage.key_cert_sign
        or usage.crl_sign
    )
