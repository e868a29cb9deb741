"""Detach keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.server import detach
from rundlet.server.detach import DetachScanner, InvalidDetachKeysError


@pytest.mark.parametrize(
    ("keys", "sequence"),
    [("", b"\x10\x11"), ("ctrl-p,ctrl-q", b"\x10\x11"), ("a,ctrl-@,ctrl-[", b"a\x00\x1b"), ("ctrl-_,DEL", b"\x1f\x7f")],
)
def test_parse(keys: str, sequence: bytes) -> None:
    assert detach.parse(keys) == sequence


@pytest.mark.parametrize("keys", ["bogus", "ctrl-", "a,,b", "ctrl-P", "é"])
def test_bad_keys(keys: str) -> None:
    with pytest.raises(InvalidDetachKeysError) as caught:
        detach.parse(keys)
    assert str(caught.value) == f"Invalid detach keys ({keys}) provided"


def test_a_sequence_cut_in_two() -> None:
    scanner = DetachScanner(b"\x10\x11")
    assert scanner.feed(b"abc\x10") == (b"abc", False)
    assert scanner.feed(b"\x11def") == (b"", True)


def test_a_false_start_is_passed_on() -> None:
    scanner = DetachScanner(b"\x10\x11")
    assert scanner.feed(b"\x10") == (b"", False)
    assert scanner.feed(b"x") == (b"\x10x", False)
    assert scanner.feed(b"\x10") == (b"", False)
    assert scanner.flush() == b"\x10"
    assert scanner.flush() == b""


@given(st.lists(st.binary(max_size=6), max_size=12), st.binary(min_size=1, max_size=4))
def test_nothing_is_lost_and_every_sequence_is_found(pieces: list[bytes], sequence: bytes) -> None:
    scanner = DetachScanner(sequence)
    data, passed, found = b"".join(pieces), b"", False
    for piece in pieces:
        out, found = scanner.feed(piece)
        passed += out
        if found:
            break
    if sequence in data:
        assert found
        assert passed == data[: data.index(sequence)]
    else:
        assert not found
        assert passed + scanner.flush() == data
