"""Who asks about a build, before it, in it and after it."""

import asyncio

import pytest

from rundlet.api.buildkit import StatusResponse, Vertex
from rundlet.engine.buildkit import progress
from rundlet.engine.buildkit.jobs import JobNotFoundError, Jobs
from rundlet.engine.buildkit.progress import Channel

STEP = StatusResponse(vertexes=(Vertex("sha256:1", "step"),))


async def heard(channel: Channel) -> list[StatusResponse]:
    async with asyncio.timeout(5):
        return [message async for message in channel.listen()]


async def test_who_asks_too_late_hears_all_there_is_and_the_end() -> None:
    """buildx does nothing but look around in its first build: its Status may come when that is over."""
    jobs = Jobs()
    async with jobs.solving("r", "s") as job:
        await job.said.say(STEP)
    assert await heard(await jobs.said("r")) == [STEP]
    with pytest.raises(JobNotFoundError):
        async with asyncio.timeout(5):
            await jobs.get("r")
    # The next one of that name is another one.
    async with jobs.solving("r", "s") as again:
        assert await jobs.get("r") is again
        assert await jobs.said("r") is again.said


async def test_who_asks_too_early_is_told_of_a_build_that_is_over_in_no_time() -> None:
    jobs = Jobs()
    waiting = [asyncio.create_task(jobs.said("r")), asyncio.create_task(jobs.get("r"))]
    await asyncio.sleep(0)
    async with jobs.solving("r", "s"):
        pass
    async with asyncio.timeout(5):
        assert await heard(await waiting[0]) == []
        with pytest.raises(JobNotFoundError):
            await waiting[1]


async def test_a_hundred_builds_that_are_over_are_known() -> None:
    jobs = Jobs()
    for number in range(101):
        async with jobs.solving(f"r{number}", "s"):
            pass
    assert await heard(await jobs.said("r1")) == []
    assert "r0" not in jobs._ended


async def test_a_listener_who_leaves_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_WAITING", 1)
    channel = Channel()
    listening = channel.listen()
    first = asyncio.create_task(anext(listening))
    await asyncio.sleep(0)
    await channel.say(STEP)
    assert await first is STEP
    await channel.say(STEP)
    blocked = asyncio.create_task(channel.say(STEP))
    ending = asyncio.create_task(channel.end())
    await asyncio.sleep(0)
    assert not blocked.done()
    await listening.aclose()
    async with asyncio.timeout(5):
        await asyncio.gather(blocked, ending)


async def test_a_build_that_is_cancelled_at_its_very_beginning_leaves_nothing() -> None:
    jobs = Jobs()

    async def solve() -> None:
        async with jobs.solving("r", "s"):
            raise AssertionError

    async with jobs._news:  # as who asks has it for a moment
        solving = asyncio.create_task(solve())
        await asyncio.sleep(0)
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await solving
    assert not jobs._jobs
    assert await heard(await jobs.said("r")) == []
