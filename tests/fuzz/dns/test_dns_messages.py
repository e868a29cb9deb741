"""Whatever a container sends to the resolver: an answer in its terms, or none; never a failure."""

import os
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rundlet.linux.loop import Loop
from rundlet.network.dns import message
from rundlet.network.dns.forward import Forwarder
from rundlet.network.dns.message import FormatError, Record
from rundlet.network.dns.sandboxes import Sandbox
from rundlet.network.dns.tables import Tables

HEADERS = st.builds(
    message.HEADER.pack,
    *(st.integers(0, 65535) for _ in range(2)),
    st.sampled_from([0, 1, 1, 1, 2, 65535]),
    *(st.integers(0, 3) for _ in range(3)),
)
NAMES = st.lists(st.binary(min_size=0, max_size=70), max_size=6).map(
    lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
)
PACKETS = st.one_of(
    st.binary(max_size=600),
    st.tuples(HEADERS, NAMES, st.binary(max_size=40)).map(b"".join),
    st.tuples(HEADERS, NAMES, st.sampled_from([struct.pack(">HH", 1, 1), struct.pack(">HH", 12, 1)])).map(b"".join),
)


@settings(max_examples=400, deadline=None)
@given(PACKETS)
def test_any_packet(data: bytes) -> None:
    try:
        query = message.parse(data)
    except FormatError as exc:
        assert len(message.refuse(data, exc.rcode)) == 12
        return
    if query is not None:
        answer = message.respond(query, [Record(message.A, b"\0" * 4)] * 3, limit=512)
        assert len(answer) <= max(512, 12 + len(query.question) + 11)
        assert message.answers(answer, query.id, query.question)


@pytest.fixture
def sandbox(tmp_path):
    loop = Loop()
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket()
    udp.bind(("127.0.0.1", 0))
    tcp.bind(("127.0.0.1", 0))
    tcp.listen()
    addresses = udp.getsockname(), tcp.getsockname()
    fds = udp.detach(), tcp.detach(), namespace
    made = Sandbox(loop, Tables(directory), Forwarder(loop, namespace), "abc", fds)
    yield made, loop, addresses
    made.close()
    os.close(directory)


def turn(loop: Loop) -> None:
    loop.later(0.01, loop.stop)
    loop._running = True
    loop.run()


@settings(max_examples=60, deadline=None)
@given(st.lists(PACKETS, min_size=1, max_size=20))
def test_floods_and_streams_of_nonsense(packets: list[bytes]) -> None:
    collected: list[bytes] = []
    loop = Loop()
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    made = Sandbox.__new__(Sandbox)
    made.identifier = "abc"
    made._tables = Tables(directory)
    made._forwarder = Forwarder(loop, -1)
    made._namespace = -1
    for packet in packets:
        made.handle(packet, collected.append, tcp=True)
    os.close(directory)
    assert all(answer[2] & 0x80 for answer in collected)


def test_pieces_and_nonsense_by_tcp(sandbox) -> None:
    _, loop, (_, address) = sandbox
    whole = message.HEADER.pack(5, 0x0100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1"
    with socket.create_connection(address) as client:
        for piece in (b"\0", bytes((len(whole),)), whole[:5], whole[5:]):
            client.sendall(piece)
            turn(loop)
        client.settimeout(1)
        answer = client.recv(100)
    assert answer[2:4] == b"\0\x05"
    assert answer[5] & 15 == message.SERVFAIL
    with socket.create_connection(address) as client:
        client.sendall(b"\xff\xff" + os.urandom(3000))
        turn(loop)
    turn(loop)


def test_a_flood_of_connections_is_bounded(sandbox) -> None:
    made, loop, (_, address) = sandbox
    clients = []
    for _ in range(70):
        clients.append(socket.create_connection(address))
        turn(loop)
    assert len(made._clients) == 64
    for client in clients:
        client.close()
    turn(loop)
