"""An epoll loop with callbacks and timers: all that a shim, a resolver or a proxy waits for goes through one.

Standard library only: shims are forked with it.
"""

import heapq
import select
import time
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT

Callback = Callable[[int], None]


class Timer:
    """``cancel`` it when it isn't needed any more; it may then wait in the loop for its time, without effect."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Callbacks may add and remove descriptors, also those whose turn is yet to come.

    A number that one callback closes may be another descriptor's in the same turn: what was reported for the former is
    not told to the latter.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._fresh: set[int] = set()  # added in this turn: nothing that was reported is about them
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
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
        """Before the descriptor is closed; nothing happens when it isn't there."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def has(self, fd: int) -> bool:
        return fd in self._callbacks

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once after ``seconds``."""
        timer = Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, timer))
        return timer

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
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
