"""A private Sigstore: an authority for short-lived certificates, their log, and the log of signatures."""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from rundlet.trust import cosign, sigstore

SIGNED = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
"""When everything happened: long ago, as the certificates live for ten minutes."""
IDENTITY, ISSUER = "ci@org.example", "https://issuer.example"

_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in names for name in every.split()})


class Log:
    """A key, and what goes by its ID."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = hashlib.sha256(_der(self.key)).digest()

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def listed(self) -> dict[str, Any]:
        """As a trusted root has it."""
        return {
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(_der(self.key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2024-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(self.id)},
        }


class Signer:
    """Someone's key, and the certificate that was made for it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


class SigstoreSite:
    """What Fulcio, its log and Rekor are for others."""

    def __init__(self) -> None:
        self.authority = ec.generate_private_key(ec.SECP256R1())
        self.certificates, self.signatures = Log(), Log()
        self.stampers: list[x509.Certificate] = []
        """The authority for time stamps, and whoever vouches for it."""
        self.root = (
            x509.CertificateBuilder()
            .subject_name(_name("sigstore.example"))
            .issuer_name(_name("sigstore.example"))
            .public_key(self.authority.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(SIGNED - timedelta(days=100))
            .not_valid_after(SIGNED + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key()), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def trusted_root(self) -> bytes:
        authority = {
            "subject": {"organization": "sigstore.example", "commonName": "sigstore.example"},
            "uri": "https://fulcio.example",
            "certChain": {"certificates": [{"rawBytes": b64(self.root.public_bytes(Encoding.DER))}]},
            "validFor": {"start": "2024-01-01T00:00:00Z"},
        }
        stampers = {
            "subject": {"organization": "stamps.example", "commonName": "stamps.example"},
            "uri": "https://stamps.example",
            "certChain": {
                "certificates": [{"rawBytes": b64(item.public_bytes(Encoding.DER))} for item in self.stampers]
            },
            "validFor": {"start": "2024-01-01T00:00:00Z"},
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self.signatures.listed()],
                "certificateAuthorities": [authority],
                "ctlogs": [self.certificates.listed()],
                "timestampAuthorities": [stampers] if self.stampers else [],
            }
        ).encode()

    # ── certificates ─────────────────────────────────────────────────────────────────────────────────────────

    def signer(
        self,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        *,
        begin: datetime = SIGNED - timedelta(minutes=5),
        log: Log | None = None,
        purpose: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> Signer:
        """``log`` signs that it has seen the certificate; else the one that the root names."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: x509.GeneralName = (
            x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(minutes=10))
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([names]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, issuer.encode()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()), critical=False
            )
        )
        before = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        stamp = _seen(log or self.certificates, hashlib.sha256(_der(self.authority)).digest(), before, begin)
        builder = builder.add_extension(x509.UnrecognizedExtension(_TIMESTAMPS, stamp), critical=False)
        return Signer(key, builder.sign(self.authority, hashes.SHA256()))

    # ── signatures ───────────────────────────────────────────────────────────────────────────────────────────

    def bundle(self, signer: Signer, statement: bytes, *, at: datetime = SIGNED) -> dict[str, Any]:
        """As cosign 3 makes them: version 0.3, around a DSSE envelope."""
        signature = signer.sign(cosign.pre_authentication(cosign.IN_TOTO, statement))
        envelope = {
            "payload": b64(statement),
            "payloadType": cosign.IN_TOTO,
            "signatures": [{"sig": b64(signature)}],
        }
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(json.dumps(envelope).encode()).hexdigest(),
                },
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(statement).hexdigest()},
                "signatures": [{"signature": b64(signature), "verifier": b64(signer.pem)}],
            },
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(signer.certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [self._entry(body, at)],
            },
            "dsseEnvelope": envelope,
        }

    def bundle_of_rekor_2(
        self, signer: Signer, statement: bytes, stamp: Callable[[bytes], bytes] | None, *, logged: bytes | None = None
    ) -> dict[str, Any]:
        """With an entry of the second Rekor, which says nothing of times: ``stamp`` has the signature stamped.

        ``logged`` is what the entry speaks of, if not what was signed. See: Rekor v2's specification, hashedrekord.
        """
        message = cosign.pre_authentication(cosign.IN_TOTO, statement)
        signature = signer.sign(message)
        certificate = {"rawBytes": b64(signer.certificate.public_bytes(Encoding.DER))}
        digest = hashlib.sha256(message if logged is None else logged).digest()
        record = {
            "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
            "signature": {
                "content": b64(signature),
                "verifier": {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": certificate},
            },
        }
        entry = self._entry({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}, None)
        stamps = [{"signedTimestamp": b64(stamp(signature))}] if stamp else []
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": certificate,
                "tlogEntries": [entry],
                "timestampVerificationData": {"rfc3161Timestamps": stamps},
            },
            "dsseEnvelope": {
                "payload": b64(statement),
                "payloadType": cosign.IN_TOTO,
                "signatures": [{"sig": b64(signature)}],
            },
        }

    def simple(self, signer: Signer, payload: bytes, *, at: datetime = SIGNED) -> dict[str, str]:
        """As cosign 1 and 2 make them: the annotations of the layer with ``payload``."""
        signature = signer.sign(payload)
        body = {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
                "signature": {"content": b64(signature), "publicKey": {"content": b64(signer.pem)}},
            },
        }
        logged = self._promised(json.dumps(body).encode(), at)
        return {
            cosign.ANNOTATION: b64(signature),
            sigstore.CERTIFICATE: signer.pem.decode(),
            "dev.sigstore.cosign/chain": self.root.public_bytes(Encoding.PEM).decode(),
            sigstore.LOG_ENTRY: json.dumps(logged),
        }

    def _promised(self, body: bytes, at: datetime) -> dict[str, Any]:
        inside: Mapping[str, Any] = {
            "body": b64(body),
            "integratedTime": int(at.timestamp()),
            "logID": self.signatures.id.hex(),
            "logIndex": 1,
        }
        text = json.dumps(inside, sort_keys=True, separators=(",", ":")).encode()
        return {"SignedEntryTimestamp": b64(self.signatures.sign(text)), "Payload": inside}

    def _entry(self, document: dict[str, Any], at: datetime | None) -> dict[str, Any]:
        """The second of three entries, with the proof that it is one of them; a promise only with a time."""
        body = json.dumps(document).encode()
        first, last = (hashlib.sha256(b"\0" + text).digest() for text in (b"first", b"last"))
        leaf = hashlib.sha256(b"\0" + body).digest()
        left = hashlib.sha256(b"\1" + first + leaf).digest()
        root = hashlib.sha256(b"\1" + left + last).digest()
        note = f"log.example - 1\n3\n{b64(root)}\n"
        signature = b64(self.signatures.id[:4] + self.signatures.sign(note.encode()))
        promise: dict[str, Any] = {}
        if at is not None:
            promise = {
                "integratedTime": str(int(at.timestamp())),
                "inclusionPromise": {"signedEntryTimestamp": self._promised(body, at)["SignedEntryTimestamp"]},
            }
        return {
            "logIndex": "1",
            "logId": {"keyId": b64(self.signatures.id)},
            "kindVersion": {"kind": document["kind"], "version": document["apiVersion"]},
            **promise,
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": b64(root),
                "treeSize": "3",
                "hashes": [b64(first), b64(last)],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example {signature}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def _seen(log: Log, issuer: bytes, before: bytes, at: datetime) -> bytes:
    """The extension with one signed certificate timestamp, of a certificate as it was before. See: RFC 6962, 3.2."""
    moment = struct.pack("!Q", int(at.timestamp() * 1000))
    entry = b"\0\1" + issuer + len(before).to_bytes(3, "big") + before
    signature = log.sign(b"\0\0" + moment + entry + b"\0\0")
    stamp = b"\0" + log.id + moment + b"\0\0" + b"\4\3" + struct.pack("!H", len(signature)) + signature
    listed = struct.pack("!H", len(stamp)) + stamp
    whole = struct.pack("!H", len(listed)) + listed
    return b"\x04" + (bytes([len(whole)]) if len(whole) < 128 else bytes([0x81, len(whole)])) + whole


def statement(digest: str, predicate: str = cosign.SIGN_PREDICATE) -> bytes:
    """What cosign 3 signs for an image."""
    algorithm, _, value = digest.partition(":")
    subject = {"name": "", "digest": {algorithm: value}}
    document = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicateType": predicate}
    return json.dumps({**document, "predicate": {}}).encode()
