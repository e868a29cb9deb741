"""The proxy's main. It serves for as long as a container or an engine is connected to it.

Its one descriptor is a listening SEQPACKET socket. Who connects sends JSON objects: ``{"id": …, "address": …, "ports":
[[protocol, port], …]}`` with a host's socket for each port (there may be several such messages); or ``{"engine":
true}``, and then ``{"move": id, "address": …}`` when a container is reached at another address from now on. The end of
a connection is the end of what it stands for. ``{"sync": true}`` is answered when all that came before is done.
"""

import errno
import json
import os
import resource
import socket
from typing import Any, Final

from rundlet.linux import caps, libc
from rundlet.linux.loop import READ, Loop
from rundlet.network.proxy.datagrams import Datagrams
from rundlet.network.proxy.relay import Relay
from rundlet.network.serving.connections import Connections

MOST_PORTS: Final = 100
"""In one message."""
_PAUSE: Final = 0.1  # seconds, when there is no descriptor left
_AT_ONCE: Final = 16


def main(fds: list[int]) -> int:
    """``fds``: the listening socket. Returns the process's exit status."""
    return _serve(fds[0], sources=False)


def transparent(fds: list[int]) -> int:
    """The same, and containers see their clients' own addresses: see :mod:`rundlet.network.sources`."""
    return _serve(fds[0], sources=True)


def _serve(listener: int, *, sources: bool) -> int:
    libc.set_name("rundlet-proxy")
    kept = caps.mask(["CAP_NET_RAW"]) if sources else 0  # for IP_TRANSPARENT
    caps.drop_bounding(kept)
    caps.set_capabilities(kept, kept, 0)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = Loop()
    _Proxy(loop, socket.socket(fileno=os.dup(listener)), sources)
    loop.run()
    return 0


class Streams:
    """One TCP port."""

    def __init__(self, loop: Loop, listening: socket.socket, target: tuple[str, int], *, sources: bool = False) -> None:
        self._loop = loop
        self._sources = sources
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
                client, peer = self._listening.accept()
            except OSError as exc:
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._loop.remove(self._listening.fileno())
                    self._loop.later(_PAUSE, self._listen)
                return
            source = (str(peer[0]), int(peer[1])) if self._sources else None
            try:
                self._relays.add(Relay(self._loop, client, self.target, self._relays.discard, source))
            except OSError:
                client.close()


class Container:
    """The ports of one container."""

    def __init__(self, loop: Loop, identifier: str, *, sources: bool = False) -> None:
        self._loop = loop
        self._sources = sources
        self.identifier = identifier
        self._ports: list[Streams | Datagrams] = []

    def add(self, address: str, ports: list[list[Any]], fds: list[int]) -> None:
        for (protocol, number), fd in zip(ports, fds, strict=True):
            kind = Streams if protocol == "tcp" else Datagrams
            self._ports.append(
                kind(self._loop, socket.socket(fileno=fd), (address, int(number)), sources=self._sources)
            )

    def move(self, address: str) -> None:
        for port in self._ports:
            port.forget()
            port.target = (address, port.target[1])

    def close(self) -> None:
        for port in self._ports:
            port.close()


class _Proxy:
    def __init__(self, loop: Loop, listener: socket.socket, sources: bool = False) -> None:
        self._loop = loop
        self._sources = sources
        self._connections = Connections(loop, listener, self._heard, Container.close, most_fds=MOST_PORTS)

    def _heard(
        self, data: bytes, fds: list[int], connection: socket.socket, held: Container | None
    ) -> Container | None:
        message = json.loads(data)
        if not isinstance(message, dict):
            raise TypeError(message)
        if "id" in message:
            container = held or Container(self._loop, str(message["id"]), sources=self._sources)
            try:
                container.add(str(message["address"]), message["ports"], fds)
            except (ValueError, KeyError, TypeError, OSError):
                if held is None:
                    container.close()
                raise
            return container
        if "sync" in message:
            connection.send(b"done")
        elif "move" in message:
            self._move(message["move"], str(message["address"]))
        return held

    def _move(self, identifier: str, address: str) -> None:
        for container in self._connections.held():
            if container.identifier == identifier:
                container.move(address)
