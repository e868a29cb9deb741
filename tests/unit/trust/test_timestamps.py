"""Time stamps of authorities over Notation's signatures. The stamps are made by openssl, so they are of today.

The certificates were made when this file was read: they last for days, however long the tests before these take.
"""

import base64
import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.conftest import lacking, need
from tests.unit.trust.test_notation import DAY, DIGEST, MAKERS, Authority, cose, demands, ended, jws
from tests.unit.trust.test_revocation import CRL, point

from rundlet.trust import notation, policy, timestamps
from rundlet.trust.chains import check_chain
from rundlet.trust.envelopes import STAMP, open_jws
from rundlet.trust.notation import NotationError, Verdict

TODAY = datetime.now(UTC)
HOUR = timedelta(hours=1)
LATER = TODAY + 10 * DAY
SHORT: dict[str, Any] = {"begin": TODAY - DAY, "end": TODAY + DAY}
LONG: dict[str, Any] = {"begin": TODAY - DAY, "end": TODAY + 100 * DAY}
STAMPING: dict[str, Any] = {"purpose": ExtendedKeyUsageOID.TIME_STAMPING, "critical": True}

ROOT = Authority.root(**LONG)
LEAF = ROOT.issue("leaf", **SHORT)
TSA_ROOT = Authority.root(**LONG)
TSA = TSA_ROOT.issue("tsa", **LONG, **STAMPING)


@pytest.fixture(autouse=True)
def _library() -> None:
    try:
        importlib.import_module("rfc3161_client")
    except ImportError:
        lacking("the rfc3161-client package is not installed")


def stamp(
    directory: Path,
    message: bytes,
    tsa: Authority = TSA,
    root: Authority = TSA_ROOT,
    more: str = "",
    *,
    whole: bool = False,
) -> bytes:
    """A token for ``message``, with all certificates.

    ``whole`` is an authority's answer as it comes, with its own certificate only (openssl puts several into an order
    that strict parsers refuse).
    """
    openssl = need("openssl")
    certificates = "" if whole else f"certs = {directory}/root.pem\n"
    (directory / "message").write_bytes(message)
    (directory / "serial").write_text("01\n")
    (directory / "tsa.pem").write_bytes(tsa.certificate.public_bytes(Encoding.PEM))
    (directory / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (directory / "tsa.key").write_bytes(tsa.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / "tsa.cnf").write_text(
        f"[tsa]\ndefault_tsa = t\n[t]\nserial = {directory}/serial\nsigner_cert = {directory}/tsa.pem\n"
        f"{certificates}signer_key = {directory}/tsa.key\nsigner_digest = sha256\n"
        f"default_policy = 1.2.3.4.1\ndigests = sha256, sha384, sha512\naccuracy = secs:1\n{more}\n"
    )
    asked, made = directory / "asked", directory / "made"
    for command in (
        ["-query", "-data", str(directory / "message"), "-sha256", "-cert", "-out", str(asked)],
        [
            "-reply",
            "-config",
            str(directory / "tsa.cnf"),
            "-queryfile",
            str(asked),
            *([] if whole else ["-token_out"]),
            "-out",
            str(made),
        ],
    ):
        subprocess.run([openssl, "ts", *command], check=True, capture_output=True, timeout=60)
    return made.read_bytes()


def stamped(directory: Path, chain: list[Authority], tsa: Authority = TSA, root: Authority = TSA_ROOT) -> bytes:
    """A signature with a time stamp in its header."""
    document = json.loads(jws(chain))
    token = stamp(directory, open_jws(json.dumps(document).encode()).signature, tsa, root)
    document["header"][STAMP] = base64.b64encode(token).decode()
    return json.dumps(document).encode()


def verify(
    data: bytes, now: datetime = LATER, answers: dict[str, bytes | None] | None = None, **changes: Any
) -> Verdict:
    given = demands(ROOT, **{"stampers": [TSA_ROOT.certificate], **changes})
    return ended(notation.verify(data, notation.JWS, DIGEST, given, now), answers or {})


def test_a_signature_outlives_its_certificate(tmp_path: Path) -> None:
    data = stamped(tmp_path, [LEAF, ROOT])
    assert verify(data) == Verdict(None, ())
    for name in ("always", "afterCertExpiry"):
        assert verify(data, stamped_after_expiry=name != "always").until is None
    # Without a store of time stamp authorities they are not looked at.
    with pytest.raises(NotationError, match="is not valid at"):
        verify(data, stampers=[])


def test_cose(tmp_path: Path) -> None:
    tagged = cbor2.loads(cose([LEAF, ROOT]))
    protected, unprotected, payload, signature = tagged.value
    unprotected = {**unprotected, STAMP: stamp(tmp_path, signature)}
    data = cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))
    given = demands(ROOT, stampers=[TSA_ROOT.certificate])
    assert ended(notation.verify(data, notation.COSE, DIGEST, given, LATER), {}).until is None


@pytest.mark.parametrize(("kind", "make"), MAKERS, ids=["jws", "cose"])
def test_no_time_stamp(kind: str, make: Any) -> None:
    """Demanded always, or only of certificates that have ended."""
    data = make([LEAF, ROOT])
    given = demands(ROOT, stampers=[TSA_ROOT.certificate])
    for now in (TODAY, LATER):
        with pytest.raises(NotationError, match="has no time stamp"):
            ended(notation.verify(data, kind, DIGEST, given, now), {})
    relaxed = given._replace(stamped_after_expiry=True)
    assert ended(notation.verify(data, kind, DIGEST, relaxed, TODAY), {}).until == LEAF.certificate.not_valid_after_utc
    with pytest.raises(NotationError, match="has no time stamp"):
        ended(notation.verify(data, kind, DIGEST, relaxed, LATER), {})
    logged = given._replace(actions=policy.actions_of({"level": "permissive"}))
    assert ended(notation.verify(data, kind, DIGEST, logged, LATER), {}).logged == (
        "authenticTimestamp: it has no time stamp of an authority",
    )


