"""What the engine knows of containers beyond their records: shims, waiters, locks, attachments before a start.

Used from the event loop only. Everything here can be rebuilt: a new engine starts with an empty registry and connects
to the shims that it finds.
"""

import asyncio
import socket
from dataclasses import dataclass, field

from rundlet.api.containers import Health
from rundlet.runtime.shimclient import ShimClient
from rundlet.storage.files.access import FileAccess


@dataclass(slots=True)
class PendingAttachment:
    """A client that attached before the container was started; ``end`` goes to the shim at start."""

    end: socket.socket
    stdin: bool
    stdout: bool
    stderr: bool


@dataclass(slots=True)
class Live:
    """One container's volatile side. ``lock`` serialises start, stop, pause, remove and exit handling.

    ``files`` is held by whoever writes to the container's files from outside (before ``lock``), ``writers`` are those.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    files: asyncio.Lock = field(default_factory=asyncio.Lock)
    writers: set[FileAccess] = field(default_factory=set)
    shim: ShimClient | None = None
    pending: list[PendingAttachment] = field(default_factory=list)
    exited: list[asyncio.Future[int]] = field(default_factory=list)
    removed: list[asyncio.Future[int]] = field(default_factory=list)
    starting: asyncio.Event | None = None
    """Set when the start under way has ended: the container's processes may be seen before its record says so."""
    removing: bool = False
    kept: bool = False
    """Its end is no reason to remove it (``--rm``): it is being restarted, or removed already."""
    health: Health | None = None
    prober: asyncio.Task[None] | None = None

    def begin_start(self) -> None:
        """From here on the container's processes may be seen; until :meth:`end_start`."""
        self.starting = asyncio.Event()

    def end_start(self) -> None:
        """The record says how the start went."""
        if self.starting is not None:
            self.starting.set()
            self.starting = None

    def next_exit(self) -> asyncio.Future[int]:
        """The code that the run under way, or the next one, will end with."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.exited.append(future)
        return future

    async def exit_seen(self) -> None:
        """Return at the end of the run under way; who gives up waiting leaves nothing."""
        future = self.next_exit()
        try:
            await future
        finally:
            if future in self.exited:
                self.exited.remove(future)

    def settle_exit(self, code: int) -> None:
        """Wake everyone who waits for the next exit."""
        waiters, self.exited = self.exited, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(code)

    def settle_removal(self, code: int) -> None:
        """Wake everyone who waits for the container to be gone."""
        self.settle_exit(code)
        waiters, self.removed = self.removed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(code)

    def fail_removal(self, error: Exception) -> None:
        """Tell everyone who waits for the container to be gone that it stays."""
        waiters, self.removed = self.removed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    async def end_writers(self, patience: float) -> None:
        """Return when nobody writes to the files from outside: after ``patience`` seconds they are ended."""
        for writer in list(self.writers):
            await writer.finish(patience)

    def drop_pending(self) -> None:
        """Close what attached clients wait on: they see the end of the stream."""
        pending, self.pending = self.pending, []
        for attachment in pending:
            attachment.end.close()


class Registry:
    """Live sides by container ID."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}

    def of(self, container_id: str) -> Live:
        live = self._live.get(container_id)
        if live is None:
            live = self._live[container_id] = Live()
        return live

    async def started(self, container_id: str) -> None:
        """Wait for a start under way: who has seen the container's output may take it for running."""
        live = self._live.get(container_id)
        if live is not None and live.starting is not None:
            await live.starting.wait()

    def forget(self, container_id: str, code: int) -> None:
        live = self._live.pop(container_id, None)
        if live is not None:
            live.drop_pending()
            live.settle_removal(code)

    def shims(self) -> list[ShimClient]:
        return [live.shim for live in self._live.values() if live.shim is not None]
