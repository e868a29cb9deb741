"""A process's streams between random processes and random clients: a seeded walk over what either may do.

After every step: no client is owed more than the bound. When everything has come to rest, the loop rests too. In the
end the log has all that was written, in order; each client that stayed got exactly what came while it was attached; the
process got what clients were heard to say.
"""

import contextlib
import fcntl
import os
import random
import select
import socket
import struct
from dataclasses import dataclass, field

import pytest

from rundlet.linux.loop import Loop
from rundlet.runtime.shim import streams
from rundlet.runtime.shim.streams import STDERR, STDIN, STDOUT, Client, Hub

CHUNK = 256
BACKLOG = 1024
_PIPE = 4096
_TURNS = 2000  # far more than any of these walks needs to come to rest
_HEADER = struct.Struct(">BxxxL")
_NUMBERS = {"stdout": STDOUT, "stderr": STDERR}


@dataclass
class Peer:
    """A client's end."""

    end: socket.socket
    wanted: frozenset[int]
    began: int  # how much had been logged when it came
    letter: bytes
    mine: Client
    got: bytearray = field(default_factory=bytearray)
    said: int = 0
    closed: bool = False  # its sending side
    over: bool = False  # it has seen the end
    excused: bool = False  # it is let go of before the end, by what it did itself


