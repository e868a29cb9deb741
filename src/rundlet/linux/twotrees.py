"""Going down two directory trees together: one that is read, one that is made like it.

By descriptors only, and no link is ever followed: either tree may be a container's that runs. What is done with a
member is the caller's; what both callers do alike with links and with what is no file is here. Standard library only.
"""

import os
import stat
from collections.abc import Callable
from typing import Final

from rundlet.linux import path

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH: Final = path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS


class Level:
    """A directory on the way down: its sides in the two trees, its path with a slash at the end, what is to be done."""

    __slots__ = ("names", "prefix", "source", "target")

    def __init__(self, source: int, target: int, prefix: str) -> None:
        """The descriptors are closed with :meth:`close`."""
        self.source = source
        self.target = target
        self.prefix = prefix
        self.names = os.listdir(source)

    def enter(self, name: str) -> "Level":
        """The directory ``name``, which is in both. Raises: OSError."""
        source = os.open(name, DIRECTORY, dir_fd=self.source)
        return Level(source, os.open(name, DIRECTORY, dir_fd=self.target), f"{self.prefix}{name}/")

    def close(self) -> None:
        os.close(self.source)
        os.close(self.target)


def walk(top: Level, member: Callable[[Level, str], Level | None], leave: Callable[[int, int], None]) -> None:
    """``member`` does what is to be done with one name, and returns the directory that it is, if it is to be entered.

    ``leave`` is called with the two sides of each directory when all in it is done. Closes ``top``. Raises: OSError.
    """
    levels = [top]
    try:
        while levels:
            level = levels[-1]
            if level.names:
                inner = member(level, level.names.pop())
                if inner is not None:
                    levels.append(inner)
                continue
            # Last: making what is in it changed its time, and its mode may forbid that.
            leave(level.source, level.target)
            levels.pop().close()
    finally:
        for level in levels:
            level.close()


def link(root: int, first: str, target: int, name: str) -> None:
    """Make ``name`` in ``target`` another name of what is at ``first`` below ``root``. Raises: OSError."""
    directory, _, base = first.rpartition("/")
    parent = path.openat2(root, directory or ".", os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
    try:
        os.link(base, name, src_dir_fd=parent, dst_dir_fd=target, follow_symlinks=False)
    finally:
        os.close(parent)


def copy_special(source: int, target: int, name: str, status: os.stat_result) -> None:
    """A symbolic link, a device, a FIFO or a socket, with owner, mode and times. Raises: OSError."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        fd = path.openat2(target, name, os.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
        try:
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
