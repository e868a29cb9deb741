"""Waiters on what the engine knows of a container beside its record."""

import asyncio

from rundlet.engine.containers.live import Registry


async def test_who_has_seen_output_waits_for_the_start_to_be_recorded() -> None:
    registry = Registry()
    live = registry.of("box")
    await registry.started("box")
    await registry.started("unheard of")
    live.begin_start()
    waiting = asyncio.create_task(registry.started("box"))
    await asyncio.sleep(0)
    assert not waiting.done()
    live.end_start()
    await waiting
    await registry.started("box")
