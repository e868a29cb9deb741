"""Streams of bytes on their way through the event loop: joined, inflated, into a pipe."""

import asyncio
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
