"""The connections of a worker that serves for as long as somebody is connected to it, and ends soon after.

Who connects (the engine, or a container's shim) sends messages, with descriptors; the end of a connection is the end of
what it stands for. Only root and the worker's own user are heard.
"""

import array
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from rundlet.linux.loop import READ, Loop

_GRACE: Final = 1.0  # seconds without anybody, then it ends
_PAUSE: Final = 0.1  # seconds until connections are taken again, where there was no descriptor for one
_MAX_MESSAGE: Final = 16384


Held = TypeVar("Held")


class Connections(Generic[Held]):
    """Accepts at ``listener`` (SEQPACKET) and hands each message on.

    ``heard(message, descriptors, connection, held)`` returns what the connection stands for from now on; ``held`` is
    what it stood for, None at first. An error about the message or its descriptors ends the connection and closes the
    descriptors. ``ended(held)`` is called with what a connection stood for when that has ended.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        heard: Callable[[bytes, list[int], socket.socket, Held | None], Held | None],
        ended: Callable[[Held], None],
        *,
        most_fds: int,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._heard = heard
        self._ended = ended
        self._most_fds = most_fds
        self._open: dict[int, tuple[socket.socket, Held | None]] = {}
        self._ending = loop.later(_GRACE, loop.stop)
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._loop.add(self._listener.fileno(), READ, self._accept)

    def held(self) -> list[Held]:
        """What the open connections stand for."""
        return [held for _connection, held in self._open.values() if held is not None]

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # no descriptor, no memory: it would be reported at once again, and again
            self._loop.remove(self._listener.fileno())
            self._loop.later(_PAUSE, self._listen)
            return
        if _user_of(connection) not in (0, os.geteuid()):
            connection.close()
            return
        connection.setblocking(False)
        self._ending.cancel()
        number = connection.fileno()
        self._open[number] = (connection, None)
        self._loop.add(number, READ, lambda _events: self._readable(number))

    def _readable(self, number: int) -> None:
        connection, held = self._open[number]
        try:
            data, fds = self._receive(connection)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._drop(number, fds)
            return
        try:
            self._open[number] = (connection, self._heard(data, fds, connection, held))
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            self._drop(number, fds)

    def _receive(self, connection: socket.socket) -> tuple[bytes, list[int]]:
        size = socket.CMSG_SPACE(self._most_fds * 4)
        data, ancillary, _, _ = connection.recvmsg(_MAX_MESSAGE, size, socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        return data, list(fds)

    def _drop(self, number: int, fds: list[int]) -> None:
        connection, held = self._open.pop(number)
        self._loop.remove(number)
        connection.close()
        if held is not None:
            self._ended(held)
        for fd in fds:
            _close(fd)
        if not self._open:
            self._ending = self._loop.later(_GRACE, self._loop.stop)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # a socket object has had it


def _user_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
    user: int = struct.unpack("=3i", credentials)[1]
    return user
