"""The root directory, and the root of the mount namespace: they differ after a chroot(2).

pivot_root(2) moves the root *directory*'s mount. After a chroot into a mount that isn't the namespace's root: whoever
joins the namespace later (exec, cp) arrives outside, in the machine's own root. setns(2) into the namespace that one
is in already leads to its true root; so all that here does starts there. The calling process must be single-threaded.
"""

import errno
import os
from typing import Final

from rundlet.linux import libc, mount, ns, pidfd

_LOOK: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def enter_namespace_root() -> None:
    """Make the mount namespace's root the root and the current directory. Raises: OSError."""
    own = pidfd.open(os.getpid())
    try:
        libc.setns(own, ns.CLONE_NEWNS)
    finally:
        os.close(own)


def isolate(propagation: int) -> None:
    """Give every mount of the namespace a ``propagation``, those outside a chroot too. Raises: OSError."""
    root, here = os.open("/", _LOOK), os.open(".", _LOOK)
    try:
        enter_namespace_root()
        mount.set_propagation("/", propagation)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(here)
    finally:
        os.close(root)
        os.close(here)


def leave_chroot() -> bool:
    """Where the root is no root of the namespace: make it one; what was outside is gone. True if there was need.

    For a mount namespace of one's own in which nothing is shared. The current directory becomes the root then;
    descriptors opened before belong to mounts that are gone. Raises: OSError.
    """
    root = os.open("/", _LOOK)
    try:
        enter_namespace_root()
        if _identity("/") == _identity_of(root):
            return False
        tree = mount.open_tree(root, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH | libc.AT_RECURSIVE)
        mount.move_mount(tree, root)
        os.fchdir(tree)
        os.close(tree)
        _pivot()
        os.chdir("/")
        return True
    finally:
        os.close(root)


def pivot() -> None:
    """Make the current directory, a mount's root, the root of the namespace; let go of everything else.

    Raises: OSError; EXDEV when somebody who joins the namespace would arrive elsewhere all the same.
    """
    new = os.open(".", _LOOK)
    try:
        enter_namespace_root()
        os.fchdir(new)
        _pivot()
        enter_namespace_root()
        if _numbers(os.stat("/")) != _numbers(os.fstat(new)):
            raise OSError(errno.EXDEV, "the mount namespace has another root", "/")
    finally:
        os.close(new)


def _pivot() -> None:
    libc.pivot_root(".", ".")
    # The old root is on top now: detach it, with all that was mounted below it.
    mount.umount(".", mount.MNT_DETACH)


def _identity(path: str) -> tuple[int, int, int]:
    fd = os.open(path, _LOOK)
    try:
        return _identity_of(fd)
    finally:
        os.close(fd)


def _identity_of(fd: int) -> tuple[int, int, int]:
    """Device, inode and mount: a bind of the machine's root onto another place has the same first two."""
    return *_numbers(os.fstat(fd)), libc.mount_id(fd)


def _numbers(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
