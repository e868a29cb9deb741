"""Calls that block, in threads, for asyncio: as many at once as a program has, and none that outlives its task."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Final, TypeVar, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from rundlet.sdk.api import Api

T = TypeVar("T")
THREADS: Final = 512
"""At once; made as they are needed. asyncio's own are a few for each processor, and calls here wait for containers."""

_END: Final = object()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="rundlet")


async def call(api: Api, work: Callable[[], T]) -> T:
    """``work()``, which asks the engine through ``api`` only; cancelled, its connections are cut and it ends first."""
    future = asyncio.wrap_future(_pool().submit(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        api.abort()
        with suppress(Exception):  # whatever it says of its cut connections
            await future
        raise


async def acquire(work: Callable[[], T], give_back: Callable[[T], object]) -> T:
    """``work()``, which makes something; cancelled, it goes on to its end, and what it made is given back."""
    future = _pool().submit(work)
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:

        def ended(future: Future[T]) -> None:
            if future.exception() is None:
                give_back(future.result())

        future.add_done_callback(ended)
        raise


async def release(work: Callable[[], object]) -> None:
    """``work()``, which gives something back, to its end also when the task is cancelled meanwhile."""
    future = asyncio.wrap_future(_pool().submit(work))
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await future
        raise


async def each(api: Api, iterator: Iterator[T]) -> AsyncIterator[T]:
    """The pieces of an iterator that asks the engine through ``api`` only."""
    try:
        while (piece := await call(api, lambda: cast("Any", next(iterator, _END)))) is not _END:
            yield piece
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await release(close)
