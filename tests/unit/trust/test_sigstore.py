"""Keyless signatures of a private Sigstore, checked offline by the library: the good ones, and every kind of bad."""

import base64
import copy
import importlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.conftest import lacking
from tests.unit.trust.sigstore_site import IDENTITY, ISSUER, SIGNED, Log, SigstoreSite, b64, statement
from tests.unit.trust.test_timestamps import TSA, TSA_ROOT, stamp

from rundlet.trust import cosign, sigstore
from rundlet.trust.sigstore import KeylessError

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
WORKFLOW = "https://ci.example/org/repo/.github/workflows/release.yml@refs/heads/main"


@pytest.fixture(scope="module")
def place() -> SigstoreSite:
    try:
        importlib.import_module("sigstore")
    except ImportError:
        lacking("the sigstore package is not installed")
    return SigstoreSite()


def check(
    place: SigstoreSite, bundle: Any, identity: str = IDENTITY, issuer: str = ISSUER, root: bytes | None = None
) -> None:
    data = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    sigstore.verify(data, DIGEST, identity, issuer, root or place.trusted_root())


def check_simple(place: SigstoreSite, payload: bytes, notes: dict[str, str], issuer: str = ISSUER) -> None:
    sigstore.verify_simple(payload, notes, DIGEST, IDENTITY, issuer, place.trusted_root())


# ── bundles ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("identity", [IDENTITY, WORKFLOW])
def test_a_bundle_of_cosign_3(place: SigstoreSite, identity: str) -> None:
    """Its certificate ended years ago; it was good when the log saw the signature."""
    check(place, place.bundle(place.signer(identity), statement(DIGEST)), identity)


@pytest.fixture
def stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: SigstoreSite) -> Callable[[bytes], bytes]:
    """The private Sigstore has an authority for time stamps, too: this has something stamped, now."""
    monkeypatch.setattr(place, "stampers", [TSA.certificate, TSA_ROOT.certificate])
    return lambda message: stamp(tmp_path, message, whole=True)


def test_a_bundle_of_the_second_rekor(place: SigstoreSite, stamped: Callable[[bytes], bytes]) -> None:
    """What cosign 3 makes where a signing configuration names the new log: its time is a stamp's."""
    signer = place.signer(begin=datetime.now(UTC) - timedelta(minutes=1))
    check(place, place.bundle_of_rekor_2(signer, statement(DIGEST), stamped))

    with pytest.raises(KeylessError, match="does not match"):
        check(place, place.bundle_of_rekor_2(signer, statement(DIGEST), stamped), IDENTITY, "https://other.example")
    with pytest.raises(KeylessError, match="signs something else"):
        check(place, place.bundle_of_rekor_2(signer, statement(OTHER), stamped))
    with pytest.raises(KeylessError, match="inconsistent with other materials"):
        check(place, place.bundle_of_rekor_2(signer, statement(DIGEST), stamped, logged=b"something else"))


def test_the_second_rekor_without_a_good_stamp(place: SigstoreSite, stamped: Callable[[bytes], bytes]) -> None:
    recent = place.signer(begin=datetime.now(UTC) - timedelta(minutes=1))
    with pytest.raises(KeylessError, match="is not believed"):
        check(place, place.bundle_of_rekor_2(recent, statement(DIGEST), None))
    with pytest.raises(KeylessError, match="is not believed"):
        check(place, place.bundle_of_rekor_2(recent, statement(DIGEST), lambda _signature: stamped(b"another")))
    with pytest.raises(KeylessError, match="is not believed"):  # stamped years after the certificate had ended
        check(place, place.bundle_of_rekor_2(place.signer(), statement(DIGEST), stamped))
    place.stampers.clear()
    with pytest.raises(KeylessError, match="no Timestamp Authorities"):
        check(place, place.bundle_of_rekor_2(recent, statement(DIGEST), stamped))


def test_another_identity_or_issuer(place: SigstoreSite) -> None:
    bundle = place.bundle(place.signer(), statement(DIGEST))
    with pytest.raises(KeylessError, match=r"SANs do not match mallory@org\.example"):
        check(place, bundle, "mallory@org.example")
    with pytest.raises(KeylessError, match="does not match"):
        check(place, bundle, IDENTITY, "https://other.example")


