"""What happened: a bounded history and live subscribers.

A subscriber that does not read loses its oldest events rather than hold up the engine; Docker keeps the last 256 in
memory and so do we.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping

import msgspec

from rundlet.util.clock import Clock

HISTORY = 256
QUEUE = 4096


class Event(msgspec.Struct, frozen=True):
    """``kind`` is container, image, network, volume or daemon; ``actor`` its ID; ``time_ns`` since the epoch."""

    kind: str
    action: str
    actor: str
    attributes: dict[str, str]
    time_ns: int
    scope: str = "local"


class EventBus:
    """Publish from the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._hidden: set[str] = set()
        self.total = 0
        """How many there have been."""

    def hide(self, container_id: str) -> None:
        """Nothing is said of a container, and of networks when it comes and goes, until :meth:`reveal`."""
        self._hidden.add(container_id)

    def reveal(self, container_id: str) -> None:
        self._hidden.discard(container_id)

    def publish(self, kind: str, action: str, actor: str, attributes: Mapping[str, str] | None = None) -> None:
        if self._hidden and (actor in self._hidden or (attributes or {}).get("container") in self._hidden):
            return
        event = Event(kind, action, actor, dict(attributes or {}), self._clock.now_ns())
        self._history.append(event)
        self.total += 1
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    @property
    def listeners(self) -> int:
        return len(self._subscribers)

    def history(self) -> list[Event]:
        return list(self._history)

    def subscribe(self, *, since_ns: int = 0, until_ns: int = 0, replay: bool = False) -> AsyncIterator[Event]:
        """Past events from ``since_ns`` (with ``replay``), then live ones until ``until_ns`` (0: for ever).

        Nothing that happens after this returns is missed, however late the first event is asked for.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE)
        past = [event for event in self._history if event.time_ns >= since_ns] if replay else []
        self._subscribers.add(queue)
        stream = self._stream(queue, past, until_ns)
        # A subscriber may go before it has asked for anything.
        weakref.finalize(stream, self._subscribers.discard, queue)
        return stream

    async def _stream(
        self, queue: "asyncio.Queue[Event | None]", past: list[Event], until_ns: int
    ) -> AsyncIterator[Event]:
        try:
            for event in past:
                if not until_ns or event.time_ns <= until_ns:
                    yield event
            while True:
                left = None
                if until_ns:
                    left = (until_ns - self._clock.now_ns()) / 1e9
                    if left <= 0:
                        return
                try:
                    received = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    return
                if received is None:
                    return
                yield received
        finally:
            self._subscribers.discard(queue)

    def close(self) -> None:
        """End every subscription."""
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
