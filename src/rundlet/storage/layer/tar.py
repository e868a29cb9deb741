"""A reader of layer tars that trusts nothing and holds no more than one buffer and one header in memory.

It reads v7, ustar, STAR, pax and GNU (long names, base-256 numbers) archives and agrees with Go's ``archive/tar``,
which Docker reads layers with, wherever the formats leave room: the same bytes must mean the same files in both.
Standard library only: it runs in the worker.

See: POSIX pax, GNU tar "Basic Tar Format", OCI image-spec layer.md.
"""

import os
from typing import Final, Protocol

from rundlet.storage.layer import fields, sparse
from rundlet.storage.layer.fields import InvalidHeaderError, TarError, TruncatedError

BLOCK: Final = 512
BUFFER: Final = 1 << 20
SPECIAL_LIMIT: Final = 1 << 20
"""Bytes of a pax header or a GNU long name, as in Go."""
PATH_LIMIT: Final = 4095
"""Bytes of a name; the kernel takes no longer path, so Docker can't apply one either."""

REGULAR: Final = b"0"
HARDLINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
_CONTIGUOUS: Final = b"7"
_OLD_REGULAR: Final = b"\0"
_PAX: Final = b"x"
_PAX_GLOBAL: Final = b"g"
_LONG_NAME: Final = b"L"
_LONG_LINK: Final = b"K"
_KNOWN: Final = frozenset(
    (REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO, _CONTIGUOUS, _OLD_REGULAR, sparse.OLD)
)
_WITHOUT_DATA: Final = frozenset((HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
_XATTR: Final = b"SCHILY.xattr."
_ZERO_BLOCK: Final = bytes(BLOCK)


class Entry:
    """One member of the archive. Names are bytes, as they are on disk."""

    __slots__ = ("gid", "link", "major", "minor", "mode", "mtime_ns", "name", "size", "type", "uid", "xattrs")

    name: bytes
    """Cleaned, relative to the root, without a slash at the end; empty for the root itself."""
    link: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of data, holes included; 0 for anything but a regular file."""
    mtime_ns: int
    major: int
    minor: int
    xattrs: list[tuple[bytes, bytes]] | None


class ByteSource(Protocol):
    """Where a :class:`Reader` reads."""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes (at most a mebibyte), fewer only at the end of the input."""
        ...

    def some(self, count: int) -> bytes:
        """The next bytes, as many as are at hand and at most ``count``; none only at the end of the input."""
        ...

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes. Raises TruncatedError."""
        ...

    def copy_to(self, fd: int, count: int) -> None:
        """Write the next ``count`` bytes to ``fd``. Raises TruncatedError, OSError."""
        ...


class Source:
    """A file descriptor (pipe or file) read through one reused buffer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes (at most the buffer's size), fewer only at the end of the input."""
        if self._end - self._start < count:
            self._fill(count)
        stop = min(self._start + count, self._end)
        data = bytes(self._view[self._start : stop])
        self._start = stop
        return data

    def some(self, count: int) -> bytes:
        """The next bytes, as :class:`ByteSource` has it."""
        return self.take(count)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes. Raises TruncatedError."""
        while count:
            step = min(self._available(), count)
            self._start += step
            count -= step

    def copy_to(self, fd: int, count: int) -> None:
        """Write the next ``count`` bytes to ``fd``. Raises TruncatedError, OSError."""
        while count:
            step = min(self._available(), count)
            stop = self._start + step
            while self._start < stop:
                self._start += os.write(fd, self._view[self._start : stop])
            count -= step

    def drain(self) -> int:
        """Read to the end of the input; the number of bytes passed over."""
        passed = self._end - self._start
        self._start = self._end = 0
        while count := os.readv(self._fd, [self._view]):
            passed += count
        return passed

    def _available(self) -> int:
        if self._start == self._end:
            self._start = 0
            self._end = os.readv(self._fd, [self._view])
            if not self._end:
                raise TruncatedError
        return self._end - self._start

    def _fill(self, count: int) -> None:
        left = self._end - self._start
        self._view[:left] = self._view[self._start : self._end]
        self._start, self._end = 0, left
        while self._end < count:
            got = os.readv(self._fd, [self._view[self._end :]])
            if not got:
                return
            self._end += got


class Reader:
    """The members of an archive, one after another.

    The data of a member is taken by :meth:`copy_data` or left: the next call of :meth:`next` passes over the rest.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._left = 0
        self._padding = 0
        self._sparse: sparse.Sparse | None = None

    def copy_data(self, fd: int) -> None:
        """Write the current member's data to the empty file ``fd``; holes stay holes."""
        count, self._left = self._left, 0
        if self._sparse is None:
            self._source.copy_to(fd, count)
        else:
            self._sparse.copy(fd, self._source.copy_to)

    def read_data(self, count: int) -> bytes:
        """The next bytes of the current member's data, at most ``count`` and a buffer; empty at its end.

        Raises TruncatedError.
        """
        if self._sparse is not None:
            return self._sparse.read(min(count, BUFFER), self._stored)
        return self._stored(count)

    def _stored(self, count: int) -> bytes:
        count = min(count, self._left, BUFFER)
        if not count:
            return b""
        data = self._source.some(count)
        if not data:
            raise TruncatedError
        self._left -= len(data)
        return data

    def next(self) -> Entry | None:
        """The next member, or None at the end of the archive. Raises TarError."""
        pax: dict[bytes, bytes] = {}
        holes: sparse.PaxSparse | None = None
        long_name = long_link = b""
        while True:
            header = self._header()
            if header is None:
                return None
            kind = header[156:157]
            if kind not in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
                break
            data = self._special(header)
            if kind == _PAX:
                holes = sparse.PaxSparse() if sparse.PREFIX in data else None
                pax = parse_pax(data, holes)
            elif kind == _LONG_NAME:
                long_name = data.partition(b"\0")[0]
            elif kind == _LONG_LINK:
                long_link = data.partition(b"\0")[0]
            else:
                parse_pax(data)  # Docker checks a global header and applies nothing of it
        entry = _entry(header)
        if pax:
            _merge(entry, pax)
        name = long_name or pax.get(b"path") or _name(header)
        link = long_link or pax.get(b"linkpath") or header[157:257].partition(b"\0")[0]
        if entry.type == _OLD_REGULAR:
            entry.type = DIRECTORY if name.endswith(b"/") else REGULAR
        elif entry.type == _CONTIGUOUS:
            entry.type = REGULAR
        if entry.type in _WITHOUT_DATA:
            entry.size = 0
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        self._sparse = None
        if kind == sparse.OLD or holes is not None:
            name = self._find_holes(entry, header, holes) or name
        entry.name = clean(name)
        entry.link = link
        return entry

    def _find_holes(self, entry: Entry, header: bytes, holes: sparse.PaxSparse | None) -> bytes:
        """Read where the member's data lie; returns its name, where that is said along with it."""
        if entry.type == sparse.OLD:
            entry.type = REGULAR
            self._sparse = sparse.old_map(header, self._block)
        elif holes is not None:
            self._sparse, blocks = holes.resolve(self._block)
            self._left -= blocks * BLOCK
        if self._sparse is not None:
            if entry.type != REGULAR or self._left != self._sparse.stored:
                raise InvalidHeaderError("sparse map")
            entry.size = self._sparse.size
        return holes.name if holes is not None and self._sparse is not None else b""

    def _block(self) -> bytes:
        block = self._source.take(BLOCK)
        if len(block) < BLOCK:
            raise TruncatedError
        return block

    def _header(self) -> bytes | None:
        if self._left or self._padding:
            self._source.skip(self._left)
            padding, self._left, self._padding = self._padding, 0, 0
            try:
                self._source.skip(padding)
            except TruncatedError:
                # Docker's command line sends contexts (build -f of a file elsewhere) that end right behind the last
                # file's bytes; Go's reader takes that for an end.
                return None
        header = self._source.take(BLOCK)
        if not header:
            return None
        if len(header) < BLOCK:
            raise TruncatedError
        if header[0] == 0 and header == _ZERO_BLOCK:
            second = self._source.take(BLOCK)
            if second and second != _ZERO_BLOCK:
                raise TruncatedError if len(second) < BLOCK else InvalidHeaderError("one zero block")
            return None
        fields.check_sum(header)
        return header

    def _special(self, header: bytes) -> bytes:
        size = fields.number(header[124:136], "size")
        if size > SPECIAL_LIMIT:
            raise TarError("archive/tar: header field too long")
        padded = size + (-size % BLOCK)
        data = self._take_all(padded)
        return data[:size]

    def _take_all(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._source.take(min(count, BUFFER))
            if not part:
                raise TruncatedError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def clean(name: bytes) -> bytes:
    """``name`` relative to the root, by words alone as Docker does it: ``./a//b/../c/`` and ``/a/c`` give ``a/c``.

    Raises TarError for a relative name that begins outside (``../x``) and for one longer than any path.
    """
    plain = b"/." not in name and b"//" not in name and name[:1] != b"."
    name = name.strip(b"/") if plain else _clean_words(name)
    if len(name) > PATH_LIMIT:
        raise TarError(f"{fields.quote(name[:64] + b'...')}: file name too long")
    return name


def _clean_words(name: bytes) -> bytes:
    rooted = name[:1] == b"/"
    words: list[bytes] = []
    for word in name.split(b"/"):
        if word in (b"", b"."):
            continue
        if word != b"..":
            words.append(word)
        elif words:
            words.pop()
        elif not rooted:
            raise TarError(f'{fields.quote(name)} is outside of "/"')
    return b"/".join(words)


def parse_pax(data: bytes, holes: sparse.PaxSparse | None = None) -> dict[bytes, bytes]:
    """The records of a pax header, those about holes to ``holes``; an empty value removes its key. Raises TarError."""
    records: dict[bytes, bytes] = {}
    position, end = 0, len(data)
    while position < end:
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise InvalidHeaderError("pax record")
        stop = position + int(digits)
        if stop > end or stop <= space + 1 or data[stop - 1] != 0x0A:
            raise InvalidHeaderError("pax record")
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise InvalidHeaderError("pax record")
        if key in (b"path", b"linkpath", b"uname", b"gname") and b"\0" in value:
            raise InvalidHeaderError("NUL in a name")
        if holes is not None and key.startswith(sparse.PREFIX):
            holes.add(key, value)
        elif value or key.startswith(_XATTR):
            records[key] = value
        else:
            records.pop(key, None)
        position = stop
    return records


def _entry(header: bytes) -> Entry:
    kind = header[156:157]
    if kind not in _KNOWN:
        raise TarError(f"{fields.quote(_name(header))}: unhandled tar header type {kind[0]}")
    entry = Entry()
    entry.type = kind
    entry.mode = fields.number(header[100:108], "mode") & 0o7777
    entry.uid = fields.number(header[108:116], "uid")
    entry.gid = fields.number(header[116:124], "gid")
    entry.size = fields.number(header[124:136], "size")
    entry.mtime_ns = fields.bounded(fields.signed(header[136:148], "mtime") * 1_000_000_000)
    entry.major = entry.minor = 0
    if kind in (CHARACTER, BLOCK_DEVICE):
        entry.major = fields.number(header[329:337], "devmajor")
        entry.minor = fields.number(header[337:345], "devminor")
    entry.xattrs = None
    return entry


def _merge(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        if key == b"size":
            entry.size = fields.decimal(value, "size")
        elif key == b"uid":
            entry.uid = fields.decimal(value, "uid")
        elif key == b"gid":
            entry.gid = fields.decimal(value, "gid")
        elif key == b"mtime":
            entry.mtime_ns = fields.bounded(fields.pax_time(value))
        elif key.startswith(_XATTR):
            if entry.xattrs is None:
                entry.xattrs = []
            entry.xattrs.append((key[len(_XATTR) :], value))


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":
        # STAR keeps two times where ustar has the end of its prefix, and says so in its last bytes.
        stop = 476 if header[508:512] == b"tar\0" else 500
        prefix = header[345:stop].partition(b"\0")[0]
        if prefix:
            return prefix + b"/" + name
    elif header[257:265] == b"ustar  \0" and (header[345] or header[357]) and (prefix := _mistaken_prefix(header)):
        return prefix + b"/" + name
    return name


def _mistaken_prefix(header: bytes) -> bytes:
    """What Go before 1.8, and so old Docker, wrote into a GNU header that has two times there: as in Go, what can't be
    these is the beginning of the name."""
    try:
        for field in (header[345:357], header[357:369]):
            if field[0]:
                fields.signed(field, "time")
    except InvalidHeaderError:
        prefix = header[345:500].partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""
