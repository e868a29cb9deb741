"""TCP connections passed on, both ways, with one buffer's worth of memory in all as long as everyone keeps up."""

import errno
import socket
from collections.abc import Callable
from typing import Final

from rundlet.network.dns.loop import Loop

_SIZE: Final = 1 << 18  # bytes
_TURNS: Final = 16  # buffers in a row, before it is others' turn
_EVENTS: Final = 0x1 | 0x4 | (1 << 31)  # EPOLLIN | EPOLLOUT | EPOLLET

_buffer = bytearray(_SIZE)
_view = memoryview(_buffer)


class _Direction:
    """From one socket into the other; ``waiting`` is what the other did not take yet."""

    __slots__ = ("done", "ended", "sink", "source", "waiting")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting = b""
        self.ended = False
        self.done = False

    def pump(self) -> bool:
        """Until one of the two has to wait; True when there may be more to do at once. Raises: OSError."""
        for _ in range(_TURNS):
            if self.done:
                return False
            if self.waiting:
                self.waiting = self.waiting[self._send(self.waiting) :]
                if self.waiting:
                    return False
            if self.ended:
                self.done = True
                self.sink.shutdown(socket.SHUT_WR)
                return False
            try:
                length = self.source.recv_into(_buffer)
            except BlockingIOError:
                return False
            if not length:
                self.ended = True
                continue
            sent = self._send(_view[:length])
            if sent < length:
                self.waiting = bytes(_view[sent:length])
        return True

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sink.send(data)
        except BlockingIOError:
            return 0


class Relay:
    """``client`` is connected, ``server`` on its way; both are closed at the end, which ``gone`` is told."""

    def __init__(
        self, loop: Loop, client: socket.socket, target: tuple[str, int], gone: "Callable[[Relay], None]"
    ) -> None:
        """Raises: OSError when there is no way to the target; the caller closes ``client`` then."""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        code = server.connect_ex(target)
        if code not in (0, errno.EINPROGRESS):
            server.close()
            raise OSError(code, "connect")
        client.setblocking(False)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._ends = (client, server)
        self._gone = gone
        self._directions = (_Direction(client, server), _Direction(server, client))
        self._connected = False
        self._open = True
        for end in self._ends:
            loop.add(end.fileno(), _EVENTS, self._ready)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        for end in self._ends:
            self._loop.remove(end.fileno())
            end.close()
        self._gone(self)

    def _ready(self, _events: int = 0) -> None:
        if not self._open:
            return
        try:
            if not self._connected and not self._reached():
                return
            more = [direction.pump() for direction in self._directions]
        except OSError:
            self.close()
            return
        if all(direction.done for direction in self._directions):
            self.close()
        elif any(more):
            self._loop.later(0, self._ready)

    def _reached(self) -> bool:
        """Whether the server has taken the connection. Raises: OSError when it has not."""
        server = self._ends[1]
        code = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect")
        try:
            server.getpeername()
        except OSError:
            return False
        self._connected = True
        return True
