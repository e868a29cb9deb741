"""Whatever a server sends, a key file holds or a policy says: a TrustError, or a value. Nothing else, and no hang."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rundlet.trust import cosign, keyfile, notation, policy
from rundlet.trust.errors import TrustError
from rundlet.trust.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    open_envelope,
    read_listing,
    read_root,
    read_targets,
)
from rundlet.trust.trusted_set import verify_root, verify_signatures

GOLDENS = Path(__file__).parents[2] / "unit/trust/goldens"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
FILES = {role: (GOLDENS / "notary" / f"{role}.json").read_bytes() for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
KEYS = [path.read_bytes() for path in sorted((GOLDENS / "keys").iterdir())]
READERS = {ROOT: read_root, TARGETS: read_targets, SNAPSHOT: read_listing, TIMESTAMP: read_listing}

NOTHING = notation.Demands([], [], [], (), policy.actions_of({"level": "audit"}))

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    if isinstance(value, dict):
        for key in value:
            found += _paths(value[key], (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*at, index))
    return found


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[path[0]] = _with(document[path[0]], path[1:], value)
    return changed


def _read(role: str, data: bytes) -> None:
    try:
        envelope = open_envelope(role, data)
        READERS[role](envelope)
        verify_signatures(envelope, read_root(open_envelope(ROOT, FILES[ROOT])).keys_of(role), 1)
        if role == ROOT:
            verify_root("localhost:5443/app", envelope, None, NOW)
    except TrustError:
        pass


@pytest.mark.parametrize("role", sorted(FILES))
@quick
@given(data=st.data(), value=values)
def test_metadata_with_one_value_changed(role: str, data: st.DataObject, value: Any) -> None:
    document = json.loads(FILES[role])
    path = data.draw(st.sampled_from(_paths(document)))
    _read(role, json.dumps(_with(document, path, value)).encode())


@pytest.mark.parametrize("role", sorted(FILES))
@quick
@given(position=st.integers(0, 3000), byte=st.integers(0, 255), cut=st.integers(0, 3000))
def test_metadata_with_one_byte_changed(role: str, position: int, byte: int, cut: int) -> None:
    data = bytearray(FILES[role])
    data[position % len(data)] = byte
    _read(role, bytes(data))
    _read(role, bytes(data[: cut % len(data)]))


@quick
@given(which=st.integers(0, 2), position=st.integers(0, 600), byte=st.integers(0, 255), passphrase=st.text(max_size=10))
def test_key_files(which: int, position: int, byte: int, passphrase: str) -> None:
    data = bytearray(KEYS[which])
    data[position % len(data)] = byte
    for read in (lambda: keyfile.decode(bytes(data), passphrase), lambda: keyfile.decode_public_file(bytes(data))):
        try:
            read()
        except TrustError:
            pass


@quick
@given(document=values)
def test_policies(document: Any) -> None:
    for whole in (document, {"default": document}, {"rules": {"a.example": document}}, {"rules": document}):
        try:
            policy.parse("/p", json.dumps(whole).encode(), policy.read_file)
        except TrustError:
            pass


@quick
@given(data=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_signatures(data: bytes) -> None:
    for kind in (notation.JWS, notation.COSE):
        try:
            next(notation.verify(data, kind, "sha256:" + "0" * 64, NOTHING, NOW), None)
        except TrustError:
            pass
    assert not cosign.bundle_is_good(data, "sha256:" + "0" * 64, [])
