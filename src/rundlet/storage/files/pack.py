"""Out of a container: one path, or the whole root file system, as a tar. Standard library and ``linux`` only."""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from rundlet.linux import path
from rundlet.storage.layer import members, tar
from rundlet.storage.layer.apply import EntryError

_LOOK: Final = path.RESOLVE_IN_ROOT | path.RESOLVE_NO_MAGICLINKS


def lstat(root: int, name: str) -> os.stat_result:
    """As lstat(2) of a process with this root: a slash at the end follows a link. Raises: OSError."""
    fd = path.openat2(root, name, os.O_PATH | os.O_NOFOLLOW, 0, _LOOK)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


class Packer:
    """Writes members to ``out``. ``device``: go no further than this file system; None for all.

    Raises EntryError for what can't be read, OSError for what can't be written.
    """

    def __init__(
        self,
        root: int,
        out: int,
        device: int | None = None,
        adjust: Callable[[tar.Entry], None] | None = None,
    ) -> None:
        self._root = root
        self._writer = members.Writer(out, adjust)
        self._device = device

    def path(self, name: str, rebased: bytes) -> None:
        """The path ``name`` (not followed) with all below it, its first component as ``rebased``; the archive's end."""
        status = lstat(self._root, name)
        if stat.S_ISDIR(status.st_mode):
            fd = path.openat2(self._root, name, os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
            try:
                shown = b"" if rebased == b"/" else rebased
                self._writer.opened_directory(fd, shown, os.fstat(fd))
                self._tree(fd, shown + b"/")
            finally:
                os.close(fd)
        elif members.kind_of(status) is not None:
            directory, _, base = name.rpartition("/")
            parent = path.openat2(self._root, directory or "/", os.O_RDONLY | os.O_DIRECTORY, 0, _LOOK)
            try:
                self._writer.plain(parent, os.fsencode(base), rebased, status)
            finally:
                os.close(parent)
        self._writer.end()

    def everything(self, directory: bytes = b"", *, more: bool = False) -> None:
        """All below the root, named relative to it, or in a ``directory`` (one name) of the archive; the archive's end,
        unless ``more`` follows."""
        if directory:
            self._writer.opened_directory(self._root, directory, os.fstat(self._root))
        self._tree(self._root, directory and directory + b"/")
        if more:
            self._writer.flush()
        else:
            self._writer.end()

    def _tree(self, top: int, prefix: bytes) -> None:
        levels = [(os.dup(top), prefix, _list(top))]
        try:
            while levels:
                fd, prefix, names = levels[-1]
                if not names:
                    os.close(levels.pop()[0])
                    continue
                base = names.pop()
                inner = self._member(fd, prefix + base, base)
                if inner is not None:
                    levels.append((inner, prefix + base + b"/", _list(inner)))
        finally:
            for fd, _prefix, _names in levels:
                os.close(fd)

    def _member(self, parent: int, name: bytes, base: bytes) -> int | None:
        """Write one member; a descriptor when it is a directory that has to be gone through."""
        if len(name) > tar.PATH_LIMIT:
            return None
        try:
            status = os.lstat(base, dir_fd=parent)
            kind = members.kind_of(status)
            if kind is None:
                return None
            if kind != tar.DIRECTORY:
                self._writer.plain(parent, base, name, status)
                return None
            fd = self._writer.directory(parent, base, name, status)
        except BrokenPipeError:
            raise
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENXIO):
                return None  # a running container removed it meanwhile
            raise EntryError("read", name, exc) from exc
        if self._device is not None and os.fstat(fd).st_dev != self._device:
            os.close(fd)
            return None
        return fd


def _list(fd: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)
