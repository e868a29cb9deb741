"""Removing and measuring directory trees that a container or an image made: any depth, any name. Standard library only.

Recursion and whole paths end at a thousand and at 4,096; a container can nest directories deeper than both.
"""

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH: Final = 64
_TRIES: Final = 100


def remove_path(path: str) -> None:
    """Remove ``path`` and all below it; absent is fine. Never follows a link.

    Raises: OSError; EBUSY for a mount point, of which nothing is removed.
    """
    directory, _, base = path.rstrip("/").rpartition("/")
    try:
        parent = os.open(directory or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree(parent, os.fsencode(base))
    finally:
        os.close(parent)


def remove_tree(parent: int, name: bytes) -> None:
    """Remove ``name`` in the directory ``parent``, and all below it, as :func:`remove_path` does."""
    if _remove_one(parent, name):
        return
    levels = [_Level(parent, name)]
    try:
        while levels:
            _advance(levels, parent)
    finally:
        for level in levels:
            os.close(level.fd)


class _Level:
    """One directory on the way down: what is still to be emptied in it.

    A plain class: dataclasses (and secrets) would cost the launcher, which imports this, 14 ms and megabytes.
    """

    __slots__ = ("fd", "name", "parent", "pending", "tries")

    def __init__(self, parent: int, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.tries = 0
        self.fd = os.open(name, _FLAGS, dir_fd=parent)
        self.pending = self.clear()

    def clear(self) -> list[bytes]:
        """Remove what can be removed at once; the names of the directories that are not empty."""
        with os.scandir(self.fd) as entries:
            return [name for entry in entries if not _remove_one(self.fd, name := os.fsencode(entry.name))]


def _advance(levels: list[_Level], parent: int) -> None:
    level = levels[-1]
    if level.pending:
        child = level.pending.pop()
        if len(levels) < _DEPTH:
            levels.append(_Level(level.fd, child))
            return
        # Too deep to hold every step open: the rest goes on near the top.
        top = levels[0]
        moved = b".rundlet-" + os.urandom(8).hex().encode()
        os.rename(child, moved, src_dir_fd=level.fd, dst_dir_fd=top.fd)
        top.pending.append(moved)
        return
    if not _remove_one(level.parent, level.name):
        # Listing while removing may have passed over something, or somebody is still writing.
        level.tries += 1
        if level.tries > _TRIES:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), os.fsdecode(level.name))
        level.pending = level.clear()
        return
    os.close(levels.pop().fd)


def _remove_one(parent: int, name: bytes) -> bool:
    """Remove a file or an empty directory; False for a directory that is not empty. rmdir refuses mount points."""
    try:
        os.unlink(name, dir_fd=parent)
        return True
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            raise
    try:
        os.rmdir(name, dir_fd=parent)
        return True
    except FileNotFoundError:
        return True
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise


def tree_size(path: str) -> int:
    """Bytes of the files below ``path`` as Docker counts them: apparent size, each inode once, no directories.

    Who writes there meanwhile may be counted or not; no link is followed, whatever is put in a directory's place.
    """
    seen: set[int] = set()
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return 0
    levels = [_Counted(fd, seen)]
    total = levels[0].size
    try:
        while levels:
            level = levels[-1]
            if level.pending:
                total += _descend(levels, level.pending.pop(), seen)
            else:
                _ascend(levels)
    finally:
        for level in levels:
            level.close()
    return total


class _Counted:
    """One directory on the way down: its files are counted, ``pending`` are the directories in it."""

    __slots__ = ("fd", "identity", "pending", "size")

    def __init__(self, fd: int, seen: set[int]) -> None:
        """Takes over ``fd``."""
        self.fd = fd
        self.pending: list[str] = []
        self.size = 0
        try:
            self.identity = _identity(fd)
            with os.scandir(fd) as entries:
                for entry in entries:
                    self._count(entry, seen)
        except BaseException:
            self.close()
            raise

    def _count(self, entry: "os.DirEntry[str]", seen: set[int]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            self.pending.append(entry.name)
        elif status.st_nlink == 1 or status.st_ino not in seen:
            if status.st_nlink > 1:
                seen.add(status.st_ino)
            self.size += status.st_size

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _descend(levels: list[_Counted], name: str, seen: set[int]) -> int:
    """Into a directory of the last level; returns its size."""
    try:
        fd = os.open(name, _FLAGS, dir_fd=levels[-1].fd)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0  # it went, or became something else, while we looked
        raise
    if len(levels) > _DEPTH:
        levels[-_DEPTH].close()  # the top stays open
    levels.append(_Counted(fd, seen))
    return levels[-1].size


def _ascend(levels: list[_Counted]) -> None:
    """Back to the directory above, or, when that isn't above any more, to the next one that is known."""
    inner = levels.pop()
    try:
        if levels and levels[-1].fd < 0:
            levels[-1].fd = _above(inner.fd, levels[-1].identity)
            while levels[-1].fd < 0:
                levels.pop()
    finally:
        inner.close()


def _above(fd: int, identity: tuple[int, int]) -> int:
    """The directory above, if it is the one that we came from; else -1."""
    try:
        above = os.open("..", _FLAGS, dir_fd=fd)
    except FileNotFoundError:
        return -1
    if _identity(above) == identity:
        return above
    os.close(above)
    return -1
