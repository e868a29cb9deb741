"""Members of a tar made from files that somebody may be changing. Standard library only: it runs in workers.

Files are reached by directory descriptors, a link is never followed, and what turns out to be something else than it
was a moment ago is treated as what it is now.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from rundlet.linux import userns
from rundlet.storage.layer import owner, tar, tarwrite
from rundlet.storage.layer.tar import Entry

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 20
_GATHER: Final = 128 << 10
_FIRST: Final = 32 << 10
_START: Final = 256 << 10
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TYPES: Final = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


class Writer:
    """Writes members to the descriptor ``out``; hard links between them are kept.

    ``adjust`` may change each entry's attributes on its way.
    """

    def __init__(self, out: int, adjust: Callable[[Entry], None] | None = None) -> None:
        self._out = out
        self._adjust = adjust
        self._held: list[bytes] = []
        self._size = 0
        self._early = _START
        self._links: dict[tuple[int, int], bytes] = {}

    def write(self, data: bytes) -> None:
        """Small pieces are gathered: less at the beginning, for who unpacks them is to begin soon, too.

        Raises OSError: BrokenPipeError when nobody wants the rest.
        """
        self._held.append(data)
        self._size += len(data)
        if self._size >= (_GATHER if self._early <= 0 else _FIRST):
            self._early -= self._size
            self.flush()

    def flush(self) -> None:
        """Write what was gathered. Raises OSError as :meth:`write` does."""
        view = memoryview(b"".join(self._held))
        self._held, self._size = [], 0
        while view:
            view = view[os.write(self._out, view) :]

    def end(self) -> None:
        self.write(tarwrite.END)
        self.flush()

    def directory(self, parent: int, base: bytes, name: bytes, status: os.stat_result) -> int:
        """Write the directory's own member; returns a descriptor to go through it with. Raises OSError."""
        fd = os.open(base, DIRECTORY_FLAGS, dir_fd=parent)
        try:
            self.opened_directory(fd, name, status)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def opened_directory(self, fd: int, name: bytes, status: os.stat_result) -> None:
        entry = new_entry(name, tar.DIRECTORY, status)
        entry.xattrs = xattrs(fd)
        if not userns.INITIAL:
            owner.restore(fd, entry, status)
        self._adjusted(entry)
        self.write(tarwrite.encode(entry))

    def _adjusted(self, entry: Entry) -> None:
        if self._adjust is not None:
            self._adjust(entry)

    def plain(self, parent: int, base: bytes, name: bytes, status: os.stat_result) -> None:
        """Write the member of anything but a directory or socket. Raises OSError."""
        kind = kind_of(status)
        assert kind is not None
        entry = new_entry(name, kind, status)
        self._adjusted(entry)
        file = (status.st_dev, status.st_ino)
        first = self._links.get(file, entry.name) if status.st_nlink > 1 else entry.name
        if first != entry.name:
            entry.type, entry.link, entry.major, entry.minor = tar.HARDLINK, first, 0, 0
            self.write(tarwrite.encode(entry))
            return
        if kind == tar.REGULAR:
            self._regular(parent, base, entry)
        else:
            if kind == tar.SYMLINK:
                entry.link = os.readlink(base, dir_fd=parent)
            self.write(tarwrite.encode(entry))
        if status.st_nlink > 1:
            self._links[file] = entry.name  # only now: who replaces it meanwhile leaves nothing to link to

    def _regular(self, parent: int, base: bytes, entry: Entry) -> None:
        fd = os.open(base, _FILE_FLAGS, dir_fd=parent)
        try:
            now = os.fstat(fd)
            if not stat.S_ISREG(now.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # replaced since it was looked at
            self._content(fd, entry, now)
        finally:
            os.close(fd)

    def opened_file(self, fd: int, name: bytes) -> None:
        """Write the member of the regular file ``fd``. Raises OSError."""
        status = os.fstat(fd)
        entry = new_entry(name, tar.REGULAR, status)
        self._adjusted(entry)
        self._content(fd, entry, status)

    def entry(self, entry: Entry) -> None:
        """Write a member that has no data."""
        self._adjusted(entry)
        self.write(tarwrite.encode(entry))

    def _content(self, fd: int, entry: Entry, status: os.stat_result) -> None:
        entry.xattrs = xattrs(fd)
        if not userns.INITIAL:
            owner.restore(fd, entry, status)
        entry.size = status.st_size
        self.write(tarwrite.encode(entry))
        left = entry.size
        while left and (data := os.read(fd, min(left, _CHUNK))):
            self.write(data)
            left -= len(data)
        while left:  # it shrank while it was read
            self.write(bytes(min(left, _CHUNK)))
            left -= min(left, _CHUNK)
        self.write(tarwrite.padding(entry.size))


def kind_of(status: os.stat_result) -> bytes | None:
    """The type of member; None for what an archive can't hold (a socket)."""
    return _TYPES.get(stat.S_IFMT(status.st_mode))


def new_entry(name: bytes, kind: bytes, status: os.stat_result) -> Entry:
    """An entry with the attributes of ``status``, without size, link and extended attributes."""
    entry = Entry()
    entry.name, entry.type, entry.link = name, kind, b""
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.size = 0
    entry.mtime_ns = status.st_mtime_ns
    device = kind in (tar.CHARACTER, tar.BLOCK_DEVICE)
    entry.major = os.major(status.st_rdev) if device else 0
    entry.minor = os.minor(status.st_rdev) if device else 0
    entry.xattrs = None
    return entry


def xattrs(fd: int) -> list[tuple[bytes, bytes]] | None:
    """File capabilities and what users set; the rest belongs to this machine. Raises OSError."""
    try:
        names = os.listxattr(fd)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return None
        raise
    wanted = [
        n
        for n in names
        if n == "security.capability" or (n.startswith("user.") and not n.startswith(("user.overlay.", owner.XATTR)))
    ]
    return [(os.fsencode(name), os.getxattr(fd, name)) for name in sorted(wanted)] or None
