"""The two epoll loops: the shim's, and that of the network's workers."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from rundlet.network.serving import loop as workers
from rundlet.runtime.shim import loop as shims

READ = shims.READ


@pytest.fixture(params=[shims.Loop, workers.Loop], ids=["shim", "workers"])
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    loop = request.param()
    yield loop
    loop._epoll.close()


def test_what_was_reported_of_a_closed_descriptor_is_not_told_to_its_successor(loop: Any) -> None:
    """One callback closes the other's descriptor, and opens a new one: it gets the same number, in the same turn."""
    pipes = [os.pipe() for _ in range(2)]
    new: list[tuple[int, int]] = []
    told: list[int] = []

    def ended(number: int) -> None:
        other = next(reading for reading, _ in pipes if reading != number)
        for fd in (number, other):
            loop.remove(fd)
            os.close(fd)
        new.extend(os.pipe() for _ in range(2))
        for reading, _ in new:
            loop.add(reading, READ, told.append)

    for reading, writing in pipes:
        loop.add(reading, READ, lambda _events, number=reading: ended(number))
        os.close(writing)
    loop.turn()
    assert {reading for reading, _ in pipes} & {reading for reading, _ in new}, "no number was used again"
    assert told == []
    os.write(new[0][1], b"x")
    loop.turn()
    assert len(told) == 1  # its own news it is told, in the next turn
    for fd in (fd for pair in new for fd in pair):
        loop.remove(fd)
        os.close(fd)
