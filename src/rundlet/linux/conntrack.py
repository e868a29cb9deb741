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
_CTA_IP_V4_SRC, _CTA_IP_V4_DST = 1, 2
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

    def entries(self) -> list[Entry]:
        """Every tracked IPv4 connection."""
        return self._dump(b"")

    def forget_addresses(self, addresses: Collection[str]) -> int:
        """Forget what these addresses began and what was translated or sent to them. Returns how many.

        The kernel walks its whole table for every question (4 ms for each of two per address, on a table of usual
        size), so many addresses are looked for in one listing of everything.
        """
        if len(addresses) > _MANY:
            found = self._dump(b"")
        else:
            found = [entry for address in addresses for entry in self._of_address(address)]
        return self._delete([e for e in found if e.original.source in addresses or e.reply.source in addresses])

    def forget_port(self, protocol: int, port: int) -> int:
        """Forget the connections whose first packet went to ``port`` at any address. Returns how many."""
        wanted = nested(
            _CTA_TUPLE_PROTO, u8(_CTA_PROTO_NUM, protocol), attribute(_CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
        )
        flags = u32(_FILTER_ORIG_FLAGS, _F_PROTO_NUM | _F_PROTO_DST_PORT)
        found = self._dump(nested(_CTA_TUPLE_ORIG, wanted) + nested(_CTA_FILTER, flags))
        return self._delete(
            [e for e in found if e.original.protocol == protocol and e.original.destination_port == port]
        )

    def _of_address(self, address: str) -> list[Entry]:
        source = nested(_CTA_TUPLE_IP, attribute(_CTA_IP_V4_SRC, socket.inet_aton(address)))
        begun = nested(_CTA_TUPLE_ORIG, source) + nested(_CTA_FILTER, u32(_FILTER_ORIG_FLAGS, _F_IP_SRC))
        answered = nested(_CTA_TUPLE_REPLY, source) + nested(_CTA_FILTER, u32(_FILTER_REPLY_FLAGS, _F_IP_SRC))
        return self._dump(begun) + self._dump(answered)

    def _dump(self, wanted: bytes) -> list[Entry]:
        """The entries that fit; kernels before 5.8 don't know filters and send all, so callers look again."""
        body = _GENMSG.pack(socket.AF_INET, 0, 0) + wanted
        return [_parse(message) for message in self.dump(Request("list connections", _SUBSYSTEM | _GET, 0, body))]

    def _delete(self, entries: list[Entry]) -> int:
        deleted = 0
        for entry in entries:
            body = _GENMSG.pack(socket.AF_INET, 0, 0) + entry.key
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
    return Entry(_parse_tuple(original), _parse_tuple(found.get(_CTA_TUPLE_REPLY, b"")), key)


def _parse_tuple(data: bytes) -> Tuple:
    found = nlmsg.attributes(data)
    address = nlmsg.attributes(found.get(_CTA_TUPLE_IP, b""))
    protocol = nlmsg.attributes(found.get(_CTA_TUPLE_PROTO, b""))
    return Tuple(
        source=socket.inet_ntoa(address.get(_CTA_IP_V4_SRC, bytes(4))),
        destination=socket.inet_ntoa(address.get(_CTA_IP_V4_DST, bytes(4))),
        protocol=int.from_bytes(protocol.get(_CTA_PROTO_NUM, b""), "big"),
        source_port=int.from_bytes(protocol.get(_CTA_PROTO_SRC_PORT, b""), "big"),
        destination_port=int.from_bytes(protocol.get(_CTA_PROTO_DST_PORT, b""), "big"),
    )
