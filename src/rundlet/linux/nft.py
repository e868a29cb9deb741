"""nf_tables by netlink: transactions, listings, notifications. No ``nft`` binary is needed.

A :class:`Batch` collects changes; :meth:`Nft.commit` applies all of them or none. Rules are made of ``nftexpr``'s
expressions. Errors are :class:`OSError` that names the step.

See: linux/netfilter/nf_tables.h, Documentation of libnftnl.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rundlet.linux import nlmsg
from rundlet.linux.nftexpr import ACCEPT, value
from rundlet.linux.nlmsg import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Request,
    attribute,
    be32,
    nested,
    text,
)

FAMILY_INET, FAMILY_IPV4, FAMILY_BRIDGE, FAMILY_IPV6 = 1, 2, 7, 10
HOOK_PREROUTING, HOOK_INPUT, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING = range(5)
PRIORITY_RAW, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT = -300, -100, 0, 100

# Data types of keys, as nft numbers and prints them; concatenations shift by six bits.
TYPE_IPV4, TYPE_IPV6, TYPE_PROTOCOL, TYPE_SERVICE, TYPE_IFNAME = 7, 8, 12, 13, 41
TYPE_VERDICT = 0xFFFFFF00

_SUBSYSTEM = 10 << 8
(
    _NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _DELCHAIN, _NEWRULE, _GETRULE, _DELRULE,
    _NEWSET, _GETSET, _DELSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM, _NEWGEN,
) = range(16)  # fmt: skip
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_GROUP_NFTABLES = 7

_SET_INTERVAL, _SET_MAP = 0x4, 0x8
_ELEMENT_INTERVAL_END = 1
_LIST_ELEMENT = 1
_UDATA_COMMENT = 0
# Tells ``nft list`` that keys are in host order, as names are to it.
_HOST_ORDER_KEY = struct.pack("=BBI", 0, 4, 1)
_ELEMENTS_PER_MESSAGE = 400

_GENMSG = struct.Struct(">BBH")


class Hook(NamedTuple):
    """Where a base chain hangs. ``type`` is ``filter`` or ``nat``."""

    type: str
    number: int
    priority: int


class Field(NamedTuple):
    """One part of a set's key or data: its type for ``nft list`` and its length in bytes without padding."""

    type: int
    length: int


IPV4 = Field(TYPE_IPV4, 4)
IPV6 = Field(TYPE_IPV6, 16)
PROTOCOL = Field(TYPE_PROTOCOL, 1)
SERVICE = Field(TYPE_SERVICE, 2)
IFNAME = Field(TYPE_IFNAME, 16)


class Element(NamedTuple):
    """A set's element. ``key`` is padded to words where concatenated; ``data`` is a value attribute's content."""

    key: bytes
    data: bytes = b""
    end: bool = False
    """Marks the first key after an interval."""


class ChainInfo(NamedTuple):
    """A chain as the kernel lists it; ``hook`` is None for a chain that rules jump to."""

    family: int
    table: str
    name: str
    hook: int | None
    policy: int


class RuleInfo(NamedTuple):
    """A rule as the kernel lists it."""

    handle: int
    comment: str


class Event(NamedTuple):
    """A change that someone else made: the message's kind (``deltable``, ``newrule``, …), family and table."""

    kind: str
    family: int
    table: str


_KINDS = {
    _NEWTABLE: "newtable",
    _DELTABLE: "deltable",
    _NEWCHAIN: "newchain",
    _DELCHAIN: "delchain",
    _NEWRULE: "newrule",
    _DELRULE: "delrule",
    _NEWSET: "newset",
    _DELSET: "delset",
    _NEWSETELEM: "newelement",
    _DELSETELEM: "delelement",
}


def concatenate(*fields: bytes) -> bytes:
    """A concatenated key or datum: every part padded to four bytes."""
    return b"".join(part + b"\0" * (-len(part) & 3) for part in fields)


