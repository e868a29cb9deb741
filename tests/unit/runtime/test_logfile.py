"""Docker's json-file format: what is written, how it is cut, how it is read again."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.runtime import logfile
from rundlet.runtime.logfile import PARTIAL, Encoder, LogWriter, escape, timestamp
from rundlet.runtime.logreader import Entry, LogReader, parse

NOW = b"2026-01-02T03:04:05.000000006Z"


def entries(data: bytes) -> list[tuple[str, str, str]]:
    return [tuple(json.loads(line).values()) for line in data.splitlines()]  # type: ignore[misc]


def everything(path: str, tail: int | None = None) -> list[str]:
    reader = LogReader(path, tail)
    found: list[str] = []
    while batch := reader.read():
        found += [entry.log for entry in batch]
    reader.close()
    return found


def slow_escape(text: bytes) -> bytes:
    """The rules, byte by byte, as Go's encoder applies them."""
    out = bytearray()
    position = 0
    while position < len(text):
        byte = text[position]
        if byte < 0x80:
            position += 1
            if byte in b'\\"':
                out += b"\\" + bytes((byte,))
            elif byte == 0x0D:
                out += b"\\r"
            elif byte == 0x0A:
                out.append(byte)
            elif byte < 0x20 or byte in b"<>&":
                out += f"\\u{byte:04x}".encode()
            else:
                out.append(byte)
            continue
        for size in (2, 3, 4):
            piece = text[position : position + size]
            try:
                character = piece.decode()
            except UnicodeDecodeError:
                continue
            out += f"\\u{ord(character):04x}".encode() if character in "\u2028\u2029" else piece
            position += len(piece)
            break
        else:
            out += b"\\ufffd"
            position += 1
    return bytes(out)


def test_time_as_go_prints_it() -> None:
    assert timestamp(1_767_323_045_000_000_006) == b"2026-01-02T03:04:05.000000006Z"
    assert timestamp(1_767_323_045_120_000_000) == b"2026-01-02T03:04:05.12Z"
    assert timestamp(1_767_323_045_000_000_000) == b"2026-01-02T03:04:05Z"


def test_one_line() -> None:
    assert Encoder("stdout").encode(b'hi <b>&\t"q"\\\r\n', NOW) == (
        b'{"log":"hi \\u003cb\\u003e\\u0026\\u0009\\"q\\"\\\\\\r\\n","stream":"stdout","time":"' + NOW + b'"}\n'
    )


def test_invalid_utf8_is_replaced_byte_by_byte() -> None:
    assert escape(b"a\xffb\xe2\x82c\xed\xa0\x80\xc3\xa9") == b"a\\ufffdb\\ufffd\\ufffdc\\ufffd\\ufffd\\ufffd\xc3\xa9"
    assert escape("x\u2028y\u2029z\ufffd".encode()) == b"x\\u2028y\\u2029z\xef\xbf\xbd"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_escape_follows_the_rules(text: bytes) -> None:
    assert escape(text) == slow_escape(text)
    json.loads(b'"' + escape(text).replace(b"\n", b"\\n") + b'"')


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\n", b"a\n", b"x" * PARTIAL, b"y" * 20000]), max_size=12))
def test_pieces_add_up(chunks: list[bytes]) -> None:
    encoder = Encoder("stderr")
    data = b"".join(encoder.encode(chunk, NOW) for chunk in chunks) + encoder.finish(NOW)
    assert all(entry[1:] == ("stderr", NOW.decode()) for entry in entries(data))
    whole = b"".join(chunks)
    if whole.isascii():
        assert "".join(entry[0] for entry in entries(data)).encode() == whole
    assert all(len(entry[0]) <= PARTIAL + 1 for entry in entries(data) if entry[0].isascii())


@pytest.mark.parametrize("step", [1000, PARTIAL, 65536])
def test_long_lines_are_cut_as_docker_cuts_them(step: int) -> None:
    text = b"x" * 40_000 + b"\nshort\n" + b"y" * PARTIAL + b"\nno newline"
    encoder = Encoder("stdout")
    times = iter(range(10**6))
    data = b""
    for start in range(0, len(text), step):
        data += encoder.encode(text[start : start + step], b"%09d" % next(times))
    data += encoder.finish(b"%09d" % next(times))
    found = entries(data)
    assert [len(entry[0]) for entry in found] == [PARTIAL, PARTIAL, 40_001 - 2 * PARTIAL, 6, PARTIAL, 1, 10]
    assert [entry[0][-1] == "\n" for entry in found] == [False, False, True, True, False, True, False]
    # The pieces of one line have one time, which is that of the first.
    assert len({entry[2] for entry in found[:3]}) == 1
    assert found[4][2] == found[5][2]


