"""The proxy's main. It serves for as long as a container or an engine is connected to it.

Its one descriptor is a listening SEQPACKET socket. Who connects sends JSON objects: ``{"id": …, "address": …, "ports":
[[protocol, port], …]}`` with a host's socket for each port (there may be several such messages); or ``{"engine":
true}``, and then ``{"move": id, "address": …}`` when a container is reached at another address from now on. The end of
a connection is the end of what it stands for. ``{"sync": true}`` is answered when all that came before is done.

See: ``network.dns.worker``, which works the same way.
"""

import array
import errno
import json
import os
import resource
import socket
import struct
from typing import Any, Final

from rundlet.linux import caps, libc
from rundlet.network.dns.loop import READ, Loop
from rundlet.network.proxy.datagrams import Datagrams
from rundlet.network.proxy.relay import Relay

MOST_PORTS: Final = 100
"""In one message."""
_GRACE: Final = 1.0  # seconds without anybody, then it ends
_PAUSE: Final = 0.1  # seconds, when there is no descriptor left
_MAX_MESSAGE: Final = 16384
_AT_ONCE: Final = 16


def main(fds: list[int]) -> int:
    """``fds``: the listening socket. Returns the process's exit status."""
    libc.set_name("rundlet-proxy")
    caps.drop_bounding(0)
    caps.set_capabilities(0, 0, 0)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = Loop()
    _Proxy(loop, socket.socket(fileno=os.dup(fds[0]))).run()
    return 0


class Streams:
    """One TCP port."""

    def __init__(self, loop: Loop, listening: socket.socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listening = listening
        self.target = target
        self._relays: set[Relay] = set()
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        self.forget()
        self._loop.remove(self._listening.fileno())
        self._listening.close()

    def forget(self) -> None:
        for relay in list(self._relays):
            relay.close()

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add(self._listening.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _peer = self._listening.accept()
            except OSError as exc:
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._loop.remove(self._listening.fileno())
                    self._loop.later(_PAUSE, self._listen)
                return
            try:
                self._relays.add(Relay(self._loop, client, self.target, self._relays.discard))
            except OSError:
                client.close()


class Container:
    """The ports of one container."""

    def __init__(self, loop: Loop, identifier: str) -> None:
        self._loop = loop
        self.identifier = identifier
        self._ports: list[Streams | Datagrams] = []

    def add(self, address: str, ports: list[list[Any]], fds: list[int]) -> None:
        for (protocol, number), fd in zip(ports, fds, strict=True):
            kind = Streams if protocol == "tcp" else Datagrams
            self._ports.append(kind(self._loop, socket.socket(fileno=fd), (address, int(number))))

    def move(self, address: str) -> None:
        for port in self._ports:
            port.forget()
            port.target = (address, port.target[1])

    def close(self) -> None:
        for port in self._ports:
            port.close()


class _Proxy:
    def __init__(self, loop: Loop, listener: socket.socket) -> None:
        self._loop = loop
        self._listener = listener
        self._connections: dict[int, tuple[socket.socket, Container | None]] = {}
        self._ending = loop.later(_GRACE, loop.stop)
        listener.setblocking(False)
        loop.add(listener.fileno(), READ, self._accept)

    def run(self) -> None:
        self._loop.run()

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if _user_of(connection) not in (0, os.geteuid()):
            connection.close()
            return
        connection.setblocking(False)
        self._ending.cancel()
        number = connection.fileno()
        self._connections[number] = (connection, None)
        self._loop.add(number, READ, lambda _events: self._readable(number))

    def _readable(self, number: int) -> None:
        connection, container = self._connections[number]
        try:
            data, fds = _receive(connection)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        try:
            message = json.loads(data)
            if "id" in message:
                container = container or Container(self._loop, str(message["id"]))
                self._connections[number] = (connection, container)
                container.add(str(message["address"]), message["ports"], fds)
            elif "sync" in message:
                connection.send(b"done")
            elif "move" in message:
                self._move(message["move"], str(message["address"]))
        except (ValueError, KeyError, TypeError, OSError):
            for fd in fds:
                _close(fd)
            self._drop(number)

    def _move(self, identifier: str, address: str) -> None:
        for _, container in self._connections.values():
            if container is not None and container.identifier == identifier:
                container.move(address)

    def _drop(self, number: int) -> None:
        connection, container = self._connections.pop(number)
        self._loop.remove(number)
        connection.close()
        if container is not None:
            container.close()
        if not self._connections:
            self._ending = self._loop.later(_GRACE, self._loop.stop)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    size = socket.CMSG_SPACE(MOST_PORTS * 4)
    data, ancillary, _, _ = connection.recvmsg(_MAX_MESSAGE, size, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # A socket object has it already.


def _user_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
    user: int = struct.unpack("=3i", credentials)[1]
    return user
