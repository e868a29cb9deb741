"""A process's output on its way to attached clients, with an end that comes while a client is behind."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from rundlet.runtime.shim.loop import READ, Loop
from rundlet.runtime.shim.streams import BACKLOG, STDERR, STDOUT, Hub

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
