"""Streams of bytes on their way through the event loop: joined, inflated, into a pipe."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator

from rundlet.storage.layer.compression import Inflater


async def chain(start: bytes, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """``start``, then the rest of ``source``."""
    if start:
        yield start
    async for chunk in source:
        yield chunk


async def plain(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Inflated, in bounded pieces, each made in a thread."""
    inflater = Inflater()
    async for chunk in source:
        pieces = inflater.feed(chunk)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    pieces = inflater.finish()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def into_pipe(source: AsyncIterator[bytes], fd: int) -> None:
    """Write all of ``source`` to ``fd`` and close it. A reader that is gone is no error here: it says why itself."""
    try:
        async for chunk in source:
            writing = asyncio.ensure_future(asyncio.to_thread(_write, fd, chunk))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                # The thread still uses the descriptor; the reader lets it end.
                await asyncio.wait([writing])
                if not writing.cancelled():
                    writing.exception()
                raise
    except BrokenPipeError:
        return
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
