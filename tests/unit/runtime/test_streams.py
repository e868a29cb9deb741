"""A process's output on its way to attached clients, with an end that comes while a client is behind."""

import contextlib
import os
import socket
import tracemalloc
from collections.abc import Iterator

import pytest

from rundlet.linux.loop import READ, Loop
from rundlet.runtime.shim.streams import BACKLOG, STDERR, STDIN, STDOUT, Hub

_TURNS = 1000  # of the loop: more than all that these tests can need


@pytest.fixture
def loop() -> Iterator[Loop]:
    """One that never waits for ever."""
    loop = Loop()
    ticks, tock = os.pipe()
    os.write(tock, b"x")
    loop.add(ticks, READ, lambda _events: None)
    yield loop
    loop.close()
    os.close(ticks)
    os.close(tock)


def _fill(loop: Loop, fd: int, turns: int) -> int:
    """Write as much as is taken within so many turns; how much that was."""
    written = 0
    for _ in range(turns):
        with contextlib.suppress(BlockingIOError):
            written += os.write(fd, b"x" * 65536)
        loop.turn()
    return written


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, int]]:
    """A client's end of an attachment, and the descriptor that the hub gets."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near:
        yield near, far.detach()


@pytest.fixture
def ending() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("other", [False, True])
def test_a_process_that_ends_while_a_client_is_behind(loop: Loop, ends: tuple[socket.socket, int], other: bool) -> None:
    """Its pipe hangs up while nobody may read it; the client that catches up then gets all of it."""
    client, theirs = ends
    hub = Hub(loop, None, tty=False, stdin_once=False)
    out, program = os.pipe()
    err, program_err = os.pipe()
    hub.outputs(out, err)
    hub.attach(theirs, frozenset((STDOUT, STDERR)))
    os.set_blocking(program, False)
    written = _fill(loop, program, 40)
    assert written > BACKLOG
    os.close(program_err if other else program)
    loop.turn()  # it hung up
    got = b""
    for _ in range(_TURNS):
        with contextlib.suppress(BlockingIOError):
            got += client.recv(1 << 20)
        loop.turn()
    os.close(program if other else program_err)
    hub.drain()
    assert not hub.open()
    hub.close()
    while data := client.recv(1 << 20):
        got += data
    assert got.count(b"x") == written
    assert not hub.busy()


def _rest(loop: Loop) -> None:
    """The ``loop`` fixture's pipe is always ready: so many turns as these tests can need."""
    for _ in range(50):
        loop.turn()


def test_the_end_of_a_client_is_seen_also_when_the_process_closed_its_input(
    loop: Loop, ends: tuple[socket.socket, int]
) -> None:
    """It was waited with while the process took nothing; then nobody takes anything any more."""
    client, theirs = ends
    hub = Hub(loop, None, tty=False, stdin_once=False)
    out, program = os.pipe()
    stdin, into = os.pipe()
    hub.outputs(out)
    hub.input(into)
    hub.attach(theirs, frozenset((STDIN, STDOUT)))
    for _ in range(_TURNS):
        with contextlib.suppress(BlockingIOError):
            client.send(b"x" * 65536)
        loop.turn()
    os.close(stdin)
    _rest(loop)
    client.shutdown(socket.SHUT_WR)
    _rest(loop)
    assert not hub.busy()  # as Docker: the end of what it says is the end of its attachment
    os.close(program)
    hub.close()


def test_a_failure_about_one_client_costs_that_client(
    loop: Loop, ending: contextlib.ExitStack, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(loop, None, tty=False, stdin_once=False)
    out, program = os.pipe()
    hub.outputs(out)
    pairs = [socket.socketpair() for _ in range(3)]
    for near, far in pairs:
        ending.callback(near.close)
        hub.attach(far.detach(), frozenset((STDIN, STDOUT)))
    bad, odd, good = hub._clients

    def fail(*_arguments: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(bad, "send", fail)
    monkeypatch.setattr(odd, "_read", fail)
    pairs[1][0].send(b"hello")
    os.write(program, b"text")
    _rest(loop)
    assert hub._clients == [good]
    assert pairs[2][0].recv(100)[8:] == b"text"
    assert capfd.readouterr().err.count("nobody thought of this") == 2
    os.close(program)
    _rest(loop)
    hub.close()


def test_many_small_pieces_take_no_more_than_their_bytes(loop: Loop, ends: tuple[socket.socket, int]) -> None:
    _client, theirs = ends
    hub = Hub(loop, None, tty=False, stdin_once=False)
    hub.attach(theirs, frozenset((STDOUT,)))
    (owed,) = hub._clients
    while not owed.backlog:
        owed.send(STDOUT, b"x" * 65536, framed=True)
    before = owed.backlog
    tracemalloc.start()
    try:
        for _ in range(50_000):
            owed.send(STDOUT, b"x", framed=True)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert owed.backlog - before == 50_000 * 9
    assert taken < 4 * owed.backlog
    hub.drop(owed)
