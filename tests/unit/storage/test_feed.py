"""Bytes from the event loop to a thread: however it ends, nothing is left to complain about."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterable

import pytest

from rundlet.storage.errors import LayerError
from rundlet.storage.feed import run_fed, shielded


async def test_cancelled_while_it_fails() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    aborted, go = asyncio.Event(), threading.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"x"
        raise LayerError("the source's own")

    def work(chunks: Iterable[bytes]) -> None:
        go.wait(30)
        list(chunks)

    task = asyncio.create_task(run_fed(source(), work, aborted.set))
    await aborted.wait()  # from now on it waits for the thread
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    for thread in threading.enumerate():
        if thread.name.startswith("layer"):
            await asyncio.to_thread(thread.join)  # it knows its last error until then
    for _ in range(5):
        await asyncio.sleep(0)  # the loop, too, knows it for a moment
        gc.collect()
    assert complaints == []


async def test_what_fails_after_the_caller_was_cancelled_is_no_surprise() -> None:
    """The event loop would log it with a traceback: an error that nobody asked for."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    begun, may_fail = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        begun.set()
        await may_fail.wait()
        raise LayerError("too late")

    task = asyncio.create_task(shielded(fails()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_fail.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert told == []
