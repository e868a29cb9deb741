"""Netlink messages and sockets, for every family: attributes, batches, acknowledgements, dumps.

Mechanism only: ``netlink`` (links, addresses, routes), ``nft`` (firewall) and ``conntrack`` build on it. Standard
library only, because the shim runs it. Errors are :class:`OSError` with the kernel's errno, its text (with the kernel's
own explanation where it gives one) and, as ``filename``, the step that failed.

See: netlink(7), Documentation/userspace-api/netlink/intro.rst.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300
NLM_F_NONREC = 0x100
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_CLONE_NEWNET = 0x40000000

_RECEIVE_SIZE = 1 << 17
_TIMEOUT_SECONDS = 10
_DUMP_ATTEMPTS = 5

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TIMEVAL = struct.Struct("@ll")
_INT = struct.Struct("=i")


class Request(NamedTuple):
    """One message to the kernel. ``step`` names it in errors."""

    step: str
    type: int
    flags: int
    body: bytes
    optional: bool = False
    """The kernel may refuse it."""


class Message(NamedTuple):
    """One message from the kernel; ``body`` is what follows the netlink header."""

    type: int
    flags: int
    sequence: int
    port: int
    """The netlink port of the socket that asked, or caused the notification."""
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes. Raises ValueError when it is too long for its 16-bit length."""
    length = 4 + len(payload)
    if length > 0xFFFF:
        raise ValueError(f"netlink attribute of {length} bytes")
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """A one-byte attribute."""
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """A four-byte attribute in host order."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """A four-byte attribute in network order (netfilter's habit)."""
    return attribute(kind, struct.pack(">I", value))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in ``data`` from ``offset``, by type without its flag bits; a repeated type keeps the last."""
    return dict(iterate_attributes(data, offset))


def iterate_attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Every attribute in order, for lists whose members share one type."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def decode_text(value: bytes) -> str:
    """A string attribute's text."""
    return value.rstrip(b"\0").decode(errors="replace")


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one received datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield Message(kind, flags, sequence, port, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def encode(request: Request, flags: int, sequence: int) -> bytes:
    """``request`` with its header; ``flags`` are added to its own."""
    length = 16 + len(request.body)
    header = _HEADER.pack(length, request.type, request.flags | flags | NLM_F_REQUEST, sequence, 0)
    return header + request.body + b"\0" * (-length & 3)


def error_of(message: Message) -> tuple[int, str]:
    """The errno (0: acknowledged) and the kernel's explanation in an error message."""
    code = -_INT.unpack_from(message.body)[0]
    if not message.flags & NLM_F_ACK_TLVS or len(message.body) < 20:
        return code, ""
    echoed = _HEADER.unpack_from(message.body, 4)[0]
    offset = 20 if message.flags & NLM_F_CAPPED else 4 + ((echoed + 3) & ~3)
    return code, decode_text(attributes(message.body, offset).get(_NLMSGERR_ATTR_MSG, b""))


def os_error(code: int, explanation: str, step: str) -> OSError:
    """The error of one step, in the form this module promises."""
    detail = os.strerror(code)
    return OSError(code, f"{detail} ({explanation})" if explanation else detail, step)


class NetlinkSocket:
    """A netlink socket bound to the network namespace that was current when it was made.

    ``netns_fd`` makes it in that namespace instead, by entering it and coming back: only a process with one thread may
    ask for that (the shim, tests), never the engine.
    """

    def __init__(self, family: int, netns_fd: int | None = None) -> None:
        self._socket = _socket(family) if netns_fd is None else _socket_in(family, netns_fd)
        self._sequence = 0
        # A socket without a port of its own gets no notifications: the kernel takes it for their sender, port 0.
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(_TIMEOUT_SECONDS, 0))
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass  # Kernels before 4.12 explain nothing.

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The socket's netlink port, which marks the notifications that it caused itself."""
        return int(self._socket.getsockname()[0])

    def grow_send_buffer(self, size: int) -> None:
        """Make room for one send of ``size`` bytes."""
        if size > 100_000:
            self._grow(_SO_SNDBUFFORCE, socket.SO_SNDBUF, 2 * size)

    def grow_receive_buffer(self, size: int) -> None:
        """Make room for bursts of notifications."""
        self._grow(_SO_RCVBUFFORCE, socket.SO_RCVBUF, size)

    def _grow(self, forced: int, modest: int, size: int) -> None:
        """Above the machine's limit only its own root may go; root of a user namespace gets as much as that allows."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, modest, size)

    def join(self, group: int) -> None:
        """Receive the notifications of a multicast group."""
        self._socket.setsockopt(_SOL_NETLINK, 1, group)

    def reserve(self, count: int) -> int:
        """The first of ``count`` new sequence numbers."""
        first = self._sequence + 1
        self._sequence = (self._sequence + count) & 0x7FFFFFFF
        return first

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self, *, block: bool = True) -> list[Message] | None:
        """The next datagram's messages; None when there is none and ``block`` is false. Raises OSError."""
        try:
            data = self._socket.recv(_RECEIVE_SIZE, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError as exc:
            if block:
                raise os_error(errno.ETIMEDOUT, "", "wait for the kernel's answer") from exc
            return None
        return list(messages(data))

    def execute(self, requests: Sequence[Request]) -> None:
        """Send all ``requests`` at once and wait for every acknowledgement.

        The kernel works through all of them even when one fails. Raises OSError for the first that failed and is not
        optional.
        """
        if not requests:
            return
        first = self.reserve(len(requests))
        self.send(b"".join(encode(request, NLM_F_ACK, first + n) for n, request in enumerate(requests)))
        failure: OSError | None = None
        missing = len(requests)
        while missing:
            for message in self.receive() or ():
                index = message.sequence - first
                if message.type != NLMSG_ERROR or not 0 <= index < len(requests):
                    continue  # A leftover of an interrupted caller.
                missing -= 1
                code, explanation = error_of(message)
                if code and failure is None and not requests[index].optional:
                    failure = os_error(code, explanation, requests[index].step)
        if failure is not None:
            raise failure

    def get(self, request: Request) -> Message:
        """The one message that answers ``request``. Raises OSError."""
        for message in self._answers(request, 0):
            return message
        raise os_error(errno.EPROTO, "the kernel sent no answer", request.step)

    def dump(self, request: Request) -> list[Message]:
        """Everything of the kind that ``request`` asks for; asked again when the kernel says it changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            found = list(self._answers(request, NLM_F_DUMP))
            if not any(message.flags & NLM_F_DUMP_INTR for message in found):
                break
        return found

    def _answers(self, request: Request, flags: int) -> list[Message]:
        sequence = self.reserve(1)
        self.send(encode(request, flags, sequence))
        found: list[Message] = []
        while True:
            for message in self.receive() or ():
                if message.sequence != sequence:
                    continue
                if message.type == NLMSG_DONE:
                    return found
                if message.type == NLMSG_ERROR:
                    code, explanation = error_of(message)
                    if code:
                        raise os_error(code, explanation, request.step)
                    return found
                found.append(message)
                if not message.flags & NLM_F_MULTI:
                    return found


def _socket(family: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)


def _socket_in(family: int, netns_fd: int) -> socket.socket:
    from rundlet.linux import libc

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(netns_fd, _CLONE_NEWNET)
        try:
            return _socket(family)
        finally:
            libc.setns(home, _CLONE_NEWNET)
    finally:
        os.close(home)
