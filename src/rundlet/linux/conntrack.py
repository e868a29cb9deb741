"""Forgetting tracked connections, so that a reused address or port starts clean.

A UDP flow keeps its translation for as long as packets come: without this, a client of a removed container would go on
reaching its address when another container has it, and a flow that began before a port was published would never reach
the container. See: linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import socket
import struct
from collections.abc import Collection
from typing import NamedTuple

from rundlet.linux import nlmsg
from rundlet.linux.nlmsg import Request, attribute, nested, u8, u32

_SUBSYSTEM = 1 << 8
_GET, _DELETE = 1, 2
_GENMSG = struct.Struct(">BBH")

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_FILTER = 1, 2, 12, 25
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_IP_V6_SRC, _CTA_IP_V6_DST = 1, 2, 3, 4
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
_FILTER_ORIG_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_F_IP_SRC, _F_PROTO_NUM, _F_PROTO_DST_PORT = 1 << 0, 1 << 3, 1 << 5

_MANY = 5
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"


class Tuple(NamedTuple):
    """One direction of a connection; ports are 0 where the protocol has none."""

    source: str
    destination: str
    protocol: int
    source_port: int
    destination_port: int


class Entry(NamedTuple):
    """A tracked connection: as its first packet was, and as the answers are (before and after translation)."""

    original: Tuple
    reply: Tuple
    key: bytes
    """The original tuple as the kernel sent it, and the entry's id."""
    family: int = socket.AF_INET


def tracked() -> int:
    """How many connections the current namespace tracks; 0 where nothing is ever tracked."""
    try:
        with open(_COUNT, "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


class Conntrack(nlmsg.NetlinkSocket):
    """A ctnetlink socket of one network namespace. Methods raise OSError with the failed step."""

    def __init__(self, netns_fd: int | None = None) -> None:
        super().__init__(nlmsg.NETLINK_NETFILTER, netns_fd)

    def __enter__(self) -> "Conntrack":
        return self

    def entries(self, family: int = socket.AF_INET) -> list[Entry]:
        """Every tracked connection of a family."""
        return self._dump(b"", family)

    def forget_addresses(self, addresses: Collection[str]) -> int:
        """Forget what these addresses began and what was translated or sent to them. Returns how many.

        The kernel walks its whole table for every question (4 ms for each of two per address, on a table of usual
        size), so many addresses are looked for in one listing of everything.
        """
        if len(addresses) > _MANY:
            families = {_family(address) for address in addresses}
            found = [entry for family in families for entry in self._dump(b"", family)]
        else:
            found = [entry for address in addresses for entry in self._of_address(address)]
        return self._delete([e for e in found if e.original.source in addresses or e.reply.source in addresses])

    def forget_port(self, protocol: int, port: int) -> int:
        """Forget the connections whose first packet went to ``port`` at any address. Returns how many."""
        wanted = nested(
            _CTA_TUPLE_PROTO, u8(_CTA_PROTO_NUM, protocol), attribute(_CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
        )
        flags = u32(_FILTER_ORIG_FLAGS, _F_PROTO_NUM | _F_PROTO_DST_PORT)
        question = nested(_CTA_TUPLE_ORIG, wanted) + nested(_CTA_FILTER, flags)
        found = [entry for family in (socket.AF_INET, socket.AF_INET6) for entry in self._dump(question, family)]
        return self._delete(
            [e for e in found if e.original.protocol == protocol and e.original.destination_port == port]
        )

    def _of_address(self, address: str) -> list[Entry]:
        family = _family(address)
        kind = _CTA_IP_V4_SRC if family == socket.AF_INET else _CTA_IP_V6_SRC
        source = nested(_CTA_TUPLE_IP, attribute(kind, socket.inet_pton(family, address)))
        begun = nested(_CTA_TUPLE_ORIG, source) + nested(_CTA_FILTER, u32(_FILTER_ORIG_FLAGS, _F_IP_SRC))
        answered = nested(_CTA_TUPLE_REPLY, source) + nested(_CTA_FILTER, u32(_FILTER_REPLY_FLAGS, _F_IP_SRC))
        return self._dump(begun, family) + self._dump(answered, family)

    def _dump(self, wanted: bytes, family: int) -> list[Entry]:
        """The entries that fit; kernels before 5.8 don't know filters and send all, so callers look again."""
        body = _GENMSG.pack(family, 0, 0) + wanted
        return [_parse(message) for message in self.dump(Request("list connections", _SUBSYSTEM | _GET, 0, body))]

    def _delete(self, entries: list[Entry]) -> int:
        deleted = 0
        for entry in entries:
            body = _GENMSG.pack(entry.family, 0, 0) + entry.key
            try:
                self.execute([Request("forget connection", _SUBSYSTEM | _DELETE, 0, body)])
                deleted += 1
            except OSError as exc:
                if exc.errno != errno.ENOENT:  # It ended meanwhile.
                    raise
        return deleted


def _parse(message: nlmsg.Message) -> Entry:
    found = nlmsg.attributes(message.body, _GENMSG.size)
    original = found.get(_CTA_TUPLE_ORIG, b"")
    key = attribute(_CTA_TUPLE_ORIG | nlmsg.NLA_F_NESTED, original)
    if _CTA_ID in found:
        key += attribute(_CTA_ID, found[_CTA_ID])
    reply = found.get(_CTA_TUPLE_REPLY, b"")
    return Entry(_parse_tuple(original), _parse_tuple(reply), key, message.body[0])


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _parse_tuple(data: bytes) -> Tuple:
    found = nlmsg.attributes(data)
    address = nlmsg.attributes(found.get(_CTA_TUPLE_IP, b""))
    protocol = nlmsg.attributes(found.get(_CTA_TUPLE_PROTO, b""))
    return Tuple(
        source=_address(address, _CTA_IP_V4_SRC, _CTA_IP_V6_SRC),
        destination=_address(address, _CTA_IP_V4_DST, _CTA_IP_V6_DST),
        protocol=int.from_bytes(protocol.get(_CTA_PROTO_NUM, b""), "big"),
        source_port=int.from_bytes(protocol.get(_CTA_PROTO_SRC_PORT, b""), "big"),
        destination_port=int.from_bytes(protocol.get(_CTA_PROTO_DST_PORT, b""), "big"),
    )


def _address(found: dict[int, bytes], kind4: int, kind6: int) -> str:
    if kind6 in found:
        return socket.inet_ntop(socket.AF_INET6, found[kind6])
    return socket.inet_ntoa(found.get(kind4, bytes(4)))
