"""A compressed stream in another compression: piece by piece, the same bytes each time."""

import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from rundlet.storage.layer.compression import Inflater

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS: Final = ("uncompressed", "gzip", "zstd")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
LEVELS: Final = {"uncompressed": 0, "gzip": 9, "zstd": 22}
"""The highest level of each."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def recompressed(chunks: Iterable[bytes], compression: str, level: int | None = None) -> Iterator[bytes]:
    """``chunks`` of any compression as one of :data:`COMPRESSIONS`; without a ``level``, at that format's usual one.

    Raises LayerError for a corrupt stream.
    """
    compressor = _compressor(compression, level)
    inflater = Inflater()
    for chunk in chunks:
        for piece in inflater.feed(chunk):
            if data := compressor.compress(piece):
                yield data
    for piece in inflater.finish():
        if data := compressor.compress(piece):
            yield data
    if data := compressor.flush():
        yield data


def _compressor(compression: str, level: int | None) -> _Compressor:
    if compression == "uncompressed":
        return _Plain()
    if compression == "gzip":
        return zlib.compressobj(_GZIP_LEVEL if level is None else level, zlib.DEFLATED, _GZIP_WINDOW)
    return zstd.ZstdCompressor(level=_ZSTD_LEVEL if level is None else level)
