"""Steps that fill /dev: nodes, links, the terminal.

Everything is made through the descriptor of the container's /dev, which no path of the image can redirect.
"""

import errno
import fcntl
import os
import stat
import struct
import termios
from collections.abc import Iterator
from typing import Final, NamedTuple

from rundlet.linux import libc, mount, path
from rundlet.runtime import protocol
from rundlet.runtime.init.steps import Context

_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_NULL: Final = os.makedev(1, 3)


class Node(NamedTuple):
    """A device node, ``path`` below /dev of the container."""

    path: str
    kind: str  # c, u, b or p
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


class MakeDevices(NamedTuple):
    """mknod for each device, or in a user namespace the machine's own nodes, mounted."""

    nodes: tuple[Node, ...]
    step: str = "device"

    def describe(self) -> str:
        return "devices " + " ".join(node.path for node in self.nodes)

    def execute(self, context: Context) -> None:
        old = os.umask(0)
        try:
            for node in self.nodes:
                self._node(context, node)
        finally:
            os.umask(old)
        context.null = _own_null(context)

    def _node(self, context: Context, node: Node) -> None:
        directory, name, close = parent(context, node.path)
        kind = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(node.kind, stat.S_IFCHR)
        number = 0 if node.kind == "p" else os.makedev(node.major, node.minor)
        try:
            try:
                os.mknod(name, kind | node.mode, number, dir_fd=directory)
            except FileExistsError:
                # A user's own /dev: what is there must be the device, not something that looks like it.
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if found.st_mode != kind | node.mode and (stat.S_IFMT(found.st_mode), found.st_rdev) != (kind, number):
                    raise
            except PermissionError:
                _bind_node(directory, name, node.path, kind, number)
                return
            if node.uid or node.gid:
                os.chown(name, node.uid, node.gid, dir_fd=directory, follow_symlinks=False)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, node.path) from None
        finally:
            if close:
                os.close(directory)


class LinkDevices(NamedTuple):
    """The links that every program expects in /dev."""

    links: tuple[tuple[str, str], ...]  # name, target
    step: str = "device"

    def describe(self) -> str:
        return "links " + " ".join(name for name, _ in self.links)

    def execute(self, context: Context) -> None:
        directory = context.dev if context.dev >= 0 else path.makedirs_in_root(context.root, "/dev")
        for name, target in self.links:
            try:
                os.symlink(target, name, dir_fd=directory)
            except FileExistsError:
                pass  # the image's or the user's own
        if directory != context.dev:
            os.close(directory)


class OpenTerminal(NamedTuple):
    """A terminal from the container's own devpts: master to the shim, slave for the process and on /dev/console."""

    rows: int
    columns: int
    uid: int
    bind_console: bool
    step: str = "console"

    def describe(self) -> str:
        return f"terminal {self.rows}x{self.columns}"

    def execute(self, context: Context) -> None:
        pts, owned = context.pts, context.pts < 0
        if owned:
            pts = path.open_in_root(context.root, "/dev/pts", os.O_PATH | os.O_DIRECTORY)
        try:
            mount.require_filesystem(pts, mount.DEVPTS_SUPER_MAGIC, "/dev/pts")
            master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=pts)
        finally:
            if owned:
                os.close(pts)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("=i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        if self.rows or self.columns:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("=4H", self.rows, self.columns, 0, 0))
        os.fchown(slave, self.uid, -1)
        if self.bind_console and context.dev >= 0:
            self._bind(context.dev, slave)
        send_master(context.master_to, master)
        os.close(master)
        context.console = slave

    def _bind(self, dev: int, slave: int) -> None:
        """The slave itself is mounted, not what a path leads to (CVE-2025-52565)."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open("console", flags, 0o600, dir_fd=dev))
        except FileExistsError:
            pass
        where = path.openat2(dev, "console", os.O_PATH, 0, path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS)
        clone = mount.open_tree(slave, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH)
        mount.move_mount(clone, where)
        os.close(clone)
        os.close(where)


def send_master(socket_fd: int, master: int) -> None:
    """Hand the master to the shim."""
    import socket

    sock = socket.socket(fileno=socket_fd)
    try:
        protocol.send_packet(sock, b"master", [master])
    finally:
        sock.detach()


def _bind_node(directory: int, name: str, where: str, kind: int, number: int) -> None:
    """The machine's own node, mounted: nobody can make one in a user namespace. Raises: PermissionError."""
    for source in _places(where, kind, number):
        try:
            clone = mount.open_tree(libc.AT_FDCWD, source, mount.OPEN_TREE_CLONE)
        except OSError:
            continue
        try:
            found = os.fstat(clone)
            if (stat.S_IFMT(found.st_mode), found.st_rdev) == (kind, number):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o666, dir_fd=directory))
                mount.move_mount(clone, directory, name)
                return
        finally:
            os.close(clone)
    raise libc.error(errno.EPERM, where)


def _places(where: str, kind: int, number: int) -> Iterator[str]:
    """Where the machine's node may be: it often has the same name; udev lists them by number, if there is one."""
    yield where
    yield f"/dev/{'block' if kind == stat.S_IFBLK else 'char'}/{os.major(number)}:{os.minor(number)}"
    for name in os.listdir("/dev"):
        found = os.lstat(f"/dev/{name}")
        if (stat.S_IFMT(found.st_mode), found.st_rdev) == (kind, number):
            yield f"/dev/{name}"


def parent(context: Context, name: str) -> tuple[int, str, bool]:
    """The directory descriptor for ``name``, its last part, and whether to close the descriptor."""
    directory, _, last = name.rpartition("/")
    if directory == "/dev" and context.dev >= 0:
        return context.dev, last, False
    return path.makedirs_in_root(context.root, directory or "/"), last, True


def _own_null(context: Context) -> int:
    """A descriptor of a /dev/null that is one, whatever the image or another container put there (CVE-2025-31133)."""
    try:
        if context.dev >= 0:
            flags = path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS
            fd = path.openat2(context.dev, "null", os.O_PATH, 0, flags)
        else:
            fd = path.open_in_root(context.root, "/dev/null", os.O_PATH)
    except FileNotFoundError:
        return -1
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL:
        os.close(fd)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "/dev/null")
    return fd
