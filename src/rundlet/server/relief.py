"""What becomes of a container's output while the client that is attached to it stands still.

A client that reads slowly slows the container, and loses nothing. One that reads nothing (a pager, a terminal after
Ctrl-S, a stopped process) would stop the container for good, so after a moment its output is kept in an unnamed file
until it goes on reading. Where that is full, the client is waited for once more, and let go of in the end.
"""

import asyncio
import logging
import os
import tempfile
import threading
from typing import Final, Protocol

log = logging.getLogger(__name__)

STANDSTILL: Final = 1.0
"""Seconds without room for more output after which a client counts as standing still."""
DEADLINE: Final = 60.0
"""Seconds in which a client, whose file is full, has to take at least a byte."""
LIMIT: Final = 256 * 1024 * 1024
"""Bytes kept for one client."""
_PIECE: Final = 256 * 1024


class Client(Protocol):
    """Where output goes."""

    gone: "asyncio.Future[None]"

    def writable(self) -> bool:
        """Whether more may be written now."""

    def write(self, data: bytes) -> None: ...

    def unsent(self) -> int:
        """Bytes that were written and that the peer has not taken."""

    def drop(self) -> None:
        """Let go of it, whatever it was not sent."""


class Source(Protocol):
    """Where output comes from; what comes is given to :meth:`Relief.receive`."""

    def stop_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def at_end(self) -> bool: ...


class Spool:
    """Bytes in an unnamed file, first in, first out."""

    def __init__(self, directory: str, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._fd = -1
        self._start = self._end = 0
        self._closed = self._told = False
        self._lock = threading.Lock()  # a task that is cancelled does not wait for its thread

    def put(self, data: bytes) -> bool:
        """Whether there was room for it, on the disk too."""
        with self._lock:
            if self._closed or self._end + len(data) > self._limit:
                return False
            try:
                self._write(data)
            except OSError as exc:
                if not self._told:
                    log.warning("the output for a client that reads nothing can't be kept: %s", exc.strerror)
                self._told = True
                return False
            self._end += len(data)
            return True

    def take(self) -> bytes:
        """The oldest bytes, empty when there are none. Raises OSError."""
        with self._lock:
            if self._closed or self._start == self._end:
                return b""
            data = os.pread(self._fd, min(_PIECE, self._end - self._start), self._start)
            self._start += len(data)
            if self._start == self._end:
                self._start = self._end = 0
                os.ftruncate(self._fd, 0)
            return data

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _write(self, data: bytes) -> None:
        if self._fd < 0:
            self._fd = _unnamed(self._directory)
        done = 0
        while done < len(data):
            done += os.pwrite(self._fd, data[done:], self._end + done)


def _unnamed(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:  # not every file system has such files
        fd, path = tempfile.mkstemp(dir=directory)
        os.unlink(path)
        return fd


class Relief:
    """Stands by for one client; is at work (``active``) from its standstill until it has got everything."""

    def __init__(self, client: Client, source: Source, directory: str) -> None:
        self._client = client
        self._source = source
        self._directory = directory
        self._arrived: list[bytes] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        return self._task is not None

    def full(self) -> None:
        """The client takes nothing more for now."""
        if self._task is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STANDSTILL, self._begin)

    def changed(self) -> None:
        """The client takes more again, or one of the ends is gone."""
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def receive(self, data: bytes) -> None:
        """Output that comes while it is active."""
        self._arrived.append(data)
        self._wake.set()

    async def finished(self, unless: "asyncio.Future[None]") -> None:
        """Return when the client has got what was kept for it, when it is gone, or with ``unless``."""
        if self._task is not None:
            await asyncio.wait((self._task, unless), return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        self.changed()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        spool = Spool(self._directory, LIMIT)
        try:
            await self._carry(spool)
        except OSError as exc:
            log.warning("what was kept for a client can't be read: %s", exc.strerror)
            self._client.drop()
        finally:
            self._task = None
            spool.close()
        if self._client.writable() or self._client.gone.done():
            self._source.go_on_reading()
        else:
            self.full()

    async def _carry(self, spool: Spool) -> None:
        while not self._client.gone.done():
            self._wake.clear()
            if self._client.writable():
                self._source.stop_reading()
                data = await asyncio.to_thread(spool.take)
                if not data and self._arrived:
                    data = self._arrived.pop(0)
                if not data:
                    return
                self._client.write(data)
            elif self._arrived:
                self._source.stop_reading()
                if await asyncio.to_thread(spool.put, self._arrived[0]):
                    self._arrived.pop(0)
                elif not await self._moves():
                    log.warning("a client that read nothing for %d seconds was let go of", DEADLINE)
                    self._client.drop()
                    return
            else:
                if not self._source.at_end():
                    self._source.go_on_reading()
                await self._wake.wait()

    async def _moves(self) -> bool:
        """Wait until the client takes something; whether it did."""
        before = self._client.unsent()
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while asyncio.get_running_loop().time() < deadline:
            if self._client.gone.done() or self._client.unsent() != before:
                return True
            await asyncio.sleep(STANDSTILL / 4)
        return False
