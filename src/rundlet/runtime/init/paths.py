"""Steps that hide or protect parts of /proc and /sys.

After each mount the path is looked up again: what is found there must be what was mounted (CVE-2025-31133,
CVE-2025-52881).
"""

import errno
import os
import stat
from typing import NamedTuple

from rundlet.linux import libc, mount, path
from rundlet.runtime.init.steps import Context

_LOOK = os.O_PATH | os.O_NOFOLLOW


class MaskPaths(NamedTuple):
    """Cover files with /dev/null and directories with an empty read-only tmpfs."""

    paths: tuple[str, ...]
    step: str = "path"

    def describe(self) -> str:
        return "mask " + " ".join(self.paths)

    def execute(self, context: Context) -> None:
        empty = -1
        for name in self.paths:
            target = _open(context.root, name)
            if target < 0:
                continue
            if stat.S_ISDIR(os.fstat(target).st_mode):
                if empty < 0:
                    attributes = mount.MOUNT_ATTR_RDONLY
                    empty = mount.new_filesystem("tmpfs", {"source": "tmpfs", "ro": None}, attributes)
                    # Attached itself the first time: before Linux 6.15 a detached mount can't be cloned.
                    cover = os.dup(empty)
                else:
                    cover = mount.open_tree(empty, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH)
            elif context.null < 0:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/dev/null")
            else:
                cover = mount.open_tree(context.null, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH)
            _attach(context.root, cover, target, name)
        if empty >= 0:
            os.close(empty)


class ReadonlyPaths(NamedTuple):
    """Mount paths over themselves, read-only."""

    paths: tuple[str, ...]
    step: str = "path"

    def describe(self) -> str:
        return "read-only " + " ".join(self.paths)

    def execute(self, context: Context) -> None:
        for name in self.paths:
            target = _open(context.root, name)
            if target < 0:
                continue
            flags = mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH | libc.AT_RECURSIVE
            cover = mount.open_tree(target, "", flags)
            mount.mount_setattr(cover, "", set=mount.MOUNT_ATTR_RDONLY)
            _attach(context.root, cover, target, name)


def _open(root: int, name: str) -> int:
    """-1: the kernel does not have it."""
    try:
        return path.open_in_root(root, name, os.O_PATH)
    except FileNotFoundError:
        return -1


def _attach(root: int, cover: int, target: int, name: str) -> None:
    try:
        mount.move_mount(cover, target)
        found = path.open_in_root(root, name, _LOOK)
        same = _identity(found) == _identity(cover)
        os.close(found)
        if not same:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, name) from None
    finally:
        os.close(cover)
        os.close(target)


def _identity(fd: int) -> tuple[int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_rdev
