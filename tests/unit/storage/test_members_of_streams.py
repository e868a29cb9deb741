"""Compressed streams of many members."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable

import pytest

from rundlet.storage.layer import compression
from rundlet.storage.layer.compression import Decompressor, Inflater

SIZES = (0, 1, 100, 40_000, 0, 5, 300_000, 0, 0, 70_000)


def inflated(data: bytes, chunk: int) -> bytes:
    inflater = Inflater()
    pieces = [piece for start in range(0, len(data), chunk) for piece in inflater.feed(data[start : start + chunk])]
    return b"".join((*pieces, *inflater.finish()))


@pytest.mark.parametrize("chunk", [1000, 16 << 10, 100_000, 1 << 20])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, compression.zstd.compress])
def test_members_of_all_sizes(compress: Callable[[bytes], bytes], chunk: int) -> None:
    parts = [os.urandom(size) + bytes(10 * size) for size in SIZES]
    data = b"".join(map(compress, parts))
    assert inflated(data, chunk) == b"".join(parts)
    assert inflated(data + bytes(100_000), chunk) == b"".join(parts)


def test_many_members_in_a_chunk_cost_each_its_own_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of empty ones a megabyte holds a hundred thousand; each gave the rest of it back, as a copy."""
    given = 0
    new = compression._new_member

    class Counting:
        def __init__(self, member: Decompressor) -> None:
            self._member = member

        def __getattr__(self, name: str) -> object:
            return getattr(self._member, name)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._member.decompress(data, max_length)

    monkeypatch.setattr(compression, "_new_member", lambda kind: Counting(new(kind)))
    member = gzip.compress(b"")
    assert inflated(member * 10_000, len(member) * 10_000) == b""
    assert given < 200 << 20  # it was a gigabyte
