"""A terminal for ``run -t`` and ``exec -t`` without a console socket: this process carries between it and its own."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty
from collections.abc import Iterator
from typing import Final

from rundlet.linux import pidfd
from rundlet.runtime import protocol
from rundlet.runtime.command.errors import CommandError

_CHUNK: Final = 1 << 16


def connect(path: str) -> int:
    """A connection, as to ``--console-socket``, which the terminal's master is sent to. Raises: CommandError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory, name = os.path.split(os.path.abspath(path))
    try:
        # By its directory's descriptor: the kernel takes at most 107 bytes.
        opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{opened}/{name}")
        finally:
            os.close(opened)
    except OSError as exc:
        raise CommandError(f"socket {path}: {exc.strerror}") from exc
    return sock.detach()


def pair() -> tuple[socket.socket, int]:
    """Our end, and the one for the container's first process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, theirs.detach()


def take(ours: socket.socket) -> int:
    """The master that came. Raises: CommandError."""
    with ours:
        _, fds = protocol.receive_packet(ours, 16)
    if len(fds) != 1:
        raise CommandError("no terminal was received")
    return fds[0]


def send_pidfd(path: str, pid: int) -> None:
    """Hand a descriptor of the process to who listens at ``--pidfd-socket``. Raises: CommandError, OSError."""
    with socket.socket(fileno=connect(path)) as sock:
        process = pidfd.open(pid)
        try:
            socket.send_fds(sock, [b"pidfd"], [process])
        finally:
            os.close(process)


def carry(master: int, process: int) -> None:
    """Both ways until the process (a pidfd) has ended and its output is through."""
    with _raw(), _resizing(master):
        poll = select.poll()
        poll.register(master, select.POLLIN)
        poll.register(0, select.POLLIN)
        poll.register(process, select.POLLIN)
        ended = False
        while True:
            ready = dict(poll.poll(0 if ended else None))
            if 0 in ready:
                read = os.read(0, _CHUNK)
                if read:
                    _write(master, read)
                else:
                    poll.unregister(0)
            if master in ready:
                try:
                    _write(1, os.read(master, _CHUNK))
                except OSError:
                    return  # EIO: nobody has the other side open any more
            elif ended:
                return
            if process in ready and not ended:
                ended = True
                poll.unregister(process)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    outer = termios.tcgetattr(0)
    outer[1] |= termios.OPOST  # the container's terminal leaves line ends to this one
    termios.tcsetattr(0, termios.TCSANOW, outer)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(master: int) -> Iterator[None]:
    def resize(*_: object) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, struct.pack("=4H", 0, 0, 0, 0))
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)

    if not os.isatty(0):
        yield
        return
    resize()
    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
