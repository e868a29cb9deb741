"""A stream for a consumer that takes it piece by piece, and may stand still: then its source goes on all the same."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from rundlet.server.relief import Relief

_CHUNK: Final = 65536
_BUFFER: Final = 512 * 1024


class Pull:
    """Both ends that :class:`Relief` stands between: it reads ``reader``, and keeps what nobody has taken yet.

    ``spool``: where that is kept when it is much; empty: the source waits.
    """

    def __init__(self, reader: asyncio.StreamReader, spool: str) -> None:
        self._reader = reader
        self._relief = Relief(self, self, spool) if spool else None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._reading = asyncio.Event()
        self._news = asyncio.Event()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What was read, until its end, or until the consumer counts as dead. Raises OSError of the reader."""
        self._reading.set()
        reading = asyncio.create_task(self._read())
        try:
            while not self.gone.done():
                self._news.clear()
                if self._pieces:
                    yield self._next()
                elif self._ended and (self._relief is None or not self._relief.active):
                    await reading
                    return
                else:
                    await self._news.wait()
        finally:
            if self._relief is not None:
                self._relief.close()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _next(self) -> bytes:
        data = self._pieces.popleft()
        self._size -= len(data)
        if self.writable():
            if self._relief is not None:
                self._relief.changed()
            if self._relief is None or not self._relief.active:
                self.go_on_reading()
        return data

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                data = await self._reader.read(_CHUNK)
                if not data:
                    return
                if self._relief is not None and self._relief.active:
                    self._relief.receive(data)
                else:
                    self.write(data)
        finally:
            self._ended = True
            self._news.set()
            if self._relief is not None:
                self._relief.changed()

    # -- as the client and the source of Relief

    def writable(self) -> bool:
        return self._size < _BUFFER

    def write(self, data: bytes) -> None:
        if self.gone.done():
            return
        self._pieces.append(data)
        self._size += len(data)
        self._news.set()
        if not self.writable():
            self.stop_reading()
            if self._relief is not None:
                self._relief.full()

    def unsent(self) -> int:
        return self._size

    def drop(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        self._news.set()

    def stop_reading(self) -> None:
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()
        self._news.set()  # the relief may have ended with this

    def at_end(self) -> bool:
        return self._ended
