"""How a worker gets to see a container's file system, and nothing else. Standard library and ``linux`` only.

Of a running container the worker joins the mount namespace and leaves it at once for a private copy: it sees what the
container sees. Of a stopped one it mounts the overlay, and the volumes on top, in a namespace of its own. Either way
the copy is ``nodev`` (a container can make device nodes that it could not open, and put one in the place of a file) and
``read-only`` for readers, and the root is the container's: no path leads out.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NotRequired, TypedDict

from rundlet.linux import copyup, libc, mount, ns, path, roots, usermap

_ATTRIBUTES: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_NAMESPACES: Final = ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS


class Bind(TypedDict):
    """Something of the host's, to be mounted at ``destination``; ``source`` may be missing.

    ``layers`` (directories, topmost first) are an image's, merged in the place of a source. ``fill``: a volume that is
    to begin with what the root has there.
    """

    source: str
    destination: str
    readonly: bool
    subpath: NotRequired[str]
    layers: NotRequired[list[str]]
    fill: NotRequired[bool]


class Sub(TypedDict):
    """An overlay of its own at ``destination`` inside the root."""

    lower: list[str]
    upper: str
    work: str
    destination: str


class Layers(TypedDict):
    """What a stopped container's root is mounted from, at ``merged``, with ``below`` and ``binds`` parents first."""

    lower: list[str]
    upper: str
    work: str
    merged: str
    binds: list[Bind]
    below: NotRequired[list[Sub]]
    path: NotRequired[str]
    """Where all of it is as plain files: nothing is mounted then."""


def enter_running(namespaces: Sequence[int], *, readonly: bool, submounts: bool, hidden: Sequence[str] = ()) -> int:
    """Enter a copy of a container's mount namespace; without ``submounts`` only its root file system.

    ``namespaces``, which are closed, are that one and perhaps its user namespace. ``hidden`` are directories that the
    container has covered. Returns a descriptor of the root. Raises: OSError.
    """
    mounts, *users = namespaces
    for user in users:
        usermap.enter(user)
        usermap.become_root()
        os.close(user)
    libc.setns(mounts, ns.CLONE_NEWNS)
    os.close(mounts)
    libc.unshare(_NAMESPACES)
    mount.set_propagation("/", mount.MS_PRIVATE)
    if not submounts:
        tree = mount.open_tree(libc.AT_FDCWD, "/", mount.OPEN_TREE_CLONE)
        mount.move_mount(tree, libc.AT_FDCWD, "/", 0)
        os.fchdir(tree)
        os.close(tree)
        libc.pivot_root(".", ".")
        mount.umount(".", mount.MNT_DETACH)
        os.chdir("/")
        _cover(hidden)
    elif readonly:
        _without_the_kernel_s()
    return _opened_root(readonly)


def _without_the_kernel_s() -> None:
    """Of /proc and /sys nothing is copied, as by Docker: who copies the whole root would meet what can't be read."""
    for place in ("/proc", "/sys"):
        with suppress(OSError):  # not mounted in every container
            mount.umount(place, mount.MNT_DETACH)


