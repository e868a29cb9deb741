"""The protobuf codec: what is written is read again, and no bytes do worse than a MessageError."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.api.buildkit import SolveRequest, StatusResponse
from rundlet.api.buildkit_session import FileStat, Packet
from rundlet.api.protobuf import Message, MessageError, Timestamp, decode, encode, varint

WORDS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
STATS = st.builds(
    FileStat,
    path=st.text(max_size=9),
    mode=st.integers(0, 2**32 - 1),
    size=INTEGERS,
    modified=INTEGERS,
    xattrs=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3),
)
PACKETS = st.builds(
    Packet, type=st.integers(0, 4), stat=st.none() | STATS, id=st.integers(0, 2**32 - 1), data=st.binary(max_size=9)
)


@given(PACKETS)
def test_what_is_written_is_read_again(packet: Packet) -> None:
    assert decode(Packet, encode(packet)) == packet


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_an_error(data: bytes) -> None:
    for kind in (Packet, SolveRequest, StatusResponse):
        try:
            decode(kind, data)
        except MessageError:
            pass


@given(PACKETS, st.data())
def test_half_a_message_is_an_error_or_a_smaller_one(packet: Packet, data: st.DataObject) -> None:
    whole = encode(packet)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        assert len(encode(decode(Packet, cut))) <= len(whole)
    except MessageError:
        pass


class Sample(Message, frozen=True):
    """Every kind that the protocol has."""

    number: Annotated[int, 1] = 0
    numbers: Annotated[tuple[int, ...], 2] = ()
    word: Annotated[str, 3] = ""
    inner: Annotated[Timestamp | None, 4] = None
    flag: Annotated[bool, 1000] = False


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Sample(150), "089601"),
        (Sample(-1), "08ffffffffffffffffff01"),
        (Sample(numbers=(1, 300)), "100110ac02"),
        (Sample(word="é"), "1a02c3a9"),
        (Sample(inner=Timestamp(1, 2)), "220408011002"),
        (Sample(inner=Timestamp()), "2200"),
        (Sample(flag=True), "c03e01"),
        (Sample(), ""),
    ],
)
def test_bytes_as_the_specification_has_them(message: Sample, data: str) -> None:
    assert encode(message).hex() == data
    assert decode(Sample, bytes.fromhex(data)) == message


def test_packed_numbers_and_what_is_unknown() -> None:
    packed = bytes.fromhex("1203 01ac02".replace(" ", ""))
    unknown = bytes.fromhex("5001") + bytes.fromhex("5d00000000") + bytes.fromhex("590000000000000000") + b"\x62\x01x"
    assert decode(Sample, unknown + packed) == Sample(numbers=(1, 300))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("08", "in the middle of a number"),
        ("1a05ab", "in the middle of a field"),
        ("08" + "ff" * 10 + "01", "too long"),
        ("0b", "unknown wire type"),
        ("00", "has no number"),
        ("0a00", "wrong wire type"),
        ("1801", "wrong wire type"),
        ("1a01ff", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(data: str, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        decode(Sample, bytes.fromhex(data))


class Nested(Message, frozen=True):
    """One inside another."""

    one: "Annotated[Nested | None, 1]" = None


def test_nesting_has_an_end() -> None:
    data = b""
    for _ in range(100):
        data = b"\x0a" + varint(len(data)) + data
    with pytest.raises(MessageError, match="nested too deeply"):
        decode(Nested, data)
