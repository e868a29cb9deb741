"""The resolver's messages and tables."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rundlet.network.dns import message
from rundlet.network.dns.message import FormatError, Query, Record
from rundlet.network.dns.tables import Server, Tables
from rundlet.network.endpoint import Endpoint
from rundlet.network.names import NameTables
from rundlet.network.names import Server as Told
from rundlet.network.networks import Network


def packed(name: str, kind: int = message.A, *, edns: int = 0, number: int = 7, flags: int = 0x0100) -> bytes:
    head = message.HEADER.pack(number, flags, 1, 0, 0, 1 if edns else 0)
    extra = b"\0" + struct.pack(">HHIH", 41, edns, 0, 0) if edns else b""
    return head + message.encode_name(name) + struct.pack(">HH", kind, 1) + extra


def query(name: str, kind: int = message.A) -> Query:
    found = message.parse(packed(name, kind))
    assert found is not None
    return found


def test_a_query() -> None:
    found = message.parse(packed("Web.Example", edns=1232))
    assert found is not None
    assert (found.id, found.name, found.kind, found.edns, found.size) == (7, "web.example", message.A, True, 1232)
    assert query("x").size == 512
    assert message.parse(b"short") is None
    assert message.parse(packed("a", flags=0x8000)) is None, "an answer is never answered"


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (packed("a", flags=0x2800), message.NOTIMP),
        (message.HEADER.pack(1, 0, 2, 0, 0, 0) + b"\0" * 40, message.FORMERR),
        (message.HEADER.pack(1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", message.FORMERR),
        (message.HEADER.pack(1, 0, 1, 0, 0, 0) + b"\5ab", message.FORMERR),
        (message.HEADER.pack(1, 0, 1, 0, 0, 0) + b"\1a\0\0\1", message.FORMERR),
        (message.HEADER.pack(1, 0, 1, 0, 0, 0) + b"\1a" * 200 + b"\0\0\1\0\1", message.FORMERR),
        (message.HEADER.pack(1, 0, 1, 0, 0, 0) + b"\1a\0\0\1\0\3", message.REFUSED),
    ],
)
def test_what_is_no_query(data: bytes, rcode: int) -> None:
    with pytest.raises(FormatError) as caught:
        message.parse(data)
    assert caught.value.rcode == rcode
    assert message.refuse(data, rcode)[3] & 15 == rcode


def test_an_answer() -> None:
    asked = query("web")
    data = message.respond(asked, [Record(message.A, b"\x0a\0\0\1")])
    assert message.answers(data, 7, asked.question)
    assert not message.answers(data, 8, asked.question)
    assert not message.answers(data, 7, query("wob").question)
    assert data.endswith(b"\x00\x04\x0a\0\0\1")
    many = [Record(message.A, b"\x0a\0\0\1")] * 100
    short = message.respond(asked, many, limit=512)
    assert 512 - 16 < len(short) <= 512
    assert short[2] & 0x02, "truncated: ask by TCP"
    count = int.from_bytes(short[6:8], "big")
    assert short == message.respond(asked, many[:count])[:2] + short[2:3] + message.respond(asked, many[:count])[3:]
    assert len(message.respond(asked, many)) > 512
    assert message.with_id(data, 9)[:2] == b"\0\x09"


def test_reverse_addresses() -> None:
    assert message.reverse_address("2.0.18.172.in-addr.arpa") == "172.18.0.2"
    for name in ("2.0.18.in-addr.arpa", "x.0.18.172.in-addr.arpa", "300.0.18.172.in-addr.arpa", "example.org"):
        assert message.reverse_address(name) == ""


def test_reverse_addresses_of_ipv6() -> None:
    digits = ".".join(reversed("fd77000000000000000000000000abcd"))
    assert message.reverse_address(f"{digits}.ip6.arpa") == "fd77::abcd"
    for nonsense in (digits[2:], f"x{digits[1:]}", f"{digits}.0"):
        assert message.reverse_address(f"{nonsense}.ip6.arpa") == ""


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[tuple[NameTables, Tables]]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield NameTables(str(tmp_path)), Tables(fd)
    os.close(fd)


def endpoint(name: str, address: str, *names: str, links: tuple[str, ...] = ()) -> Endpoint:
    return Endpoint(name, name, "n", name, address, 16, "10.0.0.1", "", names=(name, *names), links=links)


NETWORK = Network("n", "mine", "bridge", 0)


def test_tables(tables: tuple[NameTables, Tables]) -> None:
    written, read = tables
    one = endpoint("one", "10.0.0.2", "pool", links=("two:db",))
    two = endpoint("two", "10.0.0.3", "Pool")
    written.write_network(NETWORK, [one, two])
    written.write_sandbox("one", [(one, NETWORK)], [Told("192.0.2.1"), Told("127.0.0.53", True)])
    assert read.answer("one", query("two")) == [Record(message.A, b"\x0a\0\0\3")]
    assert read.answer("one", query("two.mine")) == [Record(message.A, b"\x0a\0\0\3")]
    assert read.answer("one", query("db")) == [Record(message.A, b"\x0a\0\0\3")]
    assert read.answer("one", query("two", message.AAAA)) == [], "it exists, without an IPv6 address"
    assert read.answer("one", query("three")) is None
    assert read.answer("one", query("two.mine.mine")) is None
    first = {(read.answer("one", query("pool")) or [])[0].data[-1] for _ in range(4)}
    assert first == {2, 3}, "round robin"
    pointer = read.answer("one", query("3.0.0.10.in-addr.arpa", message.PTR))
    assert pointer == [Record(message.PTR, b"\3two\4mine\0")]
    assert read.servers("one") == [Server("192.0.2.1", False), Server("127.0.0.53", True)]
    written.write_network(NETWORK, [one])
    assert read.answer("one", query("two")) is None, "replaced files are read again"
    written.keep_only(["one"])
    assert read.answer("one", query("one")) is None
    assert read.answer("gone", query("one")) is None
    assert read.servers("gone") == []


def test_nothing_is_forwarded_from_internal_networks(tables: tuple[NameTables, Tables]) -> None:
    written, read = tables
    inside = Network("n", "mine", "bridge", 0, internal=True)
    one = endpoint("one", "10.0.0.2")
    written.write_sandbox("one", [(one, inside)], [Told("192.0.2.1")])
    assert read.servers("one") == []
    written.write_sandbox("one", [(one, inside), (endpoint("one", "10.1.0.2"), NETWORK)], [Told("192.0.2.1")])
    assert read.servers("one") == [Server("192.0.2.1", False)]


@pytest.mark.parametrize("dotted", [False, True])
def test_names_without_a_dot_stay_here_where_dots_are_wanted(tables: tuple[NameTables, Tables], dotted: bool) -> None:
    written, read = tables
    one = endpoint("one", "10.0.0.2")
    written.write_sandbox("one", [(one, NETWORK)], [Told("192.0.2.1", dotted=dotted)])
    assert read.answers_alone("one", query("single")) is dotted
    assert read.answers_alone("one", query("single", message.AAAA)) is dotted
    assert not read.answers_alone("one", query("single.corp.example"))
    assert not read.answers_alone("one", query("single", message.PTR))


def test_a_table_that_is_no_table_answers_nothing(tables: tuple[NameTables, Tables]) -> None:
    written, read = tables
    for content in ("", "[]", "{", '"text"'):
        Path(written.directory, "one").write_text(content)
        assert read.answer("one", query("one")) is None


def test_both_families(tables: tuple[NameTables, Tables]) -> None:
    names, seen = tables
    network = Network("six-id", "six", "bridge", 0)
    both = msgspec.structs.replace(endpoint("web", "10.0.0.2"), address6="fd77::2")
    only6 = msgspec.structs.replace(endpoint("six", ""), address6="fd77::3")
    names.write_network(network, [both, only6])
    names.write_sandbox("box", [(both, network)], ())
    box = "box"
    v4, v6 = bytes((10, 0, 0, 2)), socket.inet_pton(socket.AF_INET6, "fd77::2")
    assert seen.answer(box, query("web")) == [Record(message.A, v4)]
    assert seen.answer(box, query("web", message.AAAA)) == [Record(message.AAAA, v6)]
    assert seen.answer(box, query("web", message.ANY)) == [Record(message.A, v4), Record(message.AAAA, v6)]
    assert seen.answer(box, query("web", 16)) == []
    assert seen.answer(box, query("six")) == []
    reverse = ".".join(reversed("fd770000000000000000000000000003")) + ".ip6.arpa"
    assert seen.answer(box, query(reverse, message.PTR)) == [Record(message.PTR, message.encode_name("six.six"))]