def _shape(fields: Sequence[Field]) -> tuple[int, int]:
    """The type number and the length of a key made of ``fields``."""
    if len(fields) == 1:
        return fields[0].type, fields[0].length
    number = 0
    for part in fields:
        number = number << 6 | part.type
    return number, sum((part.length + 3) & ~3 for part in fields)


def _comment(comment: str) -> bytes:
    data = comment.encode()[:254] + b"\0"
    return bytes((_UDATA_COMMENT, len(data))) + data


class Batch:
    """Changes to one table of one family, applied together."""

    def __init__(self, family: int, table: str) -> None:
        self._family = family
        self._table = table
        self._set_id = 0
        self.requests: list[Request] = []

    def add_table(self, *, new: bool = False) -> None:
        """``new``: the transaction fails with EEXIST when the table is there already."""
        self._add("add table", _NEWTABLE, NLM_F_CREATE | (NLM_F_EXCL if new else 0), text(1, self._table))

    def delete_table(self) -> None:
        """Delete the table with all in it. The transaction fails with ENOENT when there is none."""
        self._add("delete table", _DELTABLE, 0, text(1, self._table))

    def replace_table(self) -> None:
        """An empty table in the place of whatever was there."""
        self.add_table()
        self.delete_table()
        self.add_table()

    def add_chain(self, name: str, hook: Hook | None = None) -> None:
        """A chain that accepts what its rules let through."""
        parts = [text(1, self._table), text(3, name)]
        if hook is not None:
            parts.append(nested(4, be32(1, hook.number), be32(2, hook.priority & 0xFFFFFFFF)))
            parts += [be32(5, ACCEPT), text(7, hook.type)]
        self._add(f"add chain {name}", _NEWCHAIN, NLM_F_CREATE, *parts)

    def delete_chain(self, name: str) -> None:
        """Delete a chain that no rule or map points to, with its rules."""
        self._add(f"flush chain {name}", _DELRULE, 0, text(1, self._table), text(2, name))
        self._add(f"delete chain {name}", _DELCHAIN, 0, text(1, self._table), text(3, name))

    def add_rule(self, chain: str, *expressions: bytes, comment: str = "", first: bool = False) -> None:
        """A rule at the chain's end (or start)."""
        parts = [text(1, self._table), text(2, chain), nested(4, *expressions)]
        if comment:
            parts.append(attribute(7, _comment(comment)))
        self._add(f"add rule to {chain}", _NEWRULE, NLM_F_CREATE | (0 if first else NLM_F_APPEND), *parts)

    def delete_rule(self, chain: str, handle: int) -> None:
        parts = text(1, self._table), text(2, chain), attribute(3, handle.to_bytes(8, "big"))
        self._add(f"delete rule of {chain}", _DELRULE, 0, *parts)

    def add_set(
        self,
        name: str,
        key: Sequence[Field],
        *,
        data: Sequence[Field] = (),
        verdicts: bool = False,
        interval: bool = False,
    ) -> None:
        """A set, or a map to ``data`` or to verdicts. ``interval`` elements come in pairs (see :class:`Element`)."""
        self._set_id += 1
        key_type, key_length = _shape(key)
        flags = (_SET_INTERVAL if interval else 0) | (_SET_MAP if data or verdicts else 0)
        parts = [text(1, self._table), text(2, name), be32(3, flags), be32(4, key_type), be32(5, key_length)]
        if verdicts:
            parts += [be32(6, TYPE_VERDICT), be32(7, 16)]
        elif data:
            data_type, data_length = _shape(data)
            parts += [be32(6, data_type), be32(7, data_length)]
        parts.append(be32(10, self._set_id))
        if key[0].type == TYPE_IFNAME:
            parts.append(attribute(13, _HOST_ORDER_KEY))
        self._add(f"add set {name}", _NEWSET, NLM_F_CREATE, *parts)

    def add_elements(self, name: str, elements: Iterable[Element]) -> None:
        """Add elements; one that is there already with the same data is fine, with other data fails with EEXIST."""
        self._elements(f"add element to {name}", _NEWSETELEM, NLM_F_CREATE, name, elements)

    def delete_elements(self, name: str, elements: Iterable[Element]) -> None:
        """Delete elements; one that is not there fails the transaction with ENOENT."""
        self._elements(f"delete element of {name}", _DELSETELEM, 0, name, elements)

    def _elements(self, step: str, kind: int, flags: int, name: str, elements: Iterable[Element]) -> None:
        encoded = [_encode_element(element) for element in elements]
        for start in range(0, len(encoded), _ELEMENTS_PER_MESSAGE):
            chunk = nested(3, *encoded[start : start + _ELEMENTS_PER_MESSAGE])
            self._add(step, kind, flags, text(1, self._table), text(2, name), chunk)

    def _add(self, step: str, kind: int, flags: int, *parts: bytes) -> None:
        step = f"nftables: {step} in {self._table}"
        body = _GENMSG.pack(self._family, 0, 0) + b"".join(parts)
        self.requests.append(Request(step, _SUBSYSTEM | kind, flags, body))


