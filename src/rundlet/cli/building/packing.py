"""A directory as a build context: a stream of tar, without what .dockerignore leaves out.

Owners are 0:0 and times whole seconds, as Docker sends them. Nothing is held in memory but what is being sent.
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
    from collections.abc import Iterator, Mapping

CHUNK = 1 << 18
_PIECE = 1 << 16
"""Bytes collected before they are passed on: small files travel together."""
_CAPABILITY = "security.capability"


def pack_context(directory: str, patterns: Patterns, extra: Mapping[str, bytes]) -> Iterator[bytes]:
    """The archive of what counts in ``directory``; ``extra`` are files (name, content) that take the place of those
    there. Raises CommandError for what can't be read."""
    packer = _Packer(directory, patterns)
    for name, content in extra.items():
        yield header(os.fsencode(name), headers.REGULAR, 0o644, 0, size=len(content))
        yield content + bytes(-len(content) % BLOCK)
    yield from packer.archive(frozenset(extra))


def _failure(exc: OSError, path: str) -> CommandError:
    return CommandError(
        f"ERROR: failed to build: failed to solve: error from sender: open {exc.filename or path}: "
        f"{(exc.strerror or str(exc)).lower()}"
    )


class _Packer:
    def __init__(self, directory: str, patterns: Patterns) -> None:
        self._root = directory
        self._patterns = patterns
        self._links: dict[tuple[int, int], bytes] = {}
        self._pending: list[bytes] = []
        self._owed: list[bytes] = []
        self._size = 0

    def archive(self, without: frozenset[str]) -> Iterator[bytes]:
        try:
            yield from self._directory("", NOTHING, without)
        except OSError as exc:
            raise _failure(exc, self._root) from exc
        except RecursionError as exc:
            raise CommandError("ERROR: failed to build: the context's directories are nested too deeply") from exc
        self._pending.append(bytes(2 * BLOCK))
        yield b"".join(self._pending)

    def _put(self, data: bytes) -> bool:
        """Collect ``data``; whether it is time to send."""
        if self._owed:
            self._pending += self._owed
            self._owed = []
        self._pending.append(data)
        self._size += len(data)
        return self._size >= _PIECE

    def _take(self) -> bytes:
        data = b"".join(self._pending)
        self._pending, self._size = [], 0
        return data

    def _directory(self, relative: str, above: int, without: frozenset[str] = frozenset()) -> Iterator[bytes]:
        """What is in one directory, and below. Directories are entered by name order, as Docker does."""
        path = os.path.join(self._root, relative) if relative else self._root
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if name in without:
                continue
            state = self._patterns.state(name, above)
            ignored = self._patterns.ignores(state)
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if ignored and not self._patterns.may_keep_below(name):
                    continue
                yield from self._subdirectory(name, state, status, ignored=ignored)
            elif not ignored:
                yield from self._entry(entry.path, name, status)

    def _subdirectory(self, name: str, state: int, status: os.stat_result, *, ignored: bool) -> Iterator[bytes]:
        head = header(os.fsencode(name) + b"/", headers.DIRECTORY, status.st_mode, int(status.st_mtime))
        if ignored:
            # The directory itself comes along only for the sake of something in it that is kept.
            self._owed.append(head)
        elif self._put(head):
            yield self._take()
        yield from self._directory(name, state)
        if self._owed and self._owed[-1] is head:
            self._owed.pop()

    def _entry(self, path: str, name: str, status: os.stat_result) -> Iterator[bytes]:
        kind = stat.S_IFMT(status.st_mode)
        mtime, encoded = int(status.st_mtime), os.fsencode(name)
        if kind == stat.S_IFREG:
            key = (status.st_dev, status.st_ino)
            if key in self._links:
                head = header(encoded, headers.HARD_LINK, status.st_mode, mtime, link=self._links[key])
            else:
                if status.st_nlink > 1:
                    self._links[key] = encoded
                yield from self._file(path, encoded, status)
                return
        elif kind == stat.S_IFLNK:
            target = os.fsencode(os.readlink(path))
            head = header(encoded, headers.SYMBOLIC_LINK, 0o777, mtime, link=target)
        elif kind == stat.S_IFIFO:
            head = header(encoded, headers.FIFO, status.st_mode, mtime)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            which = headers.CHARACTER if kind == stat.S_IFCHR else headers.BLOCK_DEVICE
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            head = header(encoded, which, status.st_mode, mtime, device=device)
        else:
            # A socket is nothing that an image could hold.
            return
        if self._put(head):
            yield self._take()

    def _file(self, path: str, name: bytes, status: os.stat_result) -> Iterator[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self._put(
                header(
                    name,
                    headers.REGULAR,
                    status.st_mode,
                    int(status.st_mtime),
                    size=status.st_size,
                    records=_attributes(fd),
                )
            )
            left = status.st_size
            while left:
                # The header has promised a size: a file that grows is cut, one that shrinks is filled with zeros.
                piece = os.read(fd, min(CHUNK, left)) or bytes(min(CHUNK, left))
                left -= len(piece)
                if self._put(piece):
                    yield self._take()
        finally:
            os.close(fd)
        if self._put(bytes(-status.st_size % BLOCK)):
            yield self._take()


def _attributes(fd: int) -> dict[bytes, bytes] | None:
    """A program's file capabilities; other extended attributes stay at home."""
    try:
        return {b"SCHILY.xattr.security.capability": os.getxattr(fd, _CAPABILITY)}
    except OSError:
        return None
