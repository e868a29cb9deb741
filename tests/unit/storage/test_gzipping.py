"""Gzip by several threads: one member, the same whatever the pieces, and an end after every error."""

import hashlib
import threading
import zlib
from collections.abc import Iterator, Sequence

import pytest

from rundlet.storage.layer.aside import ALONE
from rundlet.storage.layer.gzipping import BLOCK, Gzipper

MEMBER = 31


def _text(size: int) -> bytes:
    """Lines that compress as a layer's do, and differ."""
    lines = (f"{number} {hashlib.sha256(str(number).encode()).hexdigest()}\n".encode() for number in range(size // 64))
    return b"".join(lines)[:size]


def _cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    position = turn = 0
    while position < len(data):
        yield data[position : position + sizes[turn % len(sizes)]]
        position += sizes[turn % len(sizes)]
        turn += 1


def _gzipped(pieces: Iterator[bytes]) -> bytes:
    out: list[bytes] = []
    gzipper = Gzipper(out.append)
    for piece in pieces:
        gzipper.put(piece)
    gzipper.finish()
    gzipper.close()
    return b"".join(out)


@pytest.mark.parametrize("size", [0, 1, 511, BLOCK, BLOCK + 1, ALONE, ALONE + BLOCK, ALONE + 9 * BLOCK + 77])
def test_one_member_that_anybody_inflates(size: int) -> None:
    data = _text(size)
    inflater = zlib.decompressobj(MEMBER)
    same = inflater.decompress(_gzipped(_cut(data, [256 << 10]))) == data
    assert same
    assert (inflater.eof, inflater.unused_data) == (True, b"")


def test_the_same_gzip_however_the_bytes_come() -> None:
    data = _text(ALONE + 3 * BLOCK + 5)
    made = {hashlib.sha256(_gzipped(_cut(data, sizes))).hexdigest()
            for sizes in ([len(data)], [256 << 10], [100_003], [1, 70_000, 3 * BLOCK])}  # fmt: skip
    assert len(made) == 1


def test_much_is_compressed_by_other_threads_and_little_by_none() -> None:
    before = threading.active_count()
    gzipper = Gzipper(lambda _data: None)
    block = _text(BLOCK)
    for _ in range(ALONE // BLOCK):
        gzipper.put(block)
    assert threading.active_count() == before
    gzipper.put(block * 8)
    assert before < threading.active_count() <= before + 2
    gzipper.finish()
    assert threading.active_count() == before


def test_a_write_that_fails_is_raised_and_leaves_no_thread() -> None:
    before = threading.active_count()
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > BLOCK:
            raise OSError("no space left on device")

    gzipper = Gzipper(write)
    with pytest.raises(OSError, match="no space left"):
        for _ in range(100):
            gzipper.put(_text(BLOCK))
    gzipper.close()
    gzipper.close()
    assert threading.active_count() == before