def test_a_certificate_that_had_ended_before(tmp_path: Path) -> None:
    """Or that begins after the stamp: signed when nobody might."""
    for begin, end in ((TODAY - 3 * DAY, TODAY - DAY), (TODAY + DAY, TODAY + 20 * DAY)):
        with pytest.raises(NotationError, match=r"CN=leaf.* is not valid at"):
            verify(stamped(tmp_path, [ROOT.issue("leaf", begin=begin, end=end), ROOT]))


def test_the_stamp_of_another_signature(tmp_path: Path) -> None:
    document = json.loads(jws([LEAF, ROOT]))
    document["header"][STAMP] = base64.b64encode(stamp(tmp_path, b"something else")).decode()
    with pytest.raises(NotationError, match="time stamp is not believed: Mismatch between"):
        verify(json.dumps(document).encode())


def test_an_unknown_authority(tmp_path: Path) -> None:
    data = stamped(tmp_path, [LEAF, ROOT])
    stranger = Authority.root(**LONG)
    for store in ([stranger.certificate], [ROOT.certificate]):
        with pytest.raises(NotationError, match="time stamp is not believed"):
            verify(data, stampers=store)


def test_an_authority_whose_certificate_has_ended(tmp_path: Path) -> None:
    tsa = TSA_ROOT.issue("tsa", begin=TODAY - 2 * DAY, end=TODAY - DAY, **STAMPING)
    with pytest.raises(NotationError, match="time stamp is not believed"):
        verify(stamped(tmp_path, [LEAF, ROOT], tsa))


@pytest.mark.parametrize(
    "tsa",
    [
        TSA_ROOT.issue("tsa", **LONG, **STAMPING, other=["key_encipherment"]),
        TSA_ROOT.issue("tsa", **LONG),
        TSA_ROOT.issue("tsa", **LONG, purpose=None),
    ],
    ids=["other-use", "signs-code", "no-purpose"],
)
def test_certificates_that_may_not_stamp(tsa: Authority) -> None:
    chain = [tsa.certificate, TSA_ROOT.certificate]
    with pytest.raises(NotationError, match=r"is not for (signatures|time stamps)"):
        check_chain(chain, [TSA_ROOT.certificate], ExtendedKeyUsageOID.TIME_STAMPING)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_the_certificate_that_is_named(tmp_path: Path, algorithm: str) -> None:
    """Another certificate of the same key and names in its place is noticed, whatever digest names the true one."""
    token = stamp(tmp_path, b"message", more=f"ess_cert_id_alg = {algorithm}")
    found = timestamps.verify(token, b"message", [TSA_ROOT.certificate])
    assert found.chain == (TSA.certificate, TSA_ROOT.certificate)
    assert found.last - found.first == timedelta(seconds=2)
    assert found.first > TODAY - HOUR
    timestamps._check_named(token, TSA.certificate)
    with pytest.raises(NotationError, match="another certificate"):
        timestamps._check_named(token, TSA_ROOT.issue("tsa", TSA.key, **LONG, **STAMPING).certificate)


def test_rubbish(tmp_path: Path) -> None:
    token = stamp(tmp_path, b"message")
    roots = [TSA_ROOT.certificate]
    for data in (b"", b"\x30", b"\x30\x80", b"x" * 100, token[:-1], token[: len(token) // 2], token + b"\0"):
        with pytest.raises(NotationError):
            timestamps.verify(data, b"message", roots)
    for position in range(0, len(token), 37):
        changed = bytearray(token)
        changed[position] ^= 0xFF
        try:
            found = timestamps.verify(bytes(changed), b"message", roots)
        except NotationError:
            continue
        # Not every byte is signed (those of the root, which is known, are not): the verdict stays the same.
        assert found.chain[0] == TSA.certificate
    for data in (b"\x30\x03\x02\x01", b"\x30\x00", b"\x30\x02\xa0\x00", b"\x30\x85" + b"\0" * 9):
        with pytest.raises(NotationError):
            timestamps._check_named(data, TSA.certificate)


def test_an_authority_that_was_revoked(tmp_path: Path) -> None:
    """Its certificate names a list: what that says counts for the stamp as for the signer."""
    more = [x509.CRLDistributionPoints([point(CRL)])]
    tsa = TSA_ROOT.issue("tsa", **LONG, **STAMPING, more=more)
    data = stamped(tmp_path, [LEAF, ROOT], tsa)
    with pytest.raises(NotationError, match=r"CN=tsa.* can't be found out"):
        verify(data, answers={CRL: None})
    actions = policy.actions_of({"override": {"revocation": "log"}})
    assert len(verify(data, answers={CRL: None}, actions=actions).logged) == 1
    assert verify(data, actions=policy.actions_of({"override": {"revocation": "skip"}})) == Verdict(None, ())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    command = r"which is not installed: pip install 'rundlet\[notation\]'"
    with pytest.raises(NotationError, match=command):
        notation.require(demands(ROOT, stampers=[TSA_ROOT.certificate]))
    with pytest.raises(NotationError, match=command):
        timestamps.verify(b"", b"", [TSA_ROOT.certificate])
    notation.require(demands(ROOT))
