"""The epoll loop of shims and of the network's workers."""

import os
from collections.abc import Iterator

import pytest

from rundlet.linux.loop import READ, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_what_was_reported_of_a_closed_descriptor_is_not_told_to_its_successor(loop: Loop) -> None:
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


def test_timers_are_called_once_by_their_time_and_not_where_they_were_cancelled(loop: Loop) -> None:
    called: list[str] = []
    never = loop.later(0, lambda: called.append("cancelled before"))
    never.cancel()
    later = loop.later(60, lambda: called.append("cancelled by another"))

    def first() -> None:
        called.append("first")
        later.cancel()
        loop.later(0.002, loop.stop)

    loop.later(0.001, lambda: called.append("second"))
    loop.later(0, first)
    loop.run()
    assert called == ["first", "second"]
    later.cancel()
