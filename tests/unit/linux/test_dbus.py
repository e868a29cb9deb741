"""D-Bus by hand: values as the specification writes them."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.linux.dbus import Variant, marshal, split, unmarshal


@pytest.mark.parametrize(
    ("signature", "values", "data"),
    [
        ("s", ["foo"], b"\x03\0\0\0foo\0"),
        ("yu", [1, 2], b"\x01\0\0\0\x02\0\0\0"),
        ("ag", [["u"]], b"\x03\0\0\0\x01u\0"),
        ("ay", [b"\x05\x06"], b"\x02\0\0\0\x05\x06"),
        ("at", [[5]], b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),
        ("at", [[]], b"\0\0\0\0\0\0\0\0"),
        ("v", [Variant("b", True)], b"\x01b\0\0\x01\0\0\0"),
        ("(yn)", [(1, -2)], b"\x01\0\xfe\xff"),
        ("a(sv)", [[("A", Variant("t", 7))]], b"\x18\0\0\0\0\0\0\0\x01\0\0\0A\0\x01t\0\0\0\0\0\0\0\0\x07" + bytes(7)),
    ],
)
def test_values(signature: str, values: list[Any], data: bytes) -> None:
    assert marshal(signature, values) == data
    assert list(unmarshal(signature, data)) == values


def test_the_other_order() -> None:
    assert unmarshal("us", b"\0\0\0\x02\0\0\0\x01a\0", ">") == (2, "a")


def test_types_of_a_signature() -> None:
    assert split("ssa(sv)a(sa(sv))a{sv}(y(ii))") == ["s", "s", "a(sv)", "a(sa(sv))", "a{sv}", "(y(ii))"]


@pytest.mark.parametrize("signature", ["a", "(", "(s", "z", "a{sv", "s)"])
def test_what_is_no_signature(signature: str) -> None:
    with pytest.raises(ValueError, match="invalid D-Bus signature"):
        split(signature)


@pytest.mark.parametrize(
    ("signature", "data"),
    [("s", b"\x09\0\0\0foo\0"), ("u", b"\0\0"), ("v", b"\x02uu\0" + bytes(8)), ("at", b"\x10\0\0\0" + bytes(12))],
)
def test_what_is_cut_off(signature: str, data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        unmarshal(signature, data)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)


@given(st.lists(st.tuples(_TEXTS, st.integers(0, 2**64 - 1), st.binary(max_size=9))), st.booleans(), st.lists(_TEXTS))
def test_what_was_written_is_read(rows: list[tuple[str, int, bytes]], flag: bool, texts: list[str]) -> None:
    values = (7, rows, Variant("b", flag), Variant("as", texts))
    assert unmarshal("ya(stay)vv", marshal("ya(stay)vv", values)) == values