def enter_stopped(layers: Layers, *, readonly: bool, hidden: Sequence[str] = ()) -> int:
    """Mount the container's root and go there; with ``readonly`` nothing of its upper directory is touched.

    ``hidden`` are directories that the container would cover. Returns a descriptor of the root. Raises: OSError.
    """
    libc.unshare(_NAMESPACES)
    roots.isolate(mount.MS_PRIVATE)
    sources = [(_source(bind, layers["merged"]), bind) for bind in layers["binds"]]
    mount.attach(_whole(layers, readonly=readonly), layers["merged"])
    root = os.open(layers["merged"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for sub in layers.get("below", ()):
        tree = _overlay(sub, readonly=readonly)
        where = path.open_in_root(root, sub["destination"], os.O_PATH | os.O_DIRECTORY)
        mount.move_mount(tree, where)
        os.close(where)
        os.close(tree)
    for source, bind in sources:
        if source >= 0 and bind.get("fill"):
            copyup.fill(root, bind["destination"], source)
    for source, bind in sources:
        if source >= 0:
            _bind(root, source, bind)
    os.fchdir(root)
    os.close(root)
    roots.pivot()
    _cover(hidden)
    return _opened_root(readonly)


def _whole(layers: Layers, *, readonly: bool) -> int:
    where = layers.get("path")
    if where is None:
        return _overlay(layers, readonly=readonly)
    return mount.open_tree(libc.AT_FDCWD, where, mount.OPEN_TREE_CLONE)


def _overlay(layers: Layers | Sub, *, readonly: bool) -> int:
    if readonly:
        try:
            return mount.overlay([layers["upper"], *layers["lower"]], readonly=True)
        except OSError as exc:
            # No two lower directories may lie one in the other, as they do where the machine's own root is one. Made
            # to be written it is fine, and nobody will: the mount is read-only in the end.
            if exc.errno != errno.ELOOP:
                raise
    return mount.overlay(layers["lower"], layers["upper"], layers["work"])


def _source(bind: Bind, free: str) -> int:
    """``free`` is a directory that nothing is mounted on yet: the kernel clones attached mounts only (before 6.15)."""
    layers = bind.get("layers")
    if layers is None:
        return _clone(bind)
    if len(layers) == 1:  # an overlay wants two
        return _clone({**bind, "source": layers[0]})
    tree = mount.overlay(layers, readonly=True)
    if not bind.get("subpath"):
        return tree
    mount.move_mount(tree, libc.AT_FDCWD, free)
    try:
        return _clone({**bind, "source": free})
    finally:
        mount.umount(free, mount.MNT_DETACH)
        os.close(tree)


def _clone(bind: Bind) -> int:
    flags = mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE
    subpath = bind.get("subpath")
    try:
        if not subpath:
            return mount.open_tree(libc.AT_FDCWD, bind["source"], flags)
        source = os.open(bind["source"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            inner = path.openat2(source, subpath, os.O_PATH, 0, path.RESOLVE_BENEATH | path.RESOLVE_NO_MAGICLINKS)
            try:
                return mount.open_tree(inner, "", flags | libc.AT_EMPTY_PATH)
            finally:
                os.close(inner)
        finally:
            os.close(source)
    except FileNotFoundError:
        return -1  # a host directory that is gone: at the next start it would be made again


def _bind(root: int, source: int, bind: Bind) -> None:
    destination = bind["destination"]
    try:
        is_directory = os.path.isdir(f"/proc/self/fd/{source}")
        make = path.makedirs_in_root if is_directory else path.touch_in_root
        where = make(root, destination)
    except OSError as exc:
        os.close(source)
        if exc.errno == errno.EROFS:
            return  # a container that never ran has no mount points yet
        raise
    try:
        if bind["readonly"]:
            mount.mount_setattr(source, "", mount.MOUNT_ATTR_RDONLY, recursive=True)
        mount.move_mount(source, where)
    finally:
        os.close(where)
        os.close(source)


def _cover(places: Sequence[str]) -> None:
    """Show nothing of what is there."""
    for place in places:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            where = path.open_in_root(root, place, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        finally:
            os.close(root)
        tree = mount.new_filesystem("tmpfs", {"source": "tmpfs", "mode": "0700", "size": "4k"})
        mount.move_mount(tree, where)
        os.close(tree)
        os.close(where)


def _opened_root(readonly: bool) -> int:
    attributes = _ATTRIBUTES | (mount.MOUNT_ATTR_RDONLY if readonly else 0)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount.mount_setattr(root, "", attributes, recursive=True)
    except OSError as exc:
        os.close(root)
        if exc.errno != errno.ENOSYS:  # before Linux 5.12
            raise
        return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.close(root)
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def evaluate(root: int, name: str) -> tuple[str, bool]:
    """``name`` with every link followed inside the root, as far as it exists: (absolute path, whether all of it does).

    Raises: OSError (ELOOP: too many links).
    """
    words = [word for word in name.split("/") if word not in ("", ".")][::-1]
    found: list[str] = []
    links = 0
    while words:
        word = words.pop()
        if word == "..":
            found = found[:-1]
            continue
        if word in ("", "."):
            continue
        target = _link("/".join((*found, word)), root)
        if target is None:
            found.append(word)
        elif target is _MISSING:
            return "/" + "/".join((*found, word, *words[::-1])), False
        else:
            links += 1
            if links > 255:
                raise libc.error(errno.ELOOP, name)
            if target.startswith("/"):
                found = []
            words += target.split("/")[::-1]
    return "/" + "/".join(found), True


_MISSING: Final = "\0missing"


def _link(name: str, root: int) -> str | None:
    """What the link ``name`` says; None for anything else."""
    try:
        fd = path.openat2(root, name, os.O_PATH | os.O_NOFOLLOW, 0, path.RESOLVE_IN_ROOT | path.RESOLVE_NO_MAGICLINKS)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    try:
        return os.readlink("", dir_fd=fd)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT):  # not a link
            return None
        raise
    finally:
        os.close(fd)


def contains(destination: str, name: str) -> bool:
    """Whether the absolute path ``name`` is ``destination`` or below it."""
    return name == destination or name.startswith(destination.rstrip("/") + "/")


def deepest(mounts: Sequence[tuple[str, bool]], name: str) -> tuple[str, bool] | None:
    """The mount (destination, writable) that ``name`` lies in."""
    found = [item for item in mounts if contains(item[0], name)]
    return max(found, key=lambda item: len(item[0])) if found else None
