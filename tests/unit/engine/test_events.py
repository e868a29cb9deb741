"""The event bus: history, live events, and when a subscription begins and ends."""

import gc

from rundlet.engine.events import EventBus
from rundlet.util.clock import SystemClock


async def test_what_happens_before_the_first_question_is_not_missed() -> None:
    bus = EventBus(SystemClock())
    stream = bus.subscribe()
    bus.publish("container", "start", "one")
    assert (await anext(stream)).actor == "one"
    bus.close()
    assert [event async for event in stream] == []
    assert bus.listeners == 0


async def test_a_subscriber_that_asks_for_nothing_is_forgotten() -> None:
    bus = EventBus(SystemClock())
    stream = bus.subscribe()
    assert bus.listeners == 1
    del stream
    gc.collect()
    assert bus.listeners == 0
