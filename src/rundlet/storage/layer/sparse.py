"""Files with holes in a tar: where their data lie, in the four ways GNU tar has written it. Standard library only.

``S`` members of the old GNU format have the map in their header and in blocks behind it; pax 0.0 and 0.1 have it in pax
records; pax 1.0 puts it before the data. Go's ``archive/tar`` reads the same.

See: GNU tar manual, "Storing Sparse Files".
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

from rundlet.storage.layer import fields
from rundlet.storage.layer.fields import InvalidHeaderError, TarError

OLD: Final = b"S"
"""The old GNU format's type of member."""
PREFIX: Final = b"GNU.sparse."
MAP_LIMIT: Final = 1 << 20
"""Bytes of a map, as in Go."""
_BLOCK: Final = 512
_PIECE: Final = 24  # bytes of one offset and one length in a block
_ZEROS: Final = bytes(1 << 20)

Piece = tuple[int, int]
"""Offset and length of a stretch of data."""
Take = Callable[[], bytes]
"""Gives the next block. Raises TarError."""


class Sparse:
    """A sparse file's contents: stretches of data in a file of ``size`` bytes."""

    __slots__ = ("_index", "_position", "pieces", "size")

    def __init__(self, pieces: Sequence[Piece], size: int) -> None:
        """Raises InvalidHeaderError where stretches overlap, aren't in order, or lie outside."""
        end = 0
        for offset, length in pieces:
            if offset < end or offset + length > size:
                raise InvalidHeaderError("sparse map")
            end = offset + length
        self.pieces = pieces
        self.size = size
        self._position = 0
        self._index = 0

    @property
    def stored(self) -> int:
        """Bytes of data in the archive."""
        return sum(length for _offset, length in self.pieces)

    def copy(self, fd: int, copy_to: Callable[[int, int], None]) -> None:
        """Write the data to their places in the empty file ``fd``; ``copy_to(fd, count)`` writes the next bytes."""
        for offset, length in self.pieces:
            os.lseek(fd, offset, os.SEEK_SET)
            copy_to(fd, length)
        os.ftruncate(fd, self.size)

    def read(self, count: int, some: Callable[[int], bytes]) -> bytes:
        """The file's next bytes, at most ``count``, holes as zeros; ``some(count)`` gives the next of the data."""
        while self._index < len(self.pieces) and self._position == sum(self.pieces[self._index]):
            self._index += 1
        offset, length = self.pieces[self._index] if self._index < len(self.pieces) else (self.size, 0)
        if self._position < offset:
            data = _ZEROS[: min(count, offset - self._position)]
        else:
            data = some(min(count, offset + length - self._position))
        self._position += len(data)
        return data


def old_map(header: bytes, take: Take) -> Sparse:
    """The map of an ``S`` member. Raises TarError."""
    size = fields.number(header[483:495], "sparse size")
    pieces = _block_pieces(header[386:482])
    more = header[482]
    read = 0
    while more:
        block = take()
        read += _BLOCK
        if read > MAP_LIMIT:
            raise TarError("archive/tar: sparse map too long")
        pieces += _block_pieces(block[:504])
        more = block[504]
    return Sparse(pieces, size)


def _block_pieces(block: bytes) -> list[Piece]:
    pieces = []
    for start in range(0, len(block), _PIECE):
        if not block[start]:
            break
        middle = start + _PIECE // 2
        offset = fields.number(block[start:middle], "sparse map")
        pieces.append((offset, fields.number(block[middle : start + _PIECE], "sparse map")))
    return pieces


class PaxSparse:
    """The ``GNU.sparse.`` records of one pax header, taken in their order: that of 0.0 repeats two keys."""

    __slots__ = ("_numbers", "_records")

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._numbers: list[bytes] = []

    def add(self, key: bytes, value: bytes) -> None:
        """Raises InvalidHeaderError."""
        name = key[len(PREFIX) :]
        if name in (b"offset", b"numbytes"):
            if (name == b"numbytes") != len(self._numbers) % 2 or b"," in value:
                raise InvalidHeaderError("sparse map")
            self._numbers.append(value)
        else:
            self._records[name] = value

    @property
    def name(self) -> bytes:
        """The member's real name; empty: that of its header."""
        return self._records.get(b"name", b"")

    def resolve(self, take: Take) -> tuple[Sparse | None, int]:
        """The map, and how many blocks of it came before the data; None: an ordinary file, as Go has it for versions
        that it doesn't know. Raises TarError."""
        version = (self._records.get(b"major", b""), self._records.get(b"minor", b""))
        text = self._records.get(b"map", b"")
        if version == (b"1", b"0"):
            pieces, blocks = _leading_map(take)
            return Sparse(pieces, self._size()), blocks
        if version not in ((b"", b""), (b"0", b"0"), (b"0", b"1")) or not (text or self._numbers):
            return None, 0
        numbers = text.split(b",") if text else self._numbers
        count = fields.decimal(self._records.get(b"numblocks", b""), "sparse map")
        if len(numbers) != 2 * count:
            raise InvalidHeaderError("sparse map")
        return Sparse(_pairs([fields.decimal(number, "sparse map") for number in numbers]), self._size()), 0

    def _size(self) -> int:
        return fields.decimal(self._records.get(b"size") or self._records.get(b"realsize", b""), "sparse size")


def _leading_map(take: Take) -> tuple[list[Piece], int]:
    """Decimal numbers, one a line, the number of pairs first; the rest of the last block is padding."""
    text = b""
    wanted = 1
    lines: list[bytes] = []
    blocks = 0
    while len(lines) < wanted:
        if blocks * _BLOCK >= MAP_LIMIT:
            raise TarError("archive/tar: sparse map too long")
        *whole, text = (text + take()).split(b"\n")
        blocks += 1
        lines += whole
        if wanted == 1 and lines:
            wanted += 2 * fields.decimal(lines[0], "sparse map")
    return _pairs([fields.decimal(line, "sparse map") for line in lines[1:wanted]]), blocks


def _pairs(numbers: Sequence[int]) -> list[Piece]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))