def test_rotation(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = LogWriter(path, max_size=1000, max_file=3)
    for number in range(100):
        writer.write("stdout", b"line %d\n" % number)
    writer.close()
    names = sorted(name for name in os.listdir(tmp_path))
    assert names == ["log", "log.1", "log.2"]
    # A file is full when it has reached its size; the entry that does so is the last in it.
    for name in ("log.1", "log.2"):
        lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
        assert sum(map(len, lines)) >= 1000 > sum(map(len, lines[:-1]))
    kept = everything(path)
    assert kept == [f"line {number}\n" for number in range(100 - len(kept), 100)]


def test_a_rotation_that_fails_empties_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, where a name finds no room: what is there stays, what comes is dropped until there is room."""
    path = str(tmp_path / "log")
    writer = LogWriter(path, max_size=1000, max_file=3)
    real = os.rename

    def full(old: str, new: str) -> None:
        raise OSError(28, "No space left on device", old, None, new)

    number = 0
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        while writer.dropped < 3:
            writer.write("stdout", b"line %d\n" % number)
            number += 1
    assert os.rename is real
    writer.write("stdout", b"line %d\n" % number)
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    assert everything(path) == [f"line {each}\n" for each in (*range(number - 3), number)]


def test_rotation_inside_one_chunk(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    one = LogWriter(path, max_size=1000, max_file=100)
    one.write("stdout", b"".join(b"line %d\n" % number for number in range(200)))
    assert everything(path) == [f"line {number}\n" for number in range(200)]


def test_one_file_only_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = LogWriter(path, max_size=500, max_file=1)
    for number in range(50):
        writer.write("stdout", b"line %d\n" % number)
    assert os.listdir(tmp_path) == ["log"]
    assert os.path.getsize(path) < 700
    os.unlink(path)
    for number in range(50):
        writer.write("stdout", b"line %d\n" % number)
    assert everything(path)[-1] == "line 49\n"
    writer.close()


def test_full_disk_drops_whole_entries_and_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "log")
    writer = LogWriter(path)
    writer.write("stdout", b"first\n")
    real, room = os.write, [100]

    def write(fd: int, data: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space")
        done = real(fd, bytes(data)[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(logfile.os, "write", write)
    writer.write("stdout", b"second\nthird\nfourth\n")
    assert writer.dropped == 2
    monkeypatch.undo()
    writer.write("stdout", b"fifth\n")
    assert [entry[0] for entry in entries(Path(path).read_bytes())] == ["first\n", "second\n", "fifth\n"]


@pytest.mark.parametrize("tail", [0, 1, 3, 10, 99, 1000, None])
def test_tail_over_rotated_files(tmp_path: Path, tail: int | None) -> None:
    path = str(tmp_path / "log")
    writer = LogWriter(path, max_size=800, max_file=50)
    for number in range(100):
        writer.write("stdout", b"line %d\n" % number)
    found = everything(path, tail)
    count = 100 if tail is None else min(tail, 100)
    assert found == [f"line {number}\n" for number in range(100 - count, 100)]


def test_follow_through_rotations(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    reader = LogReader(path, 0)
    assert reader.read() == []
    writer = LogWriter(path, max_size=300, max_file=40)
    found: list[str] = []
    for number in range(60):
        writer.write("stdout", b"line %d\n" % number)
        if number % 7 == 0:
            while batch := reader.read():
                found += [entry.log for entry in batch]
    while batch := reader.read():
        found += [entry.log for entry in batch]
    reader.close()
    assert found == [f"line {number}\n" for number in range(60)]


def test_torn_lines_are_skipped(tmp_path: Path) -> None:
    assert parse(b'{"log":"x') is None
    assert parse(b"[]") is None
    assert parse(b'{"log":"x\\n","stream":"stdout","time":"t"}') == Entry("x\n", "stdout", "t")
