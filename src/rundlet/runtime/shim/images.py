"""Sources of mounts that are more than a path: the files of an image, a path beneath a volume.

Standard library and ``linux`` only: the starter uses it.
"""

import errno
import os
from collections.abc import Sequence

from rundlet.linux import libc, mount, path

_BENEATH = path.RESOLVE_BENEATH | path.RESOLVE_NO_MAGICLINKS


def beneath(source: str, subpath: str, flags: int) -> int:
    """A clone of what ``subpath`` in the directory ``source`` is; a link that leads out is refused. Raises: OSError."""
    root = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _clone(root, subpath, flags, source)
    finally:
        os.close(root)


def mount_layers(layers: Sequence[str], subpath: str, place: str) -> int:
    """The merged ``layers`` (directories, topmost first), or ``subpath`` in them, as a read-only mount of its own.

    ``place`` is a directory that is free to be mounted on for a moment: the kernel clones attached mounts only (before
    6.15), and an overlay wants two layers. Raises: OSError.
    """
    if len(layers) == 1:
        return _readonly(beneath(layers[0], subpath or ".", mount.OPEN_TREE_CLONE))
    whole = mount.overlay([*layers], readonly=True) if layers else mount.new_filesystem("tmpfs", {"mode": "755"})
    if not subpath:
        return _readonly(whole)
    try:
        mount.move_mount(whole, libc.AT_FDCWD, place)
        try:
            return _readonly(_clone(whole, subpath, mount.OPEN_TREE_CLONE, "."))
        finally:
            mount.umount(place, mount.MNT_DETACH)
    finally:
        os.close(whole)


def _clone(root: int, subpath: str, flags: int, base: str) -> int:
    try:
        inner = path.openat2(root, subpath, os.O_PATH, 0, _BENEATH)
    except OSError as exc:
        why = "path concatenation escapes the base directory" if exc.errno == errno.EXDEV else "cannot access path"
        raise OSError(exc.errno, exc.strerror, f"{why} {base}/{subpath}") from None
    try:
        return mount.open_tree(inner, "", flags | libc.AT_EMPTY_PATH)
    finally:
        os.close(inner)


def _readonly(tree: int) -> int:
    try:
        mount.mount_setattr(tree, "", mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOSUID)
    except OSError:
        os.close(tree)
        raise
    return tree