@pytest.mark.parametrize("away", [timedelta(minutes=-6), timedelta(minutes=6), timedelta(days=300)])
def test_a_certificate_that_was_not_valid_when_it_was_logged(place: SigstoreSite, away: timedelta) -> None:
    with pytest.raises(KeylessError, match="not believed"):
        check(place, place.bundle(place.signer(), statement(DIGEST), at=SIGNED + away))


def test_what_it_signs(place: SigstoreSite) -> None:
    for text in (statement(OTHER), statement(DIGEST, "https://slsa.dev/provenance/v1"), b"{}", b"x"):
        with pytest.raises(KeylessError, match="signs something else"):
            check(place, place.bundle(place.signer(), text))


def test_another_sigstore(place: SigstoreSite) -> None:
    bundle = place.bundle(place.signer(), statement(DIGEST))
    with pytest.raises(KeylessError, match="not believed"):
        check(place, bundle, root=SigstoreSite().trusted_root())


def test_a_certificate_that_no_known_log_has_seen(place: SigstoreSite) -> None:
    with pytest.raises(KeylessError, match="failed to verify SCT"):
        check(place, place.bundle(place.signer(log=Log()), statement(DIGEST)))


def test_a_certificate_for_another_purpose(place: SigstoreSite) -> None:
    signer = place.signer(purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    with pytest.raises(KeylessError, match="not believed"):
        check(place, place.bundle(signer, statement(DIGEST)))


def _entry(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def _flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return b64(bytes(data))


def _other_payload(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payload"] = b64(statement(OTHER))


def _other_signature(bundle: dict[str, Any]) -> None:
    signature = bundle["dsseEnvelope"]["signatures"][0]
    signature["sig"] = _flipped(signature["sig"])


def _other_body(bundle: dict[str, Any]) -> None:
    entry = _entry(bundle)
    body = json.loads(base64.b64decode(entry["canonicalizedBody"]))
    body["spec"]["payloadHash"]["value"] = "0" * 64
    entry["canonicalizedBody"] = b64(json.dumps(body).encode())


def _other_time(bundle: dict[str, Any]) -> None:
    _entry(bundle)["integratedTime"] = str(int(SIGNED.timestamp()) + 1)


def _other_promise(bundle: dict[str, Any]) -> None:
    promise = _entry(bundle)["inclusionPromise"]
    promise["signedEntryTimestamp"] = _flipped(promise["signedEntryTimestamp"])


def _other_proof(bundle: dict[str, Any]) -> None:
    proof = _entry(bundle)["inclusionProof"]
    proof["hashes"][0] = _flipped(proof["hashes"][0])


def _other_checkpoint(bundle: dict[str, Any]) -> None:
    checkpoint = _entry(bundle)["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace("\n3\n", "\n4\n")


def _no_promise(bundle: dict[str, Any]) -> None:
    del _entry(bundle)["inclusionPromise"]


def _no_proof(bundle: dict[str, Any]) -> None:
    del _entry(bundle)["inclusionProof"]


def _no_entry(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def _no_certificate(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["certificate"]


def _new_version(bundle: dict[str, Any]) -> None:
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json"


CHANGES: list[Callable[[dict[str, Any]], None]] = [
    _other_payload,
    _other_signature,
    _other_body,
    _other_time,
    _other_promise,
    _other_proof,
    _other_checkpoint,
    _no_promise,
    _no_proof,
    _no_entry,
    _no_certificate,
    _new_version,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_bundle_that_was_changed(place: SigstoreSite, change: Callable[[dict[str, Any]], None]) -> None:
    bundle = place.bundle(place.signer(), statement(DIGEST))
    check(place, bundle)
    changed = copy.deepcopy(bundle)
    change(changed)
    with pytest.raises(KeylessError, match=r"the bundle is not believed: ."):
        check(place, changed)


def test_the_entry_of_another_signature(place: SigstoreSite) -> None:
    """A log entry that is good in itself proves nothing about someone else's signature."""
    mine, yours = (place.bundle(place.signer(), statement(digest)) for digest in (DIGEST, OTHER))
    mine["verificationMaterial"]["tlogEntries"] = yours["verificationMaterial"]["tlogEntries"]
    with pytest.raises(KeylessError, match="log entry"):
        check(place, mine)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"mediaType":1}'])
def test_rubbish(place: SigstoreSite, data: bytes) -> None:
    with pytest.raises(KeylessError, match="not believed"):
        check(place, data)
    good = place.bundle(place.signer(), statement(DIGEST))
    with pytest.raises(KeylessError, match="not believed"):
        check(place, good, root=data or b" ")


# ── simple signing ───────────────────────────────────────────────────────────────────────────────────────────

PAYLOAD = cosign.simple_payload("registry.example/app", DIGEST)


def test_a_signature_of_cosign_2(place: SigstoreSite) -> None:
    check_simple(place, PAYLOAD, place.simple(place.signer(), PAYLOAD))


def test_simple_signatures_by_others(place: SigstoreSite) -> None:
    for signer in (place.signer("mallory@org.example"), place.signer(log=Log()), SigstoreSite().signer()):
        with pytest.raises(KeylessError, match="the signature is not believed"):
            check_simple(place, PAYLOAD, place.simple(signer, PAYLOAD))
    with pytest.raises(KeylessError, match="does not match"):
        check_simple(place, PAYLOAD, place.simple(place.signer(), PAYLOAD), "https://other.example")
    with pytest.raises(KeylessError, match="not believed"):
        check_simple(place, PAYLOAD, place.simple(place.signer(), PAYLOAD, at=SIGNED + timedelta(minutes=6)))


def test_a_simple_signature_of_something_else(place: SigstoreSite) -> None:
    other = cosign.simple_payload("registry.example/app", OTHER)
    with pytest.raises(KeylessError, match="one of something else"):
        check_simple(place, other, place.simple(place.signer(), other))
    with pytest.raises(KeylessError, match="not believed"):
        check_simple(place, PAYLOAD, place.simple(place.signer(), other))


def test_a_simple_signature_that_was_changed(place: SigstoreSite) -> None:
    good = place.simple(place.signer(), PAYLOAD)
    logged = json.loads(good[sigstore.LOG_ENTRY])
    changes: list[dict[str, str]] = [
        {cosign.ANNOTATION: _flipped(good[cosign.ANNOTATION])},
        {sigstore.CERTIFICATE: place.signer().pem.decode()},
        {sigstore.CERTIFICATE: "no certificate"},
        {sigstore.LOG_ENTRY: "{"},
        {sigstore.LOG_ENTRY: json.dumps({**logged, "SignedEntryTimestamp": _flipped(logged["SignedEntryTimestamp"])})},
        {sigstore.LOG_ENTRY: json.dumps({**logged, "SignedEntryTimestamp": ""})},
    ]
    for key, value in (("integratedTime", 0), ("integratedTime", 1), ("logIndex", 2), ("logID", "00" * 32)):
        entry = {**logged, "Payload": {**logged["Payload"], key: value}}
        changes.append({sigstore.LOG_ENTRY: json.dumps(entry)})
    for change in changes:
        with pytest.raises(KeylessError, match=r"the signature is not believed: ."):
            check_simple(place, PAYLOAD, {**good, **change})
    for name in (cosign.ANNOTATION, sigstore.CERTIFICATE, sigstore.LOG_ENTRY):
        with pytest.raises(KeylessError, match="not believed"):
            check_simple(place, PAYLOAD, {key: value for key, value in good.items() if key != name})


def test_without_the_library_nothing_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    calls: list[Callable[[], None]] = [
        sigstore.require,
        lambda: sigstore.verify(b"{}", DIGEST, IDENTITY, ISSUER, b"{}"),
        lambda: sigstore.verify_simple(PAYLOAD, {}, DIGEST, IDENTITY, ISSUER, b"{}"),
    ]
    for call in calls:
        with pytest.raises(KeylessError, match=r"pip install 'rundlet\[sigstore\]'"):
            call()
