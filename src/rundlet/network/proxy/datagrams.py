"""UDP passed on: a socket of its own towards the container for each client, which its answers come back by."""

import socket
from functools import partial
from typing import Final

from rundlet.linux.loop import READ, Loop, Timer
from rundlet.network.proxy.clients import own_socket

_LARGEST: Final = 65535
_IDLE: Final = 90.0  # seconds, as Docker waits
_MOST: Final = 1024  # clients of one port
_AT_ONCE: Final = 16  # datagrams, before it is others' turn
_INFO_SIZE: Final = 20
_NO_LINK: Final = bytes(4)
_IP_PKTINFO: Final = 8

Client = tuple[tuple[object, ...], bytes]
"""A client's address, and the address of ours that it asked, as the kernel says it."""


class Datagrams:
    """Owns ``listening`` until :meth:`close`."""

    def __init__(self, loop: Loop, listening: socket.socket, target: tuple[str, int], *, sources: bool = False) -> None:
        """``sources``: the container sees its clients' own addresses."""
        self._loop = loop
        self._sources = sources
        self._listening = listening
        self.target = target
        self._clients: dict[Client, tuple[socket.socket, Timer]] = {}
        listening.setblocking(False)
        # An answer must come from the address that was asked.
        self._six = listening.family == socket.AF_INET6
        if self._six:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            listening.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.add(listening.fileno(), READ, self._readable)

    def close(self) -> None:
        self.forget()
        self._loop.remove(self._listening.fileno())
        self._listening.close()

    def forget(self) -> None:
        """Every client begins anew."""
        for client in list(self._clients):
            self._drop(client)

    def _readable(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, peer = self._listening.recvmsg(_LARGEST, socket.CMSG_SPACE(_INFO_SIZE))
            except OSError:
                return
            wanted = socket.IPV6_PKTINFO if self._six else _IP_PKTINFO
            info = next((payload for _level, kind, payload in ancillary if kind == wanted), b"")
            upstream = self._upstream((peer, info))
            if upstream is not None:
                try:
                    upstream.send(data)
                except OSError:
                    pass  # Nobody there, or no room: a datagram may be lost.

    def _upstream(self, client: Client) -> socket.socket | None:
        known = self._clients.get(client)
        if known is not None:
            known[1].cancel()
            self._clients[client] = (known[0], self._loop.later(_IDLE, partial(self._drop, client)))
            return known[0]
        if len(self._clients) >= _MOST:
            return None
        host, port = client[0][:2]
        try:
            made = own_socket(socket.SOCK_DGRAM, self.target, (str(host), int(str(port))) if self._sources else None)
        except OSError:
            return None
        self._clients[client] = (made, self._loop.later(_IDLE, partial(self._drop, client)))
        self._loop.add(made.fileno(), READ, lambda _events: self._answer(client, made))
        return made

    def _answer(self, client: Client, upstream: socket.socket) -> None:
        peer, info = client
        ancillary = [self._from(info)] if info else []
        for _ in range(_AT_ONCE):
            try:
                data = upstream.recv(_LARGEST)
                self._listening.sendmsg([data], ancillary, 0, peer)
            except BlockingIOError:
                return
            except OSError:
                continue  # "Connection refused" is an answer, too, but not one that can be passed on.

    def _from(self, info: bytes) -> tuple[int, int, bytes]:
        """The address that was asked, as the one to answer by."""
        if not self._six:
            # struct in_pktinfo: interface, the machine's own address, the header's.
            return socket.IPPROTO_IP, _IP_PKTINFO, _NO_LINK + info[4:8] + bytes(4)
        # The link is told only where the address means nothing without it.
        local = info if info[:1] == b"\xfe" else info[:16] + _NO_LINK
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local

    def _drop(self, client: Client) -> None:
        upstream, timer = self._clients.pop(client)
        timer.cancel()
        self._loop.remove(upstream.fileno())
        upstream.close()
