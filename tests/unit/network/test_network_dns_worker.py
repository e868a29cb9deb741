"""The resolver's process: what it waits for when a sandbox goes, and when there are no descriptors left."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rundlet.linux.loop import READ, Loop
from rundlet.network.dns import forward, message
from rundlet.network.dns.forward import Forwarder
from rundlet.network.dns.sandboxes import Sandbox
from rundlet.network.dns.tables import Server
from rundlet.network.serving.connections import Connections


class Tables:
    """A sandbox whose names somebody else knows."""

    def answer(self, _sandbox: str, _query: message.Query) -> None:
        return None

    def answers_alone(self, _sandbox: str, _query: message.Query) -> bool:
        return False

    def servers(self, _sandbox: str) -> list[Server]:
        return [Server("127.0.0.1", from_host=True)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    """One that never waits: something is always ready."""
    loop = Loop()
    ticks, tock = os.pipe()
    os.write(tock, b"x")
    loop.add(ticks, READ, lambda _events: None)
    yield loop
    loop._epoll.close()
    os.close(ticks)
    os.close(tock)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server that answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        monkeypatch.setattr(forward, "_PORT", server.getsockname()[1])
        yield server


@contextlib.contextmanager
def _no_descriptors() -> Iterator[None]:
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _sandbox(loop: Loop, forwarder: Forwarder) -> tuple[Sandbox, socket.socket, Any]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for one in (udp, tcp):
        one.bind(("127.0.0.1", 0))
    tcp.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(udp.getsockname())
    where = tcp.getsockname()
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    fds = (udp.detach(), tcp.detach(), namespace)
    return Sandbox(loop, Tables(), forwarder, "a", fds), client, where  # type: ignore[arg-type]


def test_questions_of_a_sandbox_end_with_it(loop: Loop, silent: socket.socket) -> None:
    """The number of its network namespace's descriptor may be another sandbox's a moment later."""
    forwarder = Forwarder(loop, -1)
    sandbox, client, _ = _sandbox(loop, forwarder)
    question = message.HEADER.pack(7, 0x0100, 1, 0, 0, 0) + message.encode_name("example.com") + b"\0\1\0\1"
    with client:
        client.send(question)
        for _ in range(10):
            loop.turn()
        assert silent.recv(1000)[2:] == question[2:]
        assert len(forwarder._exchanges) == 1
        sandbox.close()
    assert not forwarder._exchanges
    assert not forwarder._open
    assert len(loop._callbacks) == 1  # the fixture's


def test_nobody_is_asked_for_a_name_that_is_not_whole(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tables, "answers_alone", lambda *_: True)
    forwarder = Forwarder(loop, -1)
    sandbox, client, _ = _sandbox(loop, forwarder)
    client.settimeout(30)
    with client:
        client.send(message.HEADER.pack(7, 0x0100, 1, 0, 0, 0) + message.encode_name("single") + b"\0\1\0\1")
        loop.turn()
        loop.turn()
        answer = client.recv(1000)
        assert message.rcode_of(answer) == message.NOERROR
        assert answer[6:8] == b"\0\0"
        assert not forwarder._exchanges
    sandbox.close()


def test_a_resolver_without_descriptors_does_not_spin(loop: Loop) -> None:
    sandbox, client, where = _sandbox(loop, Forwarder(loop, -1))
    client.close()
    with socket.socket() as late:
        late.connect(where)
        with _no_descriptors():
            loop.turn()
            assert len(loop._callbacks) == 2  # not the one for TCP
        while not sandbox._clients:
            loop.turn()
    sandbox.close()


def test_connections_that_find_no_room_are_taken_later(loop: Loop, tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late,
    ):
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        places: Connections[object] = Connections(loop, listener, lambda *_: None, lambda _held: None, most_fds=1)
        late.connect(str(tmp_path / "s"))
        with _no_descriptors():
            loop.turn()
            assert listener.fileno() not in loop._callbacks
        while not places._open:
            loop.turn()
        late.close()
        while places._open:
            loop.turn()
