"""Long work with progress as a stream of messages: the work runs as a task, a client that goes away ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from rundlet.api import jsonstream
from rundlet.api.jsonstream import JSONMessage
from rundlet.engine import memory
from rundlet.image.records import OnProgress, Progress

QUEUE = 1024
_QUIET_STATES = frozenset({"Downloading", "Extracting", "Pushing", "Importing", "Loading layer"})


def message(progress: Progress) -> JSONMessage:
    """One line of progress as Docker writes it."""
    if progress.aux is not None:
        return jsonstream.aux(progress.aux)
    if progress.current or progress.total or progress.status in _QUIET_STATES:
        return jsonstream.progress(progress.status, progress.id, progress.current, progress.total)
    if progress.id and not progress.status.startswith("Pulling from"):
        # An empty detail says that the line is about a layer: clients redraw it in place.
        return jsonstream.progress(progress.status, progress.id)
    return jsonstream.status(progress.status, progress.id)


def load_text(progress: Progress) -> JSONMessage:
    """What ``load`` says is text to be printed as it is; only its bars are states."""
    if progress.id or progress.aux is not None:
        return message(progress)
    return jsonstream.stream(f"{progress.status}\n")


async def run(
    work: Callable[[OnProgress], Awaitable[JSONMessage | None]],
    *,
    quiet: bool = False,
    text: Callable[[Progress], JSONMessage] = message,
) -> AsyncIterator[JSONMessage]:
    """Messages of ``work`` (made by ``text``), and what it returns as the last one. Raises what ``work`` raises.

    Where the reader is slow, byte counts are dropped and nothing else: they are only the state of the moment. ``quiet``
    drops all of them.
    """
    queue: asyncio.Queue[JSONMessage | None] = asyncio.Queue()

    def on_progress(progress: Progress) -> None:
        if (quiet or queue.qsize() > QUEUE) and progress.status in _QUIET_STATES:
            return
        queue.put_nowait(text(progress))

    async def body() -> None:
        try:
            last = await work(on_progress)
            if last is not None:
                queue.put_nowait(last)
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(body())
    try:
        while (item := await queue.get()) is not None:
            yield item
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        memory.give_back_soon()
