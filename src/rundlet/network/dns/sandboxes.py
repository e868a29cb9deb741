"""One sandbox's side of the resolver: its two sockets, the clients that ask by TCP."""

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from rundlet.linux.loop import READ, WRITE, Loop
from rundlet.network.dns import message
from rundlet.network.dns.forward import Forwarder
from rundlet.network.dns.message import FormatError
from rundlet.network.dns.tables import Tables

_AT_ONCE: Final = 16  # datagrams, before it is others' turn
_MOST_CLIENTS: Final = 64
_IDLE: Final = 10.0  # seconds
_PAUSE: Final = 0.1  # seconds until clients are taken again, where there was no descriptor for one
_LARGEST: Final = 65535
_MOST_WAITING: Final = 1 << 20  # bytes of answers that a client doesn't take

Answer = Callable[[bytes], None]


class Sandbox:
    """Owns its descriptors until :meth:`close`."""

    def __init__(
        self, loop: Loop, tables: Tables, forwarder: Forwarder, identifier: str, fds: tuple[int, int, int]
    ) -> None:
        self._loop = loop
        self._tables = tables
        self._forwarder = forwarder
        self.identifier = identifier
        self._udp = socket.socket(fileno=fds[0])
        self._tcp = socket.socket(fileno=fds[1])
        self._namespace = fds[2]
        self._clients: set[_Client] = set()
        self._closed = False
        self._udp.setblocking(False)
        self._tcp.setblocking(False)
        loop.add(self._udp.fileno(), READ, self._datagrams)
        self._listen()

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add(self._tcp.fileno(), READ, self._connections)

    def close(self) -> None:
        self._closed = True
        for listening in (self._udp, self._tcp):
            self._loop.remove(listening.fileno())
            listening.close()
        for client in list(self._clients):
            client.close()
        self._forwarder.forget(self._namespace)
        os.close(self._namespace)

    def _datagrams(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, peer = self._udp.recvfrom(_LARGEST)
            except OSError:
                return
            self.handle(data, partial(self._send, peer), tcp=False)

    def _send(self, peer: tuple[str, int], answer: bytes) -> None:
        if not self._closed:
            try:
                self._udp.sendto(answer, peer)
            except OSError:
                pass  # The client will ask again.

    def _connections(self, _events: int) -> None:
        try:
            connection, _ = self._tcp.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # no descriptor, no memory: it would be reported at once again, and again
            self._loop.remove(self._tcp.fileno())
            self._loop.later(_PAUSE, self._listen)
            return
        if len(self._clients) >= _MOST_CLIENTS:
            connection.close()
            return
        self._clients.add(_Client(self._loop, self, connection, self._clients.discard))

    def handle(self, data: bytes, answer: Answer, *, tcp: bool) -> None:
        """Answer one message, now or later, or never what is no query."""
        try:
            query = message.parse(data)
        except FormatError as exc:
            answer(message.refuse(data, exc.rcode))
            return
        if query is None:
            return
        limit = _LARGEST if tcp else query.size
        records = self._tables.answer(self.identifier, query)
        if records is None and self._tables.answers_alone(self.identifier, query):
            records = []
        if records is not None:
            answer(message.respond(query, records, limit=limit))
            return

        def forwarded(reply: bytes | None) -> None:
            answer(message.respond(query, (), rcode=message.SERVFAIL) if reply is None else reply)

        servers = self._tables.servers(self.identifier)
        self._forwarder.ask(self._namespace, query, data, servers, forwarded, tcp=tcp)


class _Client:
    """A TCP connection: length-prefixed messages both ways."""

    def __init__(
        self, loop: Loop, sandbox: Sandbox, connection: socket.socket, gone: "Callable[[_Client], None]"
    ) -> None:
        self._loop = loop
        self._sandbox = sandbox
        self._connection = connection
        self._gone = gone
        self._incoming = b""
        self._outgoing = b""
        self._open = True
        connection.setblocking(False)
        loop.add(connection.fileno(), READ, self._ready)
        self._timer = loop.later(_IDLE, self.close)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._timer.cancel()
            self._loop.remove(self._connection.fileno())
            self._connection.close()
            self._gone(self)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self._open and events & ~WRITE:
            self._read()

    def _read(self) -> None:
        try:
            data = self._connection.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._timer.cancel()
        self._timer = self._loop.later(_IDLE, self.close)
        self._incoming += data
        while self._open and len(self._incoming) >= 2:
            length = int.from_bytes(self._incoming[:2], "big")
            if len(self._incoming) < length + 2:
                return
            whole, self._incoming = self._incoming[2 : length + 2], self._incoming[length + 2 :]
            self._sandbox.handle(whole, self._answer, tcp=True)

    def _answer(self, answer: bytes) -> None:
        if self._open:
            self._outgoing += len(answer).to_bytes(2, "big") + answer
            if len(self._outgoing) > _MOST_WAITING:
                self.close()
            else:
                self._flush()

    def _flush(self) -> None:
        try:
            self._outgoing = self._outgoing[self._connection.send(self._outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.change(self._connection.fileno(), READ | WRITE if self._outgoing else READ)
