"""Metadata and keys that Debian's notary 0.7.0 and Docker's command line made, read by us.

The repository went through rotations of all four keys (its fifth root is the current one), has a target of two million
bytes, and a delegation ``targets/releases`` whose key is in a certificate.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rundlet.trust import canonical, keyfile
from rundlet.trust.certificates import certificate_key, names_repository
from rundlet.trust.errors import BadKeyError, ExpiredError, PassphraseError
from rundlet.trust.keys import generate
from rundlet.trust.metadata import (
    RELEASES,
    ROOT,
    TARGETS,
    TOP_LEVEL,
    Targets,
    open_envelope,
    read_root,
    read_targets,
    seal,
)
from rundlet.trust.trusted_set import TrustedSet
from rundlet.trust.updater import update

GOLDENS = Path(__file__).parent / "goldens"
GUN = "localhost:5443/app"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _fetch(cache: dict[str, bytes], now: datetime = NOW) -> TrustedSet:
    exchange = update(GUN, "localhost:5443", cache, now)
    request = next(exchange)
    while True:
        name, _, digest = request.name.partition(".")
        path = GOLDENS / "notary" / (f"{name}.json" if len(digest) == 64 else f"{request.name}.json")
        try:
            request = exchange.send(path.read_bytes() if path.exists() else None)
        except StopIteration as end:
            trusted: TrustedSet = end.value
            return trusted


@pytest.mark.parametrize("known", [0, 1, 2, 3, 4, 5])
def test_the_whole_repository_from_any_root_that_was_known(known: int) -> None:
    """The roots were made by ``notary key rotate`` for snapshot (-r), targets, timestamp (-r) and root."""
    cache = {ROOT: (GOLDENS / "notary" / f"{known}.root.json").read_bytes()} if known else {}
    trusted = _fetch(cache)
    assert trusted.root.version == 5
    assert {name: (item.role, item.meta.length) for name, item in trusted.released().items()} == {
        "big": ("targets", 2000000),
        "small": ("targets", 3),
        "v2": ("targets/releases", 1234),
    }
    digest = "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"
    assert trusted.find("small").meta.hashes["sha256"].hex() == digest
    assert not trusted.invalid


def test_its_timestamp_runs_out() -> None:
    with pytest.raises(ExpiredError):
        _fetch({}, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("path", sorted((GOLDENS / "notary").rglob("*.json")), ids=lambda path: path.stem)
def test_the_canonical_form_is_what_was_written(path: Path) -> None:
    """Notary writes the signed part canonically, so encoding what we read must give the same bytes."""
    data = path.read_bytes()
    role = path.stem.partition(".")[2] or path.stem
    envelope = open_envelope(role if role in TOP_LEVEL else "targets/releases", data)
    assert envelope.payload in data


def test_values_survive_reading_and_writing() -> None:
    root = open_envelope(ROOT, (GOLDENS / "notary" / "root.json").read_bytes())
    assert _without_expiry(read_root(root).encode()) == _without_expiry(root.signed)
    for role, name in (("targets", "targets"), ("targets/releases", "targets/releases")):
        targets = open_envelope(role, (GOLDENS / "notary" / f"{name}.json").read_bytes())
        assert _without_expiry(read_targets(targets).encode()) == _without_expiry(targets.signed)


def _without_expiry(signed: object) -> dict[str, object]:
    """Times are kept to the microsecond; Go has nanoseconds."""
    return {key: value for key, value in dict(signed).items() if key != "expires"}  # type: ignore[call-overload]


def test_sealing_keeps_the_signed_text() -> None:
    envelope = open_envelope(ROOT, (GOLDENS / "notary" / "root.json").read_bytes())
    again = open_envelope(ROOT, seal(envelope.signed, envelope.signatures))
    assert (again.payload, again.signatures) == (envelope.payload, envelope.signatures)


@pytest.mark.parametrize("role", [ROOT, TARGETS, RELEASES])
def test_what_notary_wrote_is_written_so_again(role: str) -> None:
    """Byte by byte, for a client hashes what it would write itself when it keeps the snapshot's key."""
    data = (GOLDENS / "notary" / f"{role}.json").read_bytes()
    envelope = open_envelope(role, data)
    assert seal(envelope.signed, envelope.signatures) == data


