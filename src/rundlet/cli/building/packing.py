"""A directory as a build context: what counts in it, and that as a stream of tar.

Owners are 0:0 and times whole seconds, as Docker sends them. Contents are never held but for what is being sent.
"""

from __future__ import annotations

import os
import stat

from rundlet.builder.ignore import NOTHING, Patterns
from rundlet.cli.building import headers
from rundlet.cli.building.headers import BLOCK, header
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CHUNK = 1 << 18
_PIECE = 1 << 16
"""Bytes collected before they are passed on: small files travel together."""
_CAPABILITY = "security.capability"


class Entry:
    """Something in the context: ``name`` within it, ``path`` on this machine, and what the file system says."""

    __slots__ = ("name", "path", "status")

    def __init__(self, name: str, path: str, status: os.stat_result) -> None:
        self.name = name
        self.path = path
        self.status = status


def nothing_but(names: Iterable[str]) -> Patterns:
    """What leaves out all but these paths."""
    return Patterns(["*", *(f"!{name}" for name in names)])


class Tree:
    """What counts in ``directory``; ``extra`` are files (name, content) that take the place of those there."""

    def __init__(self, directory: str, patterns: Patterns, extra: Mapping[str, bytes] | None = None) -> None:
        self.directory = directory
        self.extra = dict(extra or {})
        self._patterns = patterns
        self._owed: list[Entry] = []

    def entries(self) -> Iterator[Entry]:
        """All of it but the extra files, each directory before what is in it. Raises CommandError."""
        self._owed = []
        try:
            yield from self._below("", NOTHING)
        except OSError as exc:
            raise _failure(exc, self.directory) from exc
        except RecursionError as exc:
            raise CommandError("ERROR: failed to build: the context's directories are nested too deeply") from exc

    def _below(self, relative: str, above: int) -> Iterator[Entry]:
        """What is in one directory, by name as Docker has it."""
        path = os.path.join(self.directory, relative) if relative else self.directory
        with os.scandir(path) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            name = f"{relative}/{item.name}" if relative else item.name
            if name in self.extra:
                continue
            state = self._patterns.state(name, above)
            ignored = self._patterns.ignores(state)
            if ignored and not item.is_dir(follow_symlinks=False):
                continue
            entry = Entry(name, item.path, item.stat(follow_symlinks=False))
            if not stat.S_ISDIR(entry.status.st_mode):
                if not stat.S_ISSOCK(entry.status.st_mode):
                    # A socket is nothing that an image could hold.
                    yield from self._paid(entry)
            elif not ignored:
                yield from self._paid(entry)
                yield from self._below(name, state)
            elif self._patterns.may_keep_below(name):
                # The directory itself comes along only for the sake of something in it that is kept.
                self._owed.append(entry)
                yield from self._below(name, state)
                if self._owed and self._owed[-1] is entry:
                    self._owed.pop()

    def _paid(self, entry: Entry) -> Iterator[Entry]:
        if self._owed:
            owed, self._owed = self._owed, []
            yield from owed
        yield entry

    def pack(self, entries: Iterable[Entry] | None = None) -> Iterator[bytes]:
        """The archive of ``entries`` (all of them without) and of the extra files. Raises CommandError."""
        for name, content in self.extra.items():
            yield header(os.fsencode(name), headers.REGULAR, 0o644, 0, size=len(content))
            yield content + bytes(-len(content) % BLOCK)
        try:
            yield from _Packer().archive(self.entries() if entries is None else entries)
        except OSError as exc:
            raise _failure(exc, self.directory) from exc


def _failure(exc: OSError, path: str) -> CommandError:
    return CommandError(
        f"ERROR: failed to build: failed to solve: error from sender: open {exc.filename or path}: "
        f"{(exc.strerror or str(exc)).lower()}"
    )


class _Packer:
    def __init__(self) -> None:
        self._links: dict[tuple[int, int], bytes] = {}
        self._pending: list[bytes] = []
        self._size = 0

    def archive(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        for entry in entries:
            yield from self._entry(entry)
        self._pending.append(bytes(2 * BLOCK))
        yield b"".join(self._pending)

    def _put(self, data: bytes) -> bool:
        """Collect ``data``; whether it is time to send."""
        self._pending.append(data)
        self._size += len(data)
        return self._size >= _PIECE

    def _take(self) -> bytes:
        data = b"".join(self._pending)
        self._pending, self._size = [], 0
        return data

    def _entry(self, entry: Entry) -> Iterator[bytes]:
        status, name = entry.status, os.fsencode(entry.name)
        kind, mtime = stat.S_IFMT(status.st_mode), int(status.st_mtime)
        if kind == stat.S_IFREG:
            key = (status.st_dev, status.st_ino)
            if key not in self._links:
                if status.st_nlink > 1:
                    self._links[key] = name
                yield from self._file(entry.path, name, status)
                return
            head = header(name, headers.HARD_LINK, status.st_mode, mtime, link=self._links[key])
        elif kind == stat.S_IFDIR:
            head = header(name + b"/", headers.DIRECTORY, status.st_mode, mtime)
        elif kind == stat.S_IFLNK:
            head = header(name, headers.SYMBOLIC_LINK, 0o777, mtime, link=os.fsencode(os.readlink(entry.path)))
        elif kind == stat.S_IFIFO:
            head = header(name, headers.FIFO, status.st_mode, mtime)
        else:
            which = headers.CHARACTER if kind == stat.S_IFCHR else headers.BLOCK_DEVICE
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            head = header(name, which, status.st_mode, mtime, device=device)
        if self._put(head):
            yield self._take()

    def _file(self, path: str, name: bytes, status: os.stat_result) -> Iterator[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            mtime, size = int(status.st_mtime), status.st_size
            self._put(header(name, headers.REGULAR, status.st_mode, mtime, size=size, records=_attributes(fd)))
            left = size
            while left:
                # The header has promised a size: a file that grows is cut, one that shrinks is filled with zeros.
                piece = os.read(fd, min(CHUNK, left)) or bytes(min(CHUNK, left))
                left -= len(piece)
                if self._put(piece):
                    yield self._take()
        finally:
            os.close(fd)
        if self._put(bytes(-size % BLOCK)):
            yield self._take()


def _attributes(fd: int) -> dict[bytes, bytes] | None:
    """A program's file capabilities; other extended attributes stay at home."""
    try:
        return {b"SCHILY.xattr.security.capability": os.getxattr(fd, _CAPABILITY)}
    except OSError:
        return None
