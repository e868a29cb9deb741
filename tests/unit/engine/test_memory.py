"""Memory is given back after long work."""

import asyncio

import pytest

from rundlet.engine import memory
from rundlet.linux import heap


async def test_transfers_that_end_together_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def trim() -> None:
        trimmed.append(True)
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(heap, "trim", trim)
    monkeypatch.setattr(memory, "DELAY", 0.01)
    for _ in range(3):
        memory.give_back_soon()
    async with asyncio.timeout(30):
        await done.wait()
    assert len(trimmed) == 1
    done.clear()
    memory.give_back_soon()
    async with asyncio.timeout(30):
        await done.wait()
    assert len(trimmed) == 2
