"""An epoll loop with callbacks and timers: all that a shim waits for goes through it."""

import select
import time
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT

Callback = Callable[[int], None]


class Loop:
    """``add`` and ``remove`` may be called by callbacks, also for descriptors whose turn is yet to come.

    A number that one callback closes may be another descriptor's in the same turn: what was reported for the former is
    not told to the latter.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._fresh: set[int] = set()  # added in this turn: nothing that was reported is about them
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._next_timer = 0
        self._running = True

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, fd: int, events: int, callback: Callback) -> None:
        """Call ``callback(events)`` whenever ``fd`` is ready."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback
        self._fresh.add(fd)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Before the descriptor is closed. Nothing happens if it isn't there."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def has(self, fd: int) -> bool:
        return fd in self._callbacks

    def later(self, seconds: float, callback: Callable[[], None]) -> int:
        """Call once after ``seconds``; returns a number for :meth:`cancel`."""
        self._next_timer += 1
        self._timers[self._next_timer] = (time.monotonic() + seconds, callback)
        return self._next_timer

    def cancel(self, timer: int) -> None:
        self._timers.pop(timer, None)

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._epoll.close()

    def run(self) -> None:
        """Until :meth:`stop`."""
        while self._running:
            self.turn()

    def turn(self) -> None:
        """Wait for something and handle it."""
        ready = self._epoll.poll(self._timeout())
        self._fresh.clear()
        for fd, events in ready:
            callback = self._callbacks.get(fd)
            if callback is not None and fd not in self._fresh:
                callback(events)
        if self._timers:
            self._fire()

    def _timeout(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, min(when for when, _ in self._timers.values()) - time.monotonic())

    def _fire(self) -> None:
        now = time.monotonic()
        for number, (when, callback) in list(self._timers.items()):
            if when <= now and self._timers.pop(number, None) is not None:
                callback()
