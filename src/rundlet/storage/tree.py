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
    """Bytes of the files below ``path`` as Docker counts them: apparent size, each inode once, no directories."""
    total = 0
    seen: set[int] = set()
    waiting = [path]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            continue
        with entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                elif status.st_nlink == 1:
                    total += status.st_size
                elif status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_size
    return total