def _encode_element(element: Element) -> bytes:
    parts = [nested(1, value(element.key))]
    if element.data:
        parts.append(nested(2, element.data))
    if element.end:
        parts.append(be32(3, _ELEMENT_INTERVAL_END))
    return nested(_LIST_ELEMENT, *parts)


class Nft(nlmsg.NetlinkSocket):
    """An nf_tables socket of one network namespace."""

    def __init__(self, netns_fd: int | None = None) -> None:
        super().__init__(nlmsg.NETLINK_NETFILTER, netns_fd)

    def __enter__(self) -> "Nft":
        return self

    def commit(self, batch: Batch) -> None:
        """Apply all of ``batch`` or nothing. Raises OSError that names the first step that failed."""
        requests = batch.requests
        if not requests:
            return
        first = self.reserve(len(requests) + 2)
        marker = _GENMSG.pack(0, 0, _SUBSYSTEM >> 8)
        parts = [nlmsg.encode(Request("", _BATCH_BEGIN, 0, marker), 0, first)]
        last = len(requests) - 1
        for number, request in enumerate(requests):
            parts.append(nlmsg.encode(request, NLM_F_ACK if number == last else 0, first + 1 + number))
        parts.append(nlmsg.encode(Request("", _BATCH_END, 0, marker), 0, first + 1 + len(requests)))
        data = b"".join(parts)
        self.grow_send_buffer(len(data))
        self.send(data)
        self._check(first, requests)

    def _check(self, first: int, requests: Sequence[Request]) -> None:
        """Read what the kernel answered, all of which it queued before the send returned."""
        acknowledged = False
        while True:
            received = self.receive(block=False)
            if received is None:
                break
            for message in received:
                index = message.sequence - first - 1
                if message.type != nlmsg.NLMSG_ERROR or not -1 <= index <= len(requests):
                    continue
                code, explanation = nlmsg.error_of(message)
                if code:
                    step = requests[index].step if 0 <= index < len(requests) else "nftables: transaction"
                    self._drain()
                    raise nlmsg.os_error(code, explanation, step)
                acknowledged = True
        if not acknowledged:
            raise nlmsg.os_error(errno.EPROTO, "the kernel sent no answer", "nftables: transaction")

    def _drain(self) -> None:
        while self.receive(block=False) is not None:
            pass

    # -- listings -----------------------------------------------------------------------------------------------

    def has_table(self, family: int, table: str) -> bool:
        body = _GENMSG.pack(family, 0, 0) + text(1, table)
        try:
            self.get(Request(f"nftables: find table {table}", _SUBSYSTEM | _GETTABLE, 0, body))
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return False
            raise
        return True

    def chains(self) -> list[ChainInfo]:
        """Every chain of every family and table."""
        body = _GENMSG.pack(socket.AF_UNSPEC, 0, 0)
        found = self.dump(Request("nftables: list chains", _SUBSYSTEM | _GETCHAIN, 0, body))
        return [_parse_chain(message) for message in found if message.type & 0xFF == _NEWCHAIN]

    def rules(self, family: int, table: str, chain: str) -> list[RuleInfo]:
        """The rules of one chain, in order; none when there is no such chain."""
        body = _GENMSG.pack(family, 0, 0) + text(1, table) + text(2, chain)
        try:
            found = self.dump(Request(f"nftables: list rules of {chain}", _SUBSYSTEM | _GETRULE, 0, body))
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return []
            raise
        return [_parse_rule(message) for message in found if message.type & 0xFF == _NEWRULE]

    def elements(self, family: int, table: str, name: str) -> list[Element]:
        """The elements of one set or map, without order."""
        body = _GENMSG.pack(family, 0, 0) + text(1, table) + text(2, name)
        found = self.dump(Request(f"nftables: list elements of {name}", _SUBSYSTEM | _GETSETELEM, 0, body))
        return [element for message in found for element in _parse_elements(message)]


