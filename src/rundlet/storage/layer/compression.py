"""Compressed streams to plain bytes, in bounded pieces, whatever the stream holds.

The format is read off the first bytes: media types lie. Several members one after another (as pigz and estargz write
them) are one stream.
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Iterator
from typing import Final, Protocol, cast

from isal import igzip_lib

from rundlet.storage.errors import LayerError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE: Final = 256 << 10
"""Bytes that come out at once at most: a bomb costs time and disk, never memory."""
_SLICE: Final = 16 << 10
"""Bytes that a further member of a chunk gets at once: each gives back what it leaves, as a copy."""
_XZ_MEMORY: Final = 256 << 20
_ZSTD_WINDOW_LOG: Final = 27
_MAGIC: Final = (
    ("gzip", b"\x1f\x8b"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\0"),
    *(
        ("zstd", bytes((number, 0x2A, 0x4D, 0x18))) for number in range(0x50, 0x60)
    ),  # frames to be skipped, as pzstd has
)
_REFUSED: Final = (
    ("lz4", b"\x04\x22\x4d\x18"),
    ("lz4", b"\x02\x21\x4c\x18"),
    ("compress", b"\x1f\x9d"),
    ("zip", b"PK\x03\x04"),
)
_LONGEST: Final = 6
_ERRORS: Final = (
    zlib.error,
    cast(type[Exception], igzip_lib.IsalError),
    lzma.LZMAError,
    zstd.ZstdError,
    OSError,
    EOFError,
    ValueError,
)


class Decompressor(Protocol):
    """One member, as bz2, lzma, zstd and igzip decompress it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def detect(start: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz``, or ``none`` for anything else. ``start``: six bytes, or all there are."""
    for name, magic in _MAGIC:
        if start.startswith(magic):
            return name
    return "none"


def _known(start: bytes) -> str:
    """As :func:`detect`. Raises LayerError for what is known and can't be read, which is never a tar."""
    for name, magic in _REFUSED:
        if start.startswith(magic):
            raise LayerError(f"unsupported compression: {name} (gzip, zstd, bzip2 and xz can be read)")
    return detect(start)


class Inflater:
    """Takes a stream in pieces of any size, gives the plain bytes in pieces of at most :data:`PIECE`."""

    def __init__(self) -> None:
        self.compression = ""
        """Known after the first bytes."""
        self._start = b""
        self._member: Decompressor | None = None
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes that ``data`` adds. Raises LayerError for a corrupt stream."""
        if not self.compression:
            self._start += data
            if len(self._start) < _LONGEST:
                return
            data, self._start = self._start, b""
            self.compression = _known(data)
        yield from self._inflate(data)

    def finish(self) -> Iterator[bytes]:
        """What is left at the end of the stream. Raises LayerError when the end is missing."""
        if not self.compression:
            self.compression = _known(self._start)
            yield from self._inflate(self._start)
        if self._member is not None:
            raise LayerError("unexpected EOF")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        if self.compression == "none":
            for position in range(0, len(data), PIECE):
                yield data[position : position + PIECE]
            return
        rest = memoryview(b"")
        while True:
            if not data and rest and (self._member is None or self._member.needs_input):
                data, rest = bytes(rest[:_SLICE]), rest[_SLICE:]
            if self._member is None:
                if self._members:
                    data = data.lstrip(b"\0")  # padding after the last member
                if not data:
                    if rest:
                        continue
                    return
                self._member = _new_member(self.compression)
                self._members += 1
            try:
                piece = self._member.decompress(data, PIECE)
            except _ERRORS as exc:
                raise LayerError(f"{self.compression}: invalid data: {exc}") from exc
            if piece:
                yield piece
            data = b""
            if self._member.eof:
                data = self._member.unused_data
                self._member = None
                if not rest and len(data) > _SLICE:
                    data, rest = data[:_SLICE], memoryview(data)[_SLICE:]
            elif self._member.needs_input and not rest:
                return


def _new_member(compression: str) -> Decompressor:
    if compression == "gzip":
        return cast(Decompressor, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))
    if compression == "zstd":
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return cast(Decompressor, zstd.ZstdDecompressor(options=options))
    if compression == "xz":
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return bz2.BZ2Decompressor()
