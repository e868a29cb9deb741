"""What waits between the shim and a log service: bounded, in whole lines.

Blocking, a full queue makes the shim wait, and the container with it; otherwise what doesn't fit is dropped and counted
(``--log-opt mode=non-blocking``, ``max-buffer-size``).
"""

from collections import deque
from typing import NamedTuple

PARTIAL = 16384


class Block(NamedTuple):
    """Whole lines, or a piece of a line that is longer than ``PARTIAL``; ``time_ns`` is when it was read."""

    stream: int
    time_ns: int
    data: bytes


class Splitter:
    """Cuts one stream where lines end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """What is complete now."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        parts = [data[:end]] if end else []
        rest = data[end:]
        while len(rest) >= PARTIAL:
            parts.append(rest[:PARTIAL])
            rest = rest[PARTIAL:]
        self._rest = rest
        return parts

    def finish(self) -> list[bytes]:
        """What was left without a newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def lines(data: bytes) -> "list[tuple[bytes, bool]]":
    """The messages of a block, without newlines; True: the line goes on in the next message."""
    found: list[tuple[bytes, bool]] = []
    whole = data.endswith(b"\n")
    pieces = (data[:-1] if whole else data).split(b"\n")
    for number, line in enumerate(pieces):
        last = (len(line) - 1) // PARTIAL * PARTIAL if line else 0
        found += [(line[start : start + PARTIAL], True) for start in range(0, last, PARTIAL)]
        cut = number == len(pieces) - 1 and not whole and len(line) - last == PARTIAL
        found.append((line[last:], cut))
    return found


class Queue:
    """One producer, one consumer, two threads."""

    def __init__(self, limit: int, *, blocking: bool) -> None:
        """``limit`` in bytes; a single block may be larger."""
        # Not when the launcher imports us: only this process has threads.
        import threading

        self._limit = limit
        self._blocking = blocking
        self._blocks: deque[Block] = deque()
        self._size = 0
        self._closed = self._given_up = False
        self._changed = threading.Condition()
        self.dropped = 0
        """Lines that found no room."""

    def put(self, block: Block) -> None:
        with self._changed:
            while not self._given_up and self._size and self._size + len(block.data) > self._limit:
                if not self._blocking:
                    self.dropped += len(lines(block.data))
                    return
                self._changed.wait()
            if self._given_up:
                self.dropped += len(lines(block.data))
                return
            self._blocks.append(block)
            self._size += len(block.data)
            self._changed.notify_all()

    def get(self) -> Block | None:
        """The next; None at the end."""
        with self._changed:
            while not self._blocks and not self._closed:
                self._changed.wait()
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._size -= len(block.data)
            self._changed.notify_all()
            return block

    def give_up(self) -> None:
        """The consumer has ended: what is here, and what comes, is dropped and counted."""
        with self._changed:
            self._given_up = True
            self.dropped += sum(len(lines(block.data)) for block in self._blocks)
            self._blocks.clear()
            self._size = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be put in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