class Monitor(nlmsg.NetlinkSocket):
    """Notifications of nf_tables changes; ``fileno()`` is readable when there are some."""

    def __init__(self) -> None:
        super().__init__(nlmsg.NETLINK_NETFILTER)
        self.grow_receive_buffer(1 << 20)
        self.join(_GROUP_NFTABLES)

    def __enter__(self) -> "Monitor":
        return self

    def events(self, own_port: int) -> list[Event] | None:
        """What others than ``own_port`` changed since the last call; None when the kernel had to drop notifications."""
        found: list[Event] = []
        lost = False
        while True:
            try:
                received = self.receive(block=False)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            if received is None:
                return None if lost else found
            for message in received:
                kind = _KINDS.get(message.type & 0xFF)
                if message.type >> 8 == _SUBSYSTEM >> 8 and kind and message.port != own_port:
                    table = nlmsg.attributes(message.body, _GENMSG.size).get(1, b"")
                    found.append(Event(kind, message.body[0], nlmsg.decode_text(table)))


def _parse_chain(message: nlmsg.Message) -> ChainInfo:
    found = nlmsg.attributes(message.body, _GENMSG.size)
    hook = nlmsg.attributes(found[4]).get(1) if 4 in found else None
    return ChainInfo(
        family=message.body[0],
        table=nlmsg.decode_text(found.get(1, b"")),
        name=nlmsg.decode_text(found.get(3, b"")),
        hook=int.from_bytes(hook, "big") if hook is not None else None,
        policy=int.from_bytes(found.get(5, b"\0\0\0\1"), "big"),
    )


def _parse_rule(message: nlmsg.Message) -> RuleInfo:
    found = nlmsg.attributes(message.body, _GENMSG.size)
    userdata = found.get(7, b"")
    comment = ""
    while len(userdata) >= 2:
        kind, length = userdata[0], userdata[1]
        if kind == _UDATA_COMMENT:
            comment = nlmsg.decode_text(userdata[2 : 2 + length])
        userdata = userdata[2 + length :]
    return RuleInfo(int.from_bytes(found.get(3, b""), "big"), comment)


def _parse_elements(message: nlmsg.Message) -> list[Element]:
    listed = nlmsg.attributes(message.body, _GENMSG.size).get(3, b"")
    elements = []
    for _, raw in nlmsg.iterate_attributes(listed):
        found = nlmsg.attributes(raw)
        key = nlmsg.attributes(found.get(1, b"")).get(1, b"")
        end = bool(int.from_bytes(found.get(3, b""), "big") & _ELEMENT_INTERVAL_END)
        elements.append(Element(key, found.get(2, b""), end))
    return elements
