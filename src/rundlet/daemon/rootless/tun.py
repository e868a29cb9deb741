"""Packets of an ordinary user's network that are no TCP: UDP and ping, passed on by sockets of the machine's network.

A TUN device in the user's network namespace is the way out there. Each flow gets a socket of its own outside; what
comes back is written to the device as a packet. What can't be passed on so (other protocols, fragments) is dropped.

See: linux/if_tun.h; RFC 791, 768, 792.
"""

import os
import socket
import struct
from functools import partial
from typing import Final, NamedTuple

from rundlet.linux.loop import READ, Loop, Timer

DEVICE: Final = "/dev/net/tun"
SET_INTERFACE: Final = 0x400454CA  # TUNSETIFF
FLAGS: Final = 0x0001 | 0x1000  # IFF_TUN | IFF_NO_PI
MTU: Final = 65520
_AT_ONCE: Final = 32
_MOST: Final = 1024  # flows
_IDLE: Final = 90.0  # seconds
_UDP: Final = 17
_ICMP: Final = 1
_ECHO: Final = 8
_ECHO_REPLY: Final = 0
_TTL: Final = 64
_FRAGMENT: Final = 0x3FFF  # more to come, or not the first
_HEADER: Final = struct.Struct(">BBHHHBBH4s4s")
_UDP_HEADER: Final = struct.Struct(">HHHH")


class Flow(NamedTuple):
    """Who talks to whom; for ping the ports are the identifier and 0."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int


class Packets:
    """Owns ``fd``, the device."""

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._flows: dict[Flow, tuple[socket.socket, Timer]] = {}
        os.set_blocking(fd, False)
        loop.add(fd, READ, self._readable)

    def _readable(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            parsed = parse(packet)
            if parsed is not None:
                self._pass_on(*parsed)

    def _pass_on(self, flow: Flow, data: bytes) -> None:
        upstream = self._upstream(flow)
        if upstream is not None:
            try:
                upstream.send(data)
            except OSError:
                pass  # nobody there, or no room: a datagram may be lost

    def _upstream(self, flow: Flow) -> socket.socket | None:
        known = self._flows.get(flow)
        if known is not None:
            known[1].cancel()
            self._flows[flow] = (known[0], self._loop.later(_IDLE, partial(self._drop, flow)))
            return known[0]
        if len(self._flows) >= _MOST:
            return None
        protocol = socket.IPPROTO_ICMP if flow.protocol == _ICMP else 0
        try:
            made = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol
            )
        except OSError:
            return None  # ping is up to net.ipv4.ping_group_range of the machine
        try:
            made.connect((socket.inet_ntoa(flow.destination), flow.destination_port))
        except OSError:
            made.close()
            return None
        self._flows[flow] = (made, self._loop.later(_IDLE, partial(self._drop, flow)))
        self._loop.add(made.fileno(), READ, lambda _events: self._answer(flow, made))
        return made

    def _answer(self, flow: Flow, upstream: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = upstream.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # "connection refused" is an answer, too, but not one that is passed on
            try:
                os.write(self._fd, reply(flow, data))
            except OSError:
                return  # too long for the device, or it is gone

    def _drop(self, flow: Flow) -> None:
        upstream, timer = self._flows.pop(flow)
        timer.cancel()
        self._loop.remove(upstream.fileno())
        upstream.close()


def parse(packet: bytes) -> tuple[Flow, bytes] | None:
    """The flow of an IPv4 packet and what is to be sent outside; None for what can't be passed on."""
    if len(packet) < _HEADER.size or packet[0] >> 4 != 4:
        return None
    start = (packet[0] & 0xF) * 4
    _, _, total, _, fragment, _, protocol, _, source, destination = _HEADER.unpack_from(packet)
    if fragment & _FRAGMENT or total > len(packet) or start < _HEADER.size or total < start + _UDP_HEADER.size:
        return None
    body = packet[start:total]
    if protocol == _UDP:
        source_port, destination_port, length, _ = _UDP_HEADER.unpack_from(body)
        if not _UDP_HEADER.size <= length <= len(body):
            return None
        return Flow(_UDP, source, source_port, destination, destination_port), body[_UDP_HEADER.size : length]
    if protocol == _ICMP and body[0] == _ECHO:
        identifier = int.from_bytes(body[4:6], "big")
        return Flow(_ICMP, source, identifier, destination, 0), body
    return None


def reply(flow: Flow, data: bytes) -> bytes:
    """The packet that brings ``data`` back to where ``flow`` came from."""
    if flow.protocol == _ICMP:
        # The socket's own identifier stands in it: the asker's has to.
        body = bytes((_ECHO_REPLY, 0, 0, 0)) + flow.source_port.to_bytes(2, "big") + data[6:]
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    else:
        # A checksum of 0 is none, which IPv4 allows.
        length = _UDP_HEADER.size + len(data)
        body = _UDP_HEADER.pack(flow.destination_port, flow.source_port, length, 0) + data
    head = _HEADER.pack(0x45, 0, _HEADER.size + len(body), 0, 0, _TTL, flow.protocol, 0, flow.destination, flow.source)
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def checksum(data: bytes) -> int:
    """The Internet's: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