class Walk:
    """One process, its hub, and whoever is attached."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = Loop()
        self.logged: list[tuple[int, bytes]] = []
        self.stdin_once = self.random.random() < 0.5
        self.hub = Hub(self.loop, self, tty=False, stdin_once=self.stdin_once, on_logger_gone=lambda: None)
        self.fed = bytearray()
        self._feed = self.hub.feed
        self.hub.feed = self.hear  # type: ignore[method-assign]
        self.peers: list[Peer] = []
        self.written: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self.taken = bytearray()
        out, err, inn = (os.pipe() for _ in range(3))
        for _, writing in (out, err, inn):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
        self.process = {STDOUT: out[1], STDERR: err[1], STDIN: inn[0]}
        for fd in self.process.values():
            os.set_blocking(fd, False)
        self.hub.outputs(out[0], err[0])
        self.hub.input(inn[1])

    def write(self, stream: str, chunk: bytes) -> None:
        """As the log."""
        self.logged.append((_NUMBERS[stream], chunk))

    def hear(self, data: bytes) -> None:
        if not self.hub._close_input:
            self.fed += data
        self._feed(data)

    # What may happen

    def process_writes(self) -> None:
        stream = self.random.choice((STDOUT, STDERR))
        if stream in self.process:
            data = self.random.randbytes(self.random.choice((1, 10, 300, 3000)))
            with contextlib.suppress(BlockingIOError):
                self.written[stream] += data[: os.write(self.process[stream], data)]

    def process_closes(self) -> None:
        stream = self.random.choice((STDOUT, STDERR, STDIN))
        if stream in self.process and self.random.random() < 0.15:
            os.close(self.process.pop(stream))

    def process_reads(self) -> None:
        if STDIN in self.process:
            with contextlib.suppress(BlockingIOError):
                self.taken += os.read(self.process[STDIN], self.random.choice((1, 100, 10000)))

    def client_comes(self) -> None:
        if len(self.peers) == 8:
            return
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        wanted = frozenset(stream for stream in (STDIN, STDOUT, STDERR) if self.random.random() < 0.7)
        logger = self.random.random() < 0.2
        if logger:
            wanted = frozenset((STDOUT, STDERR))
            self.hub.log_to(far.detach())
        else:
            self.hub.attach(far.detach(), wanted)
        letter = bytes((65 + len(self.peers),))
        self.peers.append(Peer(near, wanted, len(self.logged), letter, self.hub._clients[-1], closed=logger))

    def client_reads(self) -> None:
        peer = self.pick()
        if peer is not None:
            self.take(peer, self.random.choice((1, 500, 100000)))

    def client_vanishes(self) -> None:
        peer = self.pick()
        if peer is not None and self.random.random() < 0.3:
            peer.end.close()
            peer.over = peer.excused = True

    def client_speaks(self) -> None:
        peer = self.pick()
        if peer is not None and not peer.closed:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                peer.said += peer.end.send(peer.letter * self.random.choice((1, 200, 5000)))

    def client_says_no_more(self) -> None:
        peer = self.pick()
        if peer is not None and not peer.closed and self.random.random() < 0.3:
            peer.closed = True
            peer.excused = STDIN in peer.wanted and not self.stdin_once  # Docker: that ends its attachment
            with contextlib.suppress(OSError):
                peer.end.shutdown(socket.SHUT_WR)

    # The walk

    def pick(self) -> Peer | None:
        there = [peer for peer in self.peers if not peer.over]
        return self.random.choice(there) if there else None

    def take(self, peer: Peer, most: int) -> None:
        try:
            data = peer.end.recv(most)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""  # it still had something to say
        peer.got += data
        peer.over = not data

    def turn(self) -> bool:
        """One of the loop's, if it has anything to do."""
        if not select.select([self.loop], [], [], 0)[0]:
            return False
        self.loop.turn()
        return True

    def rest(self) -> None:
        for _ in range(_TURNS):
            if not self.turn():
                return
        raise AssertionError("the loop does not come to rest")

    def check(self) -> None:
        for client in self.hub._clients:
            assert client.backlog < BACKLOG + CHUNK + _HEADER.size
        assert len(self.hub._queue) <= CHUNK * max(1, len(self.peers))

    def go(self) -> None:
        deeds = [self.process_writes] * 6 + [self.client_reads] * 4 + [self.process_reads, self.client_speaks] * 2
        deeds += [self.client_comes, self.client_vanishes, self.client_says_no_more, self.process_closes]
        for _ in range(self.random.randrange(20, 160)):
            self.random.choice(deeds)()
            for _ in range(self.random.choice((0, 0, 1, 3))):
                self.turn()
            self.check()
            if self.random.random() < 0.05:
                self.rest()
        self.end()

    def end(self) -> None:
        """The process ends, as the container sees it; clients that are left read to their end."""
        for fd in self.process.values():
            os.close(fd)
        for _ in range(self.random.choice((0, 0, 1, 5))):
            self.turn()
        self.hub.drain()
        assert not self.hub.open()
        self.hub.close()
        for _ in range(_TURNS):
            self.rest()
            if (peer := self.pick()) is None:
                break
            self.take(peer, 100000)
        self.rest()
        assert not self.hub.busy()
        self.judge()

    def judge(self) -> None:
        for stream, written in self.written.items():
            assert _same(b"".join(chunk for number, chunk in self.logged if number == stream), written)
        for peer in self.peers:
            expected = [(number, chunk) for number, chunk in self.logged[peer.began :] if number in peer.wanted]
            wire = b"".join(_HEADER.pack(number, len(chunk)) + chunk for number, chunk in expected)
            wire += _HEADER.pack(STDOUT, 0) if peer.mine._logger else b""
            assert _same(peer.got, wire[: len(peer.got)])
            assert peer.excused or len(peer.got) == len(wire)
        assert _same(self.taken, self.fed[: len(self.taken)])
        for peer in self.peers:
            assert self.fed.count(peer.letter) <= (peer.said if STDIN in peer.wanted else 0)

    def close(self) -> None:
        for peer in self.peers:
            peer.end.close()
        self.loop.close()


def _same(one: bytes | bytearray, other: bytes | bytearray) -> bool:
    """Not an assertion on the bytes themselves: a failure would print them."""
    return bytes(one) == bytes(other)


def walk(seed: int) -> None:
    found = Walk(seed)
    try:
        found.go()
    finally:
        found.close()


@pytest.mark.parametrize("part", range(4))
def test_streams_in_any_order_of_events(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHUNK", CHUNK)
    monkeypatch.setattr(streams, "BACKLOG", BACKLOG)
    before = len(os.listdir("/proc/self/fd"))
    for seed in range(part * 60, part * 60 + 60):
        try:
            walk(seed)
        except Exception as exc:
            raise AssertionError(f"seed {seed}") from exc
    assert len(os.listdir("/proc/self/fd")) == before
