"""TCP connections passed on, both ways: socket to pipe to socket inside the kernel, without a copy in this process.

A direction has a pipe only while something is on its way in it.
"""

import fcntl
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from rundlet.linux.loop import Loop
from rundlet.network.proxy.clients import own_socket

_SIZES: Final = (1 << 20, 256 << 10)
"""Bytes of a pipe: of the first few at a time, and of the others. Pages move, not what is on them: the fewer pieces the
better. But a process without rights may have 64 MB of pipes, and beyond that tiny ones."""
_LARGE: Final = 16
"""Pipes of the first size at a time."""
_TURNS: Final = 16  # pieces in a row, before it is others' turn
_MUCH: Final = 1 << 16  # bytes that came at once: more of them will
_LOOKS: Final = 5
"""Times to let others run and look again, after much has come: to sleep and to be woken takes longer than that."""
_EVENTS: Final = 0x1 | 0x4 | (1 << 31)  # EPOLLIN | EPOLLOUT | EPOLLET
_OUT: Final = 0x4
_SPLICE: Final = 0x1 | 0x2  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


class Pipe:
    """Without waiting at either end, of the first size if there are few of these."""

    __slots__ = ("_counted", "reader", "size", "writer")
    large = 0
    """How many there are of the first size."""

    def __init__(self) -> None:
        """Raises: OSError."""
        self._counted = Pipe.large < _LARGE
        self.size = _SIZES[0 if self._counted else 1]
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        Pipe.large += self._counted
        try:
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, self.size)
        except OSError:
            pass  # More than its share of pipes for this user: the usual size does, too.

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)
        Pipe.large -= self._counted


class _Direction:
    """From one socket into the other; ``waiting`` bytes in the pipe are what the other did not take yet.

    ``heard`` says that the source may have something: asking one that has nothing would take a pipe each time.
    """

    __slots__ = ("done", "ended", "heard", "pipe", "sink", "source", "waiting")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pipe: Pipe | None = None
        self.waiting = 0
        self.heard = False
        self.ended = False
        self.done = False

    def pump(self) -> bool:
        """Until one of the two has to wait; True when there may be more to do at once. Raises: OSError."""
        looks = 0
        for _ in range(_TURNS):
            if self.done:
                return False
            if self._move():
                if self.waiting >= _MUCH:
                    looks = _LOOKS
            elif looks:
                looks -= 1
                os.sched_yield()
                self.heard = True
            else:
                if not self.waiting:
                    self.close()
                return False
        return True

    def _move(self) -> bool:
        """One piece, or the end; False when one of the two has to wait. Raises: OSError."""
        if self.waiting and not self._drain():
            return False
        if self.ended:
            self.done = True
            self.sink.shutdown(socket.SHUT_WR)
            return True
        return self._fill()

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def _fill(self) -> bool:
        """False when nothing has come. Raises: OSError."""
        if not self.heard:
            return False
        if self.pipe is None:
            self.pipe = Pipe()
        try:
            length = os.splice(self.source.fileno(), self.pipe.writer, self.pipe.size, flags=_SPLICE)
        except BlockingIOError:
            self.heard = False
            return False
        if length:
            self.waiting = length
        else:
            self.ended = True
        return True

    def _drain(self) -> bool:
        """False while the sink does not take all. Raises: OSError."""
        assert self.pipe is not None
        while self.waiting:
            try:
                self.waiting -= os.splice(self.pipe.reader, self.sink.fileno(), self.waiting, flags=_SPLICE)
            except BlockingIOError:
                return False
        return True


class Relay:
    """``client`` is connected, ``server`` on its way; both are closed at the end, which ``gone`` is told."""

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        target: tuple[str, int],
        gone: "Callable[[Relay], None]",
        source: tuple[str, int] | None = None,
    ) -> None:
        """``source`` is the address that the target is to see, where that can be.

        Raises: OSError when there is no way to the target; the caller closes ``client`` then.
        """
        server = own_socket(socket.SOCK_STREAM, target, source)
        client.setblocking(False)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._ends = (client, server)
        self._gone = gone
        self._directions = (_Direction(client, server), _Direction(server, client))
        self._connected = False
        self._open = True
        for end, direction in zip(self._ends, self._directions, strict=True):
            loop.add(end.fileno(), _EVENTS, partial(self._event, direction))

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        for end in self._ends:
            self._loop.remove(end.fileno())
            end.close()
        for direction in self._directions:
            direction.close()
        self._gone(self)

    def _event(self, direction: _Direction, events: int) -> None:
        """Something happened to the socket that ``direction`` comes from."""
        if events & ~_OUT:
            direction.heard = True
        self._ready()

    def _ready(self) -> None:
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
