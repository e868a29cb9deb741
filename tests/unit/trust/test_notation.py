"""Notation's envelopes and chains. The signatures are made here after the specification."""

import base64
import json
from collections.abc import Mapping, Sequence
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

from rundlet.trust import chains, notation, policy
from rundlet.trust.notation import Demands, NotationError, Verdict

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
    more: Sequence[x509.ExtensionType] = (),
    critical: bool = False,
    other: Sequence[str] = (),
) -> Authority:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "HH"),
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
    for use in other:
        names[use] = True
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
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
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


STRICT = policy.actions_of({})


def demands(root: Authority, *identities: str, **changes: Any) -> Demands:
    return Demands([root.certificate], [], [], identities, STRICT)._replace(**changes)


def ended(exchange: notation.Exchange, answers: Mapping[str, bytes | None]) -> Verdict:
    """What comes out with ``answers`` by URL; nothing else may be asked for."""
    answer: bytes | None = None
    while True:
        try:
            answer = answers[exchange.send(answer).url]
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict


def check(
    data: bytes, root: Authority, kind: str = notation.JWS, digest: str = DIGEST, *identities: str, **changes: Any
) -> Verdict:
    return ended(notation.verify(data, kind, digest, demands(root, *identities, **changes), NOW), {})


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
        (_chain(end=NOW - timedelta(hours=1)), "is not valid at"),
        (_chain(begin=NOW + timedelta(hours=1)), "is not valid at"),
        (_chain(usage=False), "not for signatures alone"),
        (_chain(other=["key_encipherment"]), "not for signatures alone"),
        (_chain(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "not for signing code alone"),
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
    with pytest.raises(NotationError, match="is not valid at"):
        check(jws([root.issue("leaf"), root]), root)


@pytest.mark.parametrize(
    ("identity", "good"),
    [
        ("*", True),
        ("x509.subject: C=DE, O=Team", True),
        ("x509.subject: C=DE, O=Team, CN=leaf", True),
        ("x509.subject:C=DE,ST=HH,O=Team", True),
        ("x509.subject: C=DE, O=Team\\, Inc", False),
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
    assert len(chains.load_certificates({"a": both, "b": der})) == 3
    with pytest.raises(NotationError, match="/c is no certificate"):
        chains.load_certificates({"/c": b"x"})


def test_cose_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cbor2", None)
    with pytest.raises(NotationError, match=r"pip install 'rundlet\[notation\]'"):
        check(b"x", ROOT, notation.COSE)


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────

EXPIRED: dict[str, Any] = {EXPIRY: "2026-11-22T00:00:00Z", "crit": [SCHEME, EXPIRY]}
STRANGER = Authority.root()


def _level(name: str, **override: str) -> dict[str, Any]:
    return {"actions": policy.actions_of({"level": name, "override": override})}


@pytest.mark.parametrize(
    ("data", "level", "logged"),
    [
        (jws(CHAIN), _level("strict"), []),
        (jws(CHAIN, **EXPIRED), _level("permissive"), ["expiry"]),
        (jws(CHAIN, **EXPIRED), _level("strict", expiry="log"), ["expiry"]),
        (jws(_chain(end=NOW - timedelta(hours=1))), _level("permissive"), ["authenticTimestamp"]),
        (jws([STRANGER.issue("x"), STRANGER]), _level("audit"), ["authenticity", "revocation"]),
        (
            jws([STRANGER.issue("x"), STRANGER]),
            _level("strict", authenticity="log", revocation="skip"),
            ["authenticity"],
        ),
    ],
)
def test_what_a_level_only_logs(data: bytes, level: dict[str, Any], logged: list[str]) -> None:
    verdict = check(data, ROOT, **level)
    assert [line.partition(":")[0] for line in verdict.logged] == logged


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (jws(CHAIN, **EXPIRED), _level("permissive", expiry="enforce")),
        (jws([STRANGER.issue("x"), STRANGER]), _level("permissive")),
        (jws(_chain(end=NOW - timedelta(hours=1))), _level("audit", authenticTimestamp="enforce")),
        (jws(CHAIN, payload("sha256:" + "00" * 32)), _level("audit")),
        (jws(CHAIN).replace(b'"signature": "', b'"signature": "AAAA'), _level("audit")),
    ],
)
def test_what_a_level_enforces(data: bytes, level: dict[str, Any]) -> None:
    with pytest.raises(NotationError):
        check(data, ROOT, **level)


def test_until_when_a_signature_is_good() -> None:
    assert check(jws(CHAIN), ROOT).until == LEAF.certificate.not_valid_after_utc
    soon: dict[str, Any] = {EXPIRY: "2026-11-23T01:00:00Z", "crit": [SCHEME, EXPIRY]}
    assert check(jws(CHAIN, **soon), ROOT).until == NOW + timedelta(hours=1)
    assert check(jws(CHAIN, **soon), ROOT, **_level("audit")).until is None


# ── signing authorities ──────────────────────────────────────────────────────────────────────────────────────

AUTHENTIC = "io.cncf.notary.authenticSigningTime"


def _vouched(moment: str, **changes: Any) -> dict[str, Any]:
    scheme = {SCHEME: "notary.x509.signingAuthority", "crit": [SCHEME, AUTHENTIC], AUTHENTIC: moment}
    return {**scheme, **changes}


def test_a_signing_authority_vouches_for_the_time() -> None:
    """Its certificate has ended since; it was good then. The other store knows nothing of it."""
    old = Authority.root(begin=NOW - DAY * 30)
    chain = [old.issue("leaf", begin=NOW - DAY * 20, end=NOW - DAY * 10), old]
    root: dict[str, Any] = {"roots": [], "authorities": [old.certificate]}
    data = jws(chain, **_vouched("2026-11-08T00:00:00Z"))
    assert check(data, ROOT, **root).until is None
    with pytest.raises(NotationError, match="not in the trust store"):
        check(data, old)
    for late in (_vouched("2026-11-20T00:00:00Z"), _vouched("2026-10-20T00:00:00Z")):
        with pytest.raises(NotationError, match="is not valid at"):
            check(jws(chain, **late), ROOT, **root)
    for silent in (_vouched("x"), _vouched("2026-11-08T00:00:00Z", crit=[SCHEME])):
        with pytest.raises(NotationError, match=r"is no time|does not say when"):
            check(jws(chain, **silent), ROOT, **root)


# ── the policy's part ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "identities",
    [["*"], ["x509.subject: C=DE, ST=HH, O=Team"], [f"x509.subject: C=DE, ST=HH, O=Team, OU={unit}" for unit in "ab"]],
)
def test_identities_of_a_policy(identities: list[str]) -> None:
    notation.check_identities(identities)


@pytest.mark.parametrize(
    ("identities", "words"),
    [
        (["*", "x509.subject: C=DE, ST=HH, O=Team"], "want"),
        (["x509.subject: C=DE, O=Team"], "want"),
        (["C=DE, ST=HH, O=Team"], "want"),
        (["x509.subject: C=DE, ST=HH, O=Team, OU"], "want"),
        (["x509.subject: C=DE, ST=HH, O=Team", "x509.subject: C=DE, ST=HH, O=Team, OU=a"], "overlaps"),
    ],
)
def test_identities_that_no_policy_may_have(identities: list[str], words: str) -> None:
    with pytest.raises(NotationError, match=words):
        notation.check_identities(identities)


def test_a_root_in_the_middle_may_be_trusted() -> None:
    """A store may name the authority in between; the chain has to be whole all the same."""
    check(jws(CHAIN), MIDDLE)
    with pytest.raises(NotationError, match="did not issue"):
        check(jws([LEAF, MIDDLE]), MIDDLE)