@pytest.mark.parametrize(
    ("microsecond", "text"), [(0, "00Z"), (858300, "00.8583Z"), (100000, "00.1Z"), (123456, "00.123456Z")]
)
def test_times_are_written_as_go_does(microsecond: int, text: str) -> None:
    expires = datetime(2026, 11, 23, 10, 20, 0, microsecond, tzinfo=UTC)
    assert Targets(1, expires).encode()["expires"] == f"2026-11-23T10:20:{text}"


# ── canonical JSON ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, False, None]}, '{"a":[true,false,null],"b":1}'),
        ({"é": "ü", "z": "<&>"}, '{"z":"<&>","é":"ü"}'),
        ('quote " back \\ tab \t', '"quote \\" back \\\\ tab \t"'),
        ("\u2028", '"\\u2028"'),
        (-5, "-5"),
    ],
)
def test_canonical_json(value: object, text: str) -> None:
    assert canonical.encode(value) == text.encode()


@pytest.mark.parametrize("text", ["1.5", "NaN", '{"a":1,"a":2}', "1e400", "9" * 30, "{", '"\\ud800"'])
def test_json_without_a_canonical_form(text: str) -> None:
    from rundlet.trust.errors import MalformedError

    with pytest.raises(MalformedError):
        canonical.encode(canonical.decode(text.encode(), "x"))


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "passphrase", "role", "gun", "key_id"),
    [
        ("docker-root", "rootpass1", "root", "", "123baa4a652f6f54955c8be34b34f0dfa52074bfd753d21a2229ecbb3ad5edb3"),
        (
            "docker-targets",
            "repopass1",
            "targets",
            "localhost:5443/team/app",
            "61f2471a8d6e67870c433c73755ce21d51b377b98ec4da0a3506b60583a27e49",
        ),
        ("legacy", "legacypass", "targets", "localhost:5443/old", ""),
    ],
)
def test_key_files_of_others(name: str, passphrase: str, role: str, gun: str, key_id: str) -> None:
    data = (GOLDENS / "keys" / f"{name}.key").read_bytes()
    key = keyfile.decode(data, passphrase)
    assert (key.role, key.gun) == (role, gun)
    assert key.id == key_id or not key_id
    method, signature = key.sign(b"x")
    assert key.public.verifies(b"x", method, signature)
    for wrong in ("", "wrong"):
        with pytest.raises(PassphraseError):
            keyfile.decode(data, wrong)


def test_a_key_file_of_ours() -> None:
    key = generate("alice", "docker.io/library/x")
    data = keyfile.encode(key, "a passphrase", 1000)
    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\ngun: docker.io/library/x\nrole: alice\n\n")
    again = keyfile.decode(data, "a passphrase")
    assert (again.id, again.role, again.gun) == (key.id, "alice", "docker.io/library/x")


@pytest.mark.parametrize("data", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_file(data: bytes) -> None:
    with pytest.raises(BadKeyError):
        keyfile.decode(data, "x")


@pytest.mark.parametrize("cut", [10, 100, 200])
def test_corrupted_key_files(cut: int) -> None:
    """Whatever is broken, the answer is one of two errors."""
    data = bytearray(keyfile.encode(generate(), "secret", 1000))
    start = data.index(b"\n") + 1
    data[start + cut] ^= 1
    with pytest.raises((BadKeyError, PassphraseError)):
        keyfile.decode(bytes(data), "secret")


def test_public_keys_as_files() -> None:
    key = generate().public
    assert keyfile.decode_public_file(keyfile.encode_public(key, "bob")) == key
    with pytest.raises(BadKeyError):
        keyfile.decode_public_file(b"x")


@pytest.mark.parametrize("length", [1, 64, 65, 250])
def test_certificates_for_names_of_any_length(length: int) -> None:
    gun = "r.example/" + "x" * length
    certificate = certificate_key(generate(), gun, NOW)
    assert names_repository(certificate, gun)
    assert not names_repository(certificate, gun + "x")
