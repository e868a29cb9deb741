"""A container that holds still while its files are read, and no longer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress

from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.errors import ConflictError, RundletError
from rundlet.util.tasks import settled


class Stillness:
    """Pauses a container while whoever will read it gets ready, and lets it go on when the last byte has been read."""

    def __init__(self, lifecycle: Lifecycle, container_id: str) -> None:
        self._lifecycle = lifecycle
        self._id = container_id
        self._loop = asyncio.get_running_loop()
        self._paused = self._loop.create_task(self._pause())
        self._resumed: asyncio.Task[None] | None = None

    async def _pause(self) -> bool:
        """Whether it is for us to let it go on."""
        try:
            await self._lifecycle.pause(self._id, briefly=True)
        except ConflictError:
            return False  # it ended, or somebody paused it, just now; or there is no freezer, as in a user namespace
        return True

    def during(self, tar: Iterator[bytes]) -> Iterator[bytes]:
        """``tar``, for a thread: from when the container holds still. Raises what the pause does."""
        asyncio.run_coroutine_threadsafe(self._begun(), self._loop).result()
        yield from tar
        self._loop.call_soon_threadsafe(self._resume)

    async def _begun(self) -> None:
        await asyncio.shield(self._paused)

    def _resume(self) -> asyncio.Task[None]:
        if self._resumed is None:
            self._resumed = self._loop.create_task(self._unpause())
        return self._resumed

    async def _unpause(self) -> None:
        with suppress(RundletError):  # it was killed meanwhile; or what the pause failed of, which the reader was told
            if await self._paused:
                await self._lifecycle.unpause(self._id)

    async def end(self) -> None:
        """The container goes on, if it does not yet."""
        await settled(self._resume())


@asynccontextmanager
async def still(lifecycle: Lifecycle, container_id: str) -> AsyncGenerator[Stillness, None]:
    """The container is paused, from about now until it was read, or the context is left at the latest."""
    stillness = Stillness(lifecycle, container_id)
    try:
        yield stillness
    finally:
        await stillness.end()
