"""The same for asyncio: each call runs in a thread of its own connection, iterators fetch piece by piece."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, Unpack

from rundlet.sdk.container import Container, Execution
from rundlet.sdk.engine import Engine
from rundlet.sdk.models import Event, Image, Output, Result, Version
from rundlet.sdk.options import ContainerOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

T = TypeVar("T")


async def _each(iterator: Iterator[T]) -> AsyncIterator[T]:
    """The pieces of an iterator that blocks."""
    end = object()
    try:
        while (piece := await asyncio.to_thread(next, iterator, end)) is not end:
            yield piece  # type: ignore[misc]
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await asyncio.to_thread(close)


class AsyncContainer:
    """:class:`~rundlet.sdk.container.Container`, to be awaited. ``async with`` starts and removes it."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.id = container.id

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._container.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._container.__exit__)

    async def inspect(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._container.inspect)

    async def status(self) -> str:
        return await asyncio.to_thread(lambda: self._container.status)

    async def port(self, port: int | str) -> tuple[str, int]:
        return await asyncio.to_thread(self._container.port, port)

    async def start(self) -> Self:
        await asyncio.to_thread(self._container.start)
        return self

    async def stop(self, timeout: int | None = None) -> None:
        await asyncio.to_thread(self._container.stop, timeout)

    async def restart(self, timeout: int | None = None) -> None:
        await asyncio.to_thread(self._container.restart, timeout)

    async def kill(self, signal: str | int = "KILL") -> None:
        await asyncio.to_thread(self._container.kill, signal)

    async def wait(self) -> int:
        return await asyncio.to_thread(self._container.wait)

    async def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        await asyncio.to_thread(lambda: self._container.remove(force=force, volumes=volumes))

    def logs(self, *, follow: bool = False, tail: int | None = None, timestamps: bool = False) -> AsyncIterator[Output]:
        return _each(self._container.logs(follow=follow, tail=tail, timestamps=timestamps))

    async def wait_for_log(self, text: str, timeout: float = 30.0) -> None:
        await asyncio.to_thread(self._container.wait_for_log, text, timeout)

    async def wait_healthy(self, timeout: float = 30.0) -> None:
        await asyncio.to_thread(self._container.wait_healthy, timeout)

    async def exec(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
        check: bool = True,
    ) -> Result:
        def run() -> Result:
            return self._container.exec(*command, env=env, user=user, workdir=workdir, stdin=stdin, check=check)

        return await asyncio.to_thread(run)

    async def popen(self, *command: str, stdin: bytes = b"") -> AsyncExecution:
        return AsyncExecution(await asyncio.to_thread(lambda: self._container.popen(*command, stdin=stdin)))

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread(self._container.read, path)

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        await asyncio.to_thread(self._container.write, path, data, mode)


class AsyncExecution:
    """A further command: ``async for`` over its output, then :meth:`code`."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def __aiter__(self) -> AsyncIterator[Output]:
        return _each(iter(self._execution))

    async def code(self) -> int:
        return await asyncio.to_thread(self._execution.code)


class AsyncEngine:
    """:class:`~rundlet.sdk.engine.Engine`, to be awaited."""

    def __init__(self, host: str | None = None) -> None:
        self._engine = Engine(host)

    async def __aenter__(self) -> Self:
        await self.version()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open between calls."""

    async def version(self) -> Version:
        return await asyncio.to_thread(self._engine.version)

    async def info(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._engine.info)

    async def run(self, image: str, *command: str, check: bool = True, **options: Unpack[ContainerOptions]) -> Result:
        def run() -> Result:
            return self._engine.run(image, *command, check=check, **options)

        return await asyncio.to_thread(run)

    @asynccontextmanager
    async def container(
        self, image: str, *command: str, **options: Unpack[ContainerOptions]
    ) -> AsyncIterator[AsyncContainer]:
        """A container that runs for as long as the ``async with`` lasts."""
        made = await asyncio.to_thread(lambda: self._engine.container(image, *command, **options))
        async with AsyncContainer(made) as container:
            yield container

    async def get(self, name: str) -> AsyncContainer:
        return AsyncContainer(await asyncio.to_thread(self._engine.get, name))

    async def containers(
        self, *, all: bool = False, filters: Mapping[str, str | Sequence[str]] | None = None
    ) -> list[AsyncContainer]:
        found = await asyncio.to_thread(lambda: self._engine.containers(all=all, filters=filters))
        return [AsyncContainer(one) for one in found]

    async def pull(self, reference: str, platform: str = "") -> Image:
        return await asyncio.to_thread(self._engine.pull, reference, platform)

    async def image(self, reference: str) -> Image:
        return await asyncio.to_thread(self._engine.image, reference)

    async def images(self) -> list[Image]:
        return await asyncio.to_thread(self._engine.images)

    async def remove_image(self, reference: str, *, force: bool = False) -> None:
        await asyncio.to_thread(lambda: self._engine.remove_image(reference, force=force))

    async def build(
        self, directory: str | os.PathLike[str], tag: str, *, dockerfile: str = "Dockerfile", **args: str
    ) -> Image:
        return await asyncio.to_thread(lambda: self._engine.build(directory, tag, dockerfile=dockerfile, **args))

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
    ) -> AsyncIterator[Event]:
        return _each(self._engine.events(since=since, until=until, filters=filters))


class Connecting:
    """What ``rundlet.connect()`` gives: an engine for ``with``, an :class:`AsyncEngine` for ``async with``."""

    def __init__(self, host: str | None = None) -> None:
        self._host = host

    def __enter__(self) -> Engine:
        return Engine(self._host).__enter__()

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between calls."""

    async def __aenter__(self) -> AsyncEngine:
        return await AsyncEngine(self._host).__aenter__()

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open between calls."""
