"""Notation's envelopes and chains. The signatures are made here after the specification."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rundlet.trust import notation
from rundlet.trust.notation import NotationError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
DIGEST = "sha256:" + "ab" * 32
SCHEME, TIME, EXPIRY = (f"io.cncf.notary.{name}" for name in ("signingScheme", "signingTime", "expiry"))

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """A certificate and its key; ``issue`` makes the next below it."""

    def __init__(self, key: Key, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @classmethod
    def root(cls, **options: Any) -> "Authority":
        return _make("root", None, ec.generate_private_key(ec.SECP256R1()), ca=True, **options)

    def issue(self, name: str, key: Key | None = None, **options: Any) -> "Authority":
        return _make(name, self, key or ec.generate_private_key(ec.SECP256R1()), **options)


def _make(
    name: str,
    issuer: Authority | None,
    key: Key,
    *,
    ca: bool = False,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    usage: bool = True,
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CODE_SIGNING,
    length: int | None = None,
) -> Authority:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Team"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    names = dict.fromkeys(
        (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
            "crl_sign encipher_only decipher_only"
        ).split(),
        False,
    )
    names["key_cert_sign" if ca else "digital_signature"] = usage
    if not usage:
        names["key_agreement"] = True
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, length), critical=True)
        .add_extension(x509.KeyUsage(**names), critical=True)
    )
    if purpose is not None and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Authority(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def _raw(key: Key, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        digest = {2048: hashes.SHA256(), 3072: hashes.SHA384(), 4096: hashes.SHA512()}[key.key_size]
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    curve = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(curve)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size) + s.to_bytes(size)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _names(key: Key) -> tuple[str, int]:
    if isinstance(key, rsa.RSAPrivateKey):
        return {2048: ("PS256", -37), 3072: ("PS384", -38), 4096: ("PS512", -39)}[key.key_size]
    return {256: ("ES256", -7), 384: ("ES384", -35), 521: ("ES512", -36)}[key.curve.key_size]


def payload(digest: str = DIGEST) -> bytes:
    target = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 5}
    return json.dumps({"targetArtifact": target}).encode()


def jws(chain: list[Authority], content: bytes | None = None, **changes: Any) -> bytes:
    signer = chain[0]
    attributes = {
        "alg": _names(signer.key)[0],
        "cty": notation.PAYLOAD,
        "crit": [SCHEME],
        SCHEME: "notary.x509",
        TIME: "2026-11-22T10:00:00Z",
        **changes,
    }
    protected = _text(json.dumps(attributes).encode())
    body = _text(content or payload())
    document = {
        "payload": body,
        "protected": protected,
        "header": {
            "x5c": [base64.b64encode(item.certificate.public_bytes(Encoding.DER)).decode() for item in chain],
            "io.cncf.notary.signingAgent": "test",
        },
        "signature": _text(_raw(signer.key, f"{protected}.{body}".encode())),
    }
    return json.dumps(document).encode()


def cose(chain: list[Authority], content: bytes | None = None, **changes: Any) -> bytes:
    signer = chain[0]
    attributes: dict[Any, Any] = {
        1: _names(signer.key)[1],
        2: [SCHEME],
        3: notation.PAYLOAD,
        SCHEME: "notary.x509",
        TIME: cbor2.CBORTag(1, int(NOW.timestamp()) - 100),
        **changes,
    }
    protected = cbor2.dumps(attributes)
    body = content or payload()
    signature = _raw(signer.key, cbor2.dumps(["Signature1", protected, b"", body]))
    certificates = [item.certificate.public_bytes(Encoding.DER) for item in chain]
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {33: certificates}, body, signature]))


def check(data: bytes, root: Authority, kind: str = notation.JWS, digest: str = DIGEST, *identities: str) -> None:
    notation.verify(data, kind, digest, [root.certificate], identities, NOW)


MAKERS = [(notation.JWS, jws), (notation.COSE, cose)]
KEYS: list[Key] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    rsa.generate_private_key(65537, 2048),
    rsa.generate_private_key(65537, 3072),
]
ROOT = Authority.root()
MIDDLE = ROOT.issue("middle", ca=True)
LEAF = MIDDLE.issue("leaf")
CHAIN = [LEAF, MIDDLE, ROOT]


@pytest.mark.parametrize(("kind", "make"), MAKERS, ids=["jws", "cose"])
@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{type(key).__name__}-{key.key_size}")
def test_a_chain_of_three(kind: str, make: Any, key: Key) -> None:
    leaf = MIDDLE.issue("leaf", key)
    check(make([leaf, MIDDLE, ROOT]), ROOT, kind)


@pytest.mark.parametrize(("kind", "make"), MAKERS, ids=["jws", "cose"])
def test_a_signature_of_something_else(kind: str, make: Any) -> None:
    with pytest.raises(NotationError, match="it signs sha256:abab"):
        check(make(CHAIN), ROOT, kind, "sha256:" + "00" * 32)
    for content in (b"{}", b"[]", b"x", b'{"targetArtifact":null}'):
        with pytest.raises(NotationError, match="no descriptor"):
            check(make(CHAIN, content), ROOT, kind)


@pytest.mark.parametrize(("kind", "make"), MAKERS, ids=["jws", "cose"])
def test_a_changed_envelope(kind: str, make: Any) -> None:
    data = bytearray(make(CHAIN))
    position = data.rindex(b'"', 0, -2) - 5 if kind == notation.JWS else len(data) - 5
    data[position] ^= 1
    with pytest.raises(NotationError):
        check(bytes(data), ROOT, kind)


@pytest.mark.parametrize("kind", [notation.JWS, notation.COSE])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xd2\x84", b"\xff" * 20, b'{"protected":"e30","header":{}}'])
def test_rubbish(kind: str, data: bytes) -> None:
    with pytest.raises(NotationError, match=r"no (JWS|COSE) envelope"):
        check(data, ROOT, kind)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cty": "text/plain"}, "has the type"),
        ({SCHEME: "other"}, "signing scheme"),
        ({"crit": []}, "signing scheme"),
        ({"crit": [SCHEME, "new"]}, "demands what is not known"),
        ({EXPIRY: "2026-11-22T00:00:00Z"}, "has expired"),
        ({EXPIRY: "soon"}, "is no time"),
        ({"alg": "ES384"}, "does not go with"),
        ({"alg": "none"}, "does not go with"),
        ({"alg": "HS256"}, "does not go with"),
    ],
)
def test_attributes(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NotationError, match=words):
        check(jws(CHAIN, **changes), ROOT)


def test_an_expiry_to_come_is_none_of_our_business() -> None:
    changes: dict[str, Any] = {EXPIRY: "2026-11-24T00:00:00Z", "crit": [SCHEME, EXPIRY]}
    check(jws(CHAIN, **changes), ROOT)


def _chain(**options: Any) -> list[Authority]:
    return [MIDDLE.issue("leaf", **options), MIDDLE, ROOT]


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ([LEAF], "not in the trust store"),
        ([LEAF, MIDDLE], "not in the trust store"),
        ([LEAF, ROOT], "did not issue"),
        ([LEAF, MIDDLE, Authority.root()], "not in the trust store|did not issue"),
        (_chain(end=NOW - timedelta(hours=1)), "not valid now"),
        (_chain(begin=NOW + timedelta(hours=1)), "not valid now"),
        (_chain(usage=False), "not for signatures"),
        (_chain(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "not for signing code"),
        ([LEAF.issue("below"), LEAF, MIDDLE, ROOT], "no certificate authority"),
        ([ROOT.issue("ca", ca=True), ROOT], "not for signatures|authority, not a signer"),
    ],
)
def test_bad_chains(chain: list[Authority], words: str) -> None:
    with pytest.raises(NotationError, match=words):
        check(jws(chain), ROOT)


def test_the_length_of_a_path_is_kept() -> None:
    short = Authority.root(length=0)
    middle = short.issue("middle", ca=True)
    with pytest.raises(NotationError, match="may not have authorities below"):
        check(jws([middle.issue("leaf"), middle, short]), short)


def test_a_root_that_expired() -> None:
    root = Authority.root(end=NOW - timedelta(hours=1))
    with pytest.raises(NotationError, match="not valid now"):
        check(jws([root.issue("leaf"), root]), root)


@pytest.mark.parametrize(
    ("identity", "good"),
    [
        ("*", True),
        ("x509.subject: C=DE, O=Team", True),
        ("x509.subject: C=DE, O=Team, CN=leaf", True),
        ("x509.subject: C=DE, O=Other", False),
        ("x509.subject: CN=leaf, O=Team, C=FR", False),
        ("x509.subject:", False),
        ("C=DE", False),
    ],
)
def test_identities(identity: str, good: bool) -> None:
    if good:
        check(jws(CHAIN), ROOT, notation.JWS, DIGEST, identity)
        return
    with pytest.raises(NotationError, match="none of the trusted identities"):
        check(jws(CHAIN), ROOT, notation.JWS, DIGEST, identity)


def test_trust_stores() -> None:
    pem, der = (ROOT.certificate.public_bytes(form) for form in (Encoding.PEM, Encoding.DER))
    both = pem + MIDDLE.certificate.public_bytes(Encoding.PEM)
    assert len(notation.load_certificates({"a": both, "b": der})) == 3
    with pytest.raises(NotationError, match="/c is no certificate"):
        notation.load_certificates({"/c": b"x"})


def test_cose_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cbor2", None)
    with pytest.raises(NotationError, match=r"pip install 'rundlet\[notation\]'"):
        check(b"x", ROOT, notation.COSE)
