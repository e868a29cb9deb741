"""Reading a tar from an engine: what POSIX, Go and GNU write. See :mod:`rundlet.cli.tarheader` for why not tarfile."""

from __future__ import annotations

from rundlet.cli import tarheader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK = 1 << 18
_LIMIT = 1 << 20  # bytes of one member's extended header
_LONG_NAME, _LONG_LINK = b"L", b"K"
_EXTENDED, _GLOBAL = b"x", b"g"


class TarError(Exception):
    """The bytes are no archive, or not the whole of one."""


class Pieces:
    """A readable stream over pieces of bytes; ``count`` is what has been read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._left = b""
        self._at = 0
        self.count = 0

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer only at the end."""
        parts: list[bytes] = []
        wanted = size
        while wanted > 0:
            if self._at == len(self._left):
                self._left, self._at = next(self._pieces, b""), 0
                if not self._left:
                    break
            part = self._left[self._at : self._at + wanted]
            self._at += len(part)
            wanted -= len(part)
            parts.append(part)
        data = b"".join(parts)
        self.count += len(data)
        return data


class Member:
    """One member; ``name`` and ``link`` as the archive spells them, ``mtime`` in seconds."""

    __slots__ = ("gid", "kind", "link", "mode", "mtime", "name", "size", "uid")

    def __init__(self, block: bytes) -> None:
        self.name = _text(block[:100])
        self.mode, self.uid, self.gid = _number(block[100:108]), _number(block[108:116]), _number(block[116:124])
        self.size = _number(block[124:136])
        self.mtime: float = _number(block[136:148])
        self.kind = block[156:157]
        self.link = _text(block[157:257])
        if block[257:262] == b"ustar" and block[262:263] == b"\0" and block[345:346] != b"\0":
            self.name = _text(block[345:500]) + b"/" + self.name
        if self.kind in (b"\0", b"7"):
            self.kind = tarheader.REGULAR


class Reader:
    """The members in order; :meth:`content` reads the data of the one that was given last."""

    def __init__(self, source: Pieces) -> None:
        self._source = source
        self._left = 0  # of the member's data
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Raises: TarError."""
        extended: dict[bytes, bytes] = {}
        while True:
            self._skip()
            block = self._source.read(tarheader.BLOCK)
            if len(block) < tarheader.BLOCK:
                raise TarError("unexpected end of data")
            if not block.strip(b"\0"):
                self._drain()
                return
            _check(block)
            member = Member(block)
            self._left = member.size
            self._padding = -member.size % tarheader.BLOCK
            if member.kind in (_LONG_NAME, _LONG_LINK):
                extended[b"path" if member.kind == _LONG_NAME else b"linkpath"] = self._all().rstrip(b"\0")
            elif member.kind in (_EXTENDED, _GLOBAL):
                records = _records(self._all())
                if member.kind == _EXTENDED:
                    extended.update(records)
            else:
                self._extend(member, extended)
                extended = {}
                yield member

    def content(self) -> Iterator[bytes]:
        """Raises: TarError when the archive ends before the data."""
        while self._left:
            piece = self._source.read(min(CHUNK, self._left))
            if not piece:
                raise TarError("unexpected end of data")
            self._left -= len(piece)
            yield piece

    def _extend(self, member: Member, extended: dict[bytes, bytes]) -> None:
        try:
            member.name = extended.get(b"path", member.name)
            member.link = extended.get(b"linkpath", member.link)
            member.uid = int(extended.get(b"uid", member.uid))
            member.gid = int(extended.get(b"gid", member.gid))
            member.mtime = float(extended.get(b"mtime", member.mtime))
            member.size = int(extended.get(b"size", member.size))
        except ValueError as exc:
            raise TarError(f"invalid header: {exc}") from None
        if member.kind != tarheader.REGULAR:
            member.size = 0
        if b"size" in extended or member.size != self._left:
            self._left, self._padding = member.size, -member.size % tarheader.BLOCK

    def _all(self) -> bytes:
        if self._left > _LIMIT:
            raise TarError("a header is too long")
        return b"".join(self.content())

    def _skip(self) -> None:
        for _ in self.content():
            pass
        if len(self._source.read(self._padding)) < self._padding:
            raise TarError("unexpected end of data")
        self._padding = 0

    def _drain(self) -> None:
        while self._source.read(CHUNK):
            pass


def _check(block: bytes) -> None:
    total = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
    if total != _number(block[148:156]):
        raise TarError("checksum mismatch")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: binary
        value = int.from_bytes(field, "big")
        return value - (1 << 8 * len(field)) if field[0] == 0xFF else value - (0x80 << 8 * (len(field) - 1))
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise TarError("invalid number in a header") from None


def _records(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        length = data.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise TarError("invalid extended header")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key] = value
        data = data[int(length) :]
    return found
