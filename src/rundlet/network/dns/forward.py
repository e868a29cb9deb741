"""Questions for others: asked of the host's resolvers (or the user's) by a socket of their own each.

A new socket means a new random port, and a new random number: whoever wants to slip us a wrong answer has to guess
both, and the question has to match.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final

from rundlet.linux import libc, ns
from rundlet.linux.loop import READ, WRITE, Loop
from rundlet.network.dns import message
from rundlet.network.dns.message import Query
from rundlet.network.dns.tables import Server

_PORT: Final = 53
_SECONDS: Final = 4.0  # for each server, as Docker waits
_SERVERS: Final = 3
_MOST: Final = 1024
_MOST_OF_ONE: Final = 256
_LARGEST: Final = 65535

Reply = Callable[[bytes | None], None]


class Forwarder:
    """``host`` is the descriptor of the host's network namespace, in which the process is."""

    def __init__(self, loop: Loop, host: int) -> None:
        self._loop = loop
        self._host = host
        self._open: dict[int, int] = {}
        self._all = 0
        self._exchanges: set[_Exchange] = set()

    def ask(
        self, namespace: int, query: Query, data: bytes, servers: Sequence[Server], reply: Reply, *, tcp: bool
    ) -> None:
        """Ask one server after the other; ``reply`` gets the first real answer, or None."""
        if self._all >= _MOST or self._open.get(namespace, 0) >= _MOST_OF_ONE or not servers:
            reply(None)
            return
        self._all += 1
        self._open[namespace] = self._open.get(namespace, 0) + 1

        def done(answer: bytes | None) -> None:
            self._exchanges.discard(exchange)
            self._all -= 1
            self._open[namespace] -= 1
            if not self._open[namespace]:
                del self._open[namespace]
            reply(answer)

        exchange = _Exchange(self, namespace, query, data, list(servers[:_SERVERS]), done, tcp=tcp)
        self._exchanges.add(exchange)
        exchange.next()

    def forget(self, namespace: int) -> None:
        """Its descriptor is about to be closed, and the number may be another's: nothing is asked from there now."""
        for exchange in [each for each in self._exchanges if each.namespace == namespace]:
            exchange.give_up()

    @property
    def loop(self) -> Loop:
        return self._loop

    def socket(self, namespace: int, server: Server, *, tcp: bool) -> socket.socket:
        """A socket on its way to the server. Raises: OSError."""
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        if server.from_host:
            made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        else:
            libc.setns(namespace, ns.CLONE_NEWNET)
            try:
                made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            finally:
                libc.setns(self._host, ns.CLONE_NEWNET)
        try:
            code = made.connect_ex((server.address, _PORT))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code), server.address)
        except BaseException:
            made.close()
            raise
        return made


class _Exchange:
    """One question on its way: server by server, until one answers."""

    def __init__(
        self,
        forwarder: Forwarder,
        namespace: int,
        query: Query,
        data: bytes,
        servers: list[Server],
        done: Reply,
        *,
        tcp: bool,
    ) -> None:
        self._forwarder = forwarder
        self._loop = forwarder.loop
        self.namespace = namespace
        self._query = query
        self._data = data
        self._servers = servers
        self._done = done
        self._tcp = tcp
        self._socket: socket.socket | None = None
        self._last: bytes | None = None
        self._number = 0
        self._buffer = b""
        self._outgoing = b""
        self._timer = self._loop.later(0, lambda: None)

    def next(self) -> None:
        """Ask the next server; after the last one, give what there is."""
        self._close()
        while self._servers:
            server = self._servers.pop(0)
            try:
                self._socket = self._forwarder.socket(self.namespace, server, tcp=self._tcp)
                self._begin(self._socket)
                return
            except OSError:
                self._close()
        self._done(self._last)

    def give_up(self) -> None:
        self._close()
        self._done(None)

    def _begin(self, made: socket.socket) -> None:
        self._number = int.from_bytes(os.urandom(2), "big")
        sent = message.with_id(self._data, self._number)
        self._timer = self._loop.later(_SECONDS, self.next)
        self._buffer = b""
        if self._tcp:
            self._outgoing = len(sent).to_bytes(2, "big") + sent
            self._loop.add(made.fileno(), WRITE, self._stream_ready)
        else:
            made.send(sent)
            self._loop.add(made.fileno(), READ, self._datagram)

    def _close(self) -> None:
        self._timer.cancel()
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _datagram(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self.next()  # Nobody listens there.
            return
        self._take(data)

    def _stream_ready(self, _events: int) -> None:
        assert self._socket is not None
        try:
            if self._outgoing:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
                if not self._outgoing:
                    self._loop.change(self._socket.fileno(), READ)
                return
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.next()
            return
        self._buffer += data
        length = int.from_bytes(self._buffer[:2], "big") if len(self._buffer) >= 2 else _LARGEST
        if len(self._buffer) >= length + 2:
            self._take(self._buffer[2 : length + 2])

    def _take(self, data: bytes) -> None:
        if not message.answers(data, self._number, self._query.question):
            if self._tcp:
                self.next()
            return  # Somebody else's guess: the real answer may still come.
        answer = message.with_id(data, self._query.id)
        if message.rcode_of(answer) in (message.SERVFAIL, message.REFUSED) and self._servers:
            self._last = answer
            self.next()
            return
        self._close()
        self._done(answer)
