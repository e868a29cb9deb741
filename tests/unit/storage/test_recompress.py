"""Streams in another compression."""

import gzip
import lzma
import zlib

import pytest

from rundlet.storage.errors import LayerError
from rundlet.storage.layer.compression import Inflater
from rundlet.storage.layer.recompress import COMPRESSIONS, recompressed

PLAIN = bytes(range(256)) * 5000


def inflated(data: bytes) -> tuple[bytes, str]:
    inflater = Inflater()
    return b"".join((*inflater.feed(data), *inflater.finish())), inflater.compression


@pytest.mark.parametrize("source", [PLAIN, gzip.compress(PLAIN), lzma.compress(PLAIN)])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_bytes_come_out_and_always_in_the_same_way(source: bytes, compression: str) -> None:
    pieces = [source[at : at + 1000] for at in range(0, len(source), 1000)]
    data = b"".join(recompressed(pieces, compression))
    assert inflated(data) == (PLAIN, {"uncompressed": "none"}.get(compression, compression))
    assert data == b"".join(recompressed([source], compression))


def test_levels() -> None:
    assert b"".join(recompressed([PLAIN], "gzip", 9)) == zlib.compress(PLAIN, 9, 31)
    assert len(b"".join(recompressed([PLAIN], "zstd", 19))) <= len(b"".join(recompressed([PLAIN], "zstd", 1)))


def test_nothing_and_what_is_broken() -> None:
    assert list(recompressed([], "uncompressed")) == []
    with pytest.raises(LayerError):
        list(recompressed([gzip.compress(PLAIN)[:-20]], "zstd"))
