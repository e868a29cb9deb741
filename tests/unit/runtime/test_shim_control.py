"""The shim's control connections with peers that stand still, and without descriptors to spare."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rundlet.linux.loop import READ, Loop
from rundlet.runtime import protocol
from rundlet.runtime.shim import control
from rundlet.runtime.shim.control import Server, ok

_TURNS = 50


class Place:
    """A server with one connection, whose other end is ``engine``."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.loop = loop
        self.got: list[dict[str, Any]] = []
        self.server = Server(loop, str(path), self.handle)
        self.path = path
        self.engine, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine.setblocking(False)
        self.server.add(far)

    def handle(self, request: dict[str, Any], fds: list[int], reply: control.Reply) -> None:
        self.got.append(request)
        protocol.close_all(fds)
        reply(ok())

    def turn(self, times: int = _TURNS) -> None:
        """Something is always ready: it never waits."""
        for _ in range(times):
            self.loop.turn()

    def read(self) -> list[dict[str, Any]]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while data := self.engine.recv(protocol.MAX_MESSAGE):
                found.append(protocol.decode(data))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    loop = Loop()
    ticks, tock = os.pipe()
    os.write(tock, b"x")
    loop.add(ticks, READ, lambda _events: None)
    place = Place(loop, tmp_path / "s")
    with place.engine:
        yield place
    place.server.close()
    loop.close()
    os.close(ticks)
    os.close(tock)


@contextlib.contextmanager
def _no_room_for(more: int) -> Iterator[None]:
    """So many descriptors may still be opened."""
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_engine_that_stands_still_hears_everything_later(place: Place) -> None:
    """Dropped, it would take its containers for ended, and end them."""
    for number in range(5000):
        place.server.event({"event": "exec_exited", "number": number})
    heard: list[int] = []
    while len(heard) < 5000:
        heard += [message["number"] for message in place.read()]
        place.turn(1)
    assert heard == list(range(5000))
    place.engine.send(protocol.encode({"op": "hello", "seq": 1}))
    place.turn()
    assert [message["seq"] for message in place.read()] == [1]


def test_what_is_kept_for_an_engine_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_MOST_WAITING", 100_000)
    for number in range(5000):
        place.server.event({"event": "exec_exited", "number": number})
    assert not place.server._connections


def test_a_request_whose_descriptors_find_no_room_is_refused(place: Place) -> None:
    reading, writing = os.pipe()
    with _no_room_for(0):
        protocol.send_packet(place.engine, protocol.encode({"op": "attach", "seq": 7}), [reading])
        place.turn()
    (answer,) = place.read()
    assert (answer["seq"], answer["error"]["errno"]) == (7, 24)
    assert "Too many open files" in answer["error"]["message"]
    assert not place.got
    protocol.send_packet(place.engine, protocol.encode({"op": "attach", "seq": 8}), [reading])
    place.turn()
    assert [message["seq"] for message in place.read()] == [8]
    os.close(reading)
    os.close(writing)


def test_a_connection_that_finds_no_room_is_taken_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "_PAUSE", 0.0)
    place.server.listen()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        late.connect(str(place.path))
        with _no_room_for(0):
            place.turn(10)
            assert len(place.server._connections) == 1
        place.turn()
        assert len(place.server._connections) == 2
    place.turn()
    assert len(place.server._connections) == 1
    assert 0 < capfd.readouterr().err.count("a connection could not be taken") <= 10


def test_the_loop_does_not_spin_where_there_is_no_room_for_a_connection(place: Place) -> None:
    place.server.listen()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        late.connect(str(place.path))
        with _no_room_for(0):
            place.turn(10)
            assert not place.loop.has(place.server._listener.fileno())  # type: ignore[union-attr]
