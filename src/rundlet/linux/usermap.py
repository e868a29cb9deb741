"""User namespaces of a container's own: making one, and showing files through it.

A container whose users are mapped has files with *its* numbers on the disk: an idmapped mount turns them into those of
its range when it looks at them, and back when it writes. Two steps need to be somebody whom such a mount knows:
:func:`acting_as`. Standard library and this room only: the launcher's children use it.

See: user_namespaces(7); mount_setattr(2), "ID-mapped mounts"; Documentation/filesystems/idmappings.rst.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from rundlet.linux import caps, libc, mount, ns

_Seen = TypeVar("_Seen")
LEAST_KERNEL: Final = (5, 19)
"""From here on overlayfs takes idmapped layers."""


class NotMappableError(ValueError):
    def __init__(self, where: str) -> None:
        super().__init__(f"{where}: its file system takes no idmapped mounts")


class Range(NamedTuple):
    """``size`` users or groups that are ``inside``, ``inside`` + 1 … in the namespace and ``outside`` … around it."""

    inside: int
    outside: int
    size: int


def parse(entries: Iterable[Mapping[str, Any]]) -> tuple[Range, ...]:
    """OCI's ``uidMappings`` or ``gidMappings``."""
    return tuple(Range(item["containerID"], item["hostID"], item["size"]) for item in entries)


def outside(ranges: Iterable[Range], number: int) -> int:
    """What ``number`` is called outside of the namespace. Raises: ValueError where it is nobody there."""
    for item in ranges:
        if item.inside <= number < item.inside + item.size:
            return item.outside + number - item.inside
    raise ValueError(f"the container has no user or group {number}: it is outside of its range")


def make(users: Sequence[Range], groups: Sequence[Range], flags: int = 0) -> list[int]:
    """A new user namespace, and those of ``flags`` (``CLONE_NEWNET``, …) owned by it, as descriptors in this order.

    For a single-threaded process that may set any map, root's: it stays where it is. Raises: OSError.
    """
    kinds = ["user", *(kind for kind, flag in ns.FLAGS.items() if flags & flag)]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child, _ = libc.clone3(ns.CLONE_NEWUSER | flags, pidfd=False)
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # until the one who wants the namespaces has them, or is gone
        os._exit(0)
    os.close(reading)
    try:
        for name, ranges in (("gid_map", groups), ("uid_map", users)):
            write(f"/proc/{child}/{name}", "".join(f"{a} {b} {c}\n" for a, b, c in ranges))
        return [ns.open_namespace(child, kind) for kind in kinds]
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def within(namespace: int, flags: int) -> list[int]:
    """New namespaces of ``flags``, owned by the user ``namespace``, as descriptors. Raises: OSError."""
    kinds = [kind for kind, flag in ns.FLAGS.items() if flags & flag]
    return _visit(namespace, flags, lambda child: [ns.open_namespace(child, kind) for kind in kinds])


def maps(namespace: int) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """The users and groups of a user ``namespace`` that is there already. Raises: OSError."""
    return _visit(namespace, 0, lambda child: (_read(f"/proc/{child}/uid_map"), _read(f"/proc/{child}/gid_map")))


def _visit(namespace: int, flags: int, look: Callable[[int], _Seen]) -> _Seen:
    """What ``look`` sees of a process that has moved into the user ``namespace`` and made those of ``flags``."""
    near, far = socket.socketpair()
    child, _ = libc.clone3(0, pidfd=False)
    if child == 0:
        near.close()
        try:
            enter(namespace)
            libc.unshare(flags)
            far.send(b"0")
            far.recv(1)  # until the one who wants the namespaces has them, or is gone
        finally:
            os._exit(1)
    far.close()
    try:
        with near:
            if not near.recv(1):
                raise OSError(errno.EPERM, os.strerror(errno.EPERM), "user namespace to join")
            return look(child)
    finally:
        os.waitpid(child, 0)


def _read(path: str) -> tuple[Range, ...]:
    with open(path, encoding="ascii") as file:
        return tuple(Range(*(int(word) for word in line.split())) for line in file)


def show(tree: int, namespace: int, where: str, *, recursive: bool = False) -> None:
    """Have the mount descriptor ``tree``, attached nowhere yet, map its files' owners by the user ``namespace``.

    Raises: NotMappableError where the file system of ``where`` can't, OSError.
    """
    try:
        mount.mount_setattr(tree, "", mount.MOUNT_ATTR_IDMAP, recursive=recursive, userns_fd=namespace)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise NotMappableError(where) from exc
        raise


def enter(namespace: int) -> None:
    """Move into the user namespace; what this process owns outside stays its own until :func:`become_root`."""
    libc.setns(namespace, ns.CLONE_NEWUSER)


def become_root() -> None:
    """Be the root of the namespace that this process is in, and nobody outside."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


@contextmanager
def acting_as(user: int, group: int) -> Iterator[None]:
    """What is made and mounted meanwhile is that user's; the capabilities stay root's."""
    effective, permitted, inheritable = caps.get_capabilities()
    libc.call("setfsgid", group)
    libc.call("setfsuid", user)  # takes what has to do with files out of the effective set
    caps.set_capabilities(effective, permitted, inheritable)
    try:
        yield
    finally:
        libc.call("setfsuid", os.geteuid())
        libc.call("setfsgid", os.getegid())
        caps.set_capabilities(effective, permitted, inheritable)


def write(path: str, text: str) -> None:
    """To a file of /proc that takes one write only. Raises OSError, which names it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        os.close(fd)
