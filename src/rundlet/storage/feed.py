"""Bytes from where they come to a thread that works on them, a bounded number of chunks at a time.

The slower side sets the pace: a source waits while the thread is behind, a thread waits while nothing has come.
Whatever ends one side ends the other.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias, TypeVar

from rundlet.storage.errors import LayerError

Source: TypeAlias = AsyncIterator[bytes] | Iterable[bytes]
"""Bytes in chunks. An ordinary iterable is read in the thread and may block."""
_SLOTS: Final = 16
_GROUP: Final = 4
"""Slots that are given back together: the event loop is woken for each time."""
_PATIENCE: Final = 30.0

T = TypeVar("T")


class ThreadFeed:
    """Chunks from one thread to another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._closed = False

    def put(self, chunk: bytes) -> bool:
        """Hand over ``chunk`` when there is room; False when nobody takes it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._chunks) < _SLOTS)
            if self._closed:
                return False
            self._chunks.append(chunk)
            self._changed.notify_all()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; with ``error`` the reader raises it."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """The reader wants no more: from any thread."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._chunks or self._ended)
                if self._closed:
                    raise LayerError("the layer is not wanted any more")
                if not self._chunks:
                    if self._error is not None:
                        raise self._error
                    return
                chunk = self._chunks.popleft()
                self._changed.notify_all()
            yield chunk


class _LoopFeed:
    """Chunks from the event loop to a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(_SLOTS)
        self._chunks: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

    async def fill(self, source: AsyncIterator[bytes]) -> None:
        """Take all of ``source`` and close it; however that ends, the reader learns of it."""
        end: BaseException | None = LayerError("unexpected EOF")
        try:
            async for chunk in source:
                await self._slots.acquire()
                self._chunks.put(chunk)
            end = None
        finally:
            self._chunks.put(end)
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            taken += 1
            if taken == _GROUP:
                taken = 0
                self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        for _ in range(_GROUP):
            self._slots.release()


async def run_fed(source: Source, function: Callable[[Iterable[bytes]], T], abort: Callable[[], None]) -> T:
    """What ``function`` makes of the chunks of ``source``, in a thread of its own and always to its end.

    ``abort`` has to make it end soon; it is called when the source fails or the caller is cancelled. Raises what either
    of the two raises, the source first.
    """
    if not isinstance(source, AsyncIterator):
        return await in_thread(abort, function, source)
    feed = _LoopFeed()
    filling = asyncio.create_task(feed.fill(source))
    working = asyncio.create_task(in_thread(abort, function, feed))
    for task in (filling, working):
        task.add_done_callback(_seen)
    try:
        await asyncio.wait((filling, working), return_when=asyncio.FIRST_COMPLETED)
        if filling.done():
            await filling  # the source's own error says more than what it did to the thread
        return await working
    except BaseException:
        abort()
        raise
    finally:
        filling.cancel()  # the thread gave up: no need to fetch the rest
        await shielded(asyncio.wait((filling, working)))


def _seen(task: "asyncio.Future[Any]") -> None:
    """Its error has been raised, or something better has, also where the caller was cancelled once more meanwhile."""
    if not task.cancelled():
        task.exception()


async def in_thread(abort: Callable[[], None], function: Callable[..., T], *arguments: object) -> T:
    """Run ``function`` in a thread of its own and always to its end, as it uses descriptors that are closed later.

    A cancellation calls ``abort``, which has to make it end soon.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="layer")
    future = asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
    executor.shutdown(wait=False)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        abort()
        await shielded(asyncio.wait((future,)))
        if future.done() and not future.cancelled():
            future.exception()  # nobody asks for it any more
        raise


async def shielded(awaitable: Awaitable[T]) -> T:
    """Await to the end even when cancelled meanwhile, but no longer than half a minute."""
    task = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_seen)
        await asyncio.wait((task,), timeout=_PATIENCE)
        raise


async def made(make: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What ``make`` makes in a thread. The thread goes on when this is cancelled: what it makes then is undone, in a
    thread, too, before the cancellation goes on."""
    making = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:

        async def settle() -> None:
            await asyncio.wait((making,))
            if making.exception() is None:
                await asyncio.to_thread(undo, making.result())

        await asyncio.shield(asyncio.ensure_future(settle()))
        raise
