"""The same for asyncio: each call runs in a thread with connections of its own, iterators fetch piece by piece.

A call that is cancelled ends: its connections are cut. What it was about to make is removed.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, Unpack

from rundlet.sdk.api import Api
from rundlet.sdk.container import Container, Execution
from rundlet.sdk.engine import Engine, checked, fed
from rundlet.sdk.models import Event, Image, Output, Result, Version
from rundlet.sdk.options import ContainerOptions
from rundlet.sdk.threads import acquire, call, each, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

T = TypeVar("T")


class AsyncContainer:
    """:class:`~rundlet.sdk.container.Container`, to be awaited. ``async with`` starts and removes it."""

    def __init__(self, api: Api, identifier: str) -> None:
        self.id = identifier
        self._api = api

    def __repr__(self) -> str:
        return f"<AsyncContainer {self.id[:12]}>"

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        await release(Container(self._api, self.id).__exit__)

    async def _do(self, work: Callable[[Container], T]) -> T:
        api = self._api.twin()
        return await call(api, lambda: work(Container(api, self.id)))

    # What it is

    async def inspect(self) -> dict[str, Any]:
        return await self._do(Container.inspect)

    async def name(self) -> str:
        return await self._do(lambda container: container.name)

    async def status(self) -> str:
        return await self._do(lambda container: container.status)

    async def health(self) -> str:
        return await self._do(lambda container: container.health)

    async def port(self, port: int | str) -> tuple[str, int]:
        return await self._do(lambda container: container.port(port))

    async def address(self, network: str = "") -> str:
        return await self._do(lambda container: container.address(network))

    # Its life

    async def start(self) -> Self:
        await self._do(Container.start)
        return self

    async def run(self, input: bytes | None = None) -> Result:
        return await self._do(lambda container: container.run(input))

    async def stop(self, timeout: int | None = None) -> None:
        await self._do(lambda container: container.stop(timeout))

    async def restart(self, timeout: int | None = None) -> None:
        await self._do(lambda container: container.restart(timeout))

    async def kill(self, signal: str | int = "KILL") -> None:
        await self._do(lambda container: container.kill(signal))

    async def pause(self) -> None:
        await self._do(Container.pause)

    async def unpause(self) -> None:
        await self._do(Container.unpause)

    async def wait(self) -> int:
        return await self._do(Container.wait)

    async def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        await self._do(lambda container: container.remove(force=force, volumes=volumes))

    # What it says

    def logs(self, *, follow: bool = False, tail: int | None = None, timestamps: bool = False) -> AsyncIterator[Output]:
        api = self._api.twin()
        return each(api, Container(api, self.id).logs(follow=follow, tail=tail, timestamps=timestamps))

    async def wait_for_log(self, text: str, timeout: float = 30.0) -> None:
        await self._do(lambda container: container.wait_for_log(text, timeout))

    async def wait_healthy(self, timeout: float = 30.0) -> None:
        await self._do(lambda container: container.wait_healthy(timeout))

    # Commands and files in it

    async def exec(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
        check: bool = True,
    ) -> Result:
        return await self._do(
            lambda container: container.exec(*command, env=env, user=user, workdir=workdir, stdin=stdin, check=check)
        )

    async def popen(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes = b"",
    ) -> AsyncExecution:
        made = await self._do(
            lambda container: container.popen(*command, env=env, user=user, workdir=workdir, stdin=stdin)
        )
        return AsyncExecution(self._api.twin(), made.id, stdin)

    async def read(self, path: str) -> bytes:
        return await self._do(lambda container: container.read(path))

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        await self._do(lambda container: container.write(path, data, mode))

    async def commit(self, reference: str, changes: Sequence[str] = ()) -> str:
        return await self._do(lambda container: container.commit(reference, changes))


class AsyncExecution:
    """A further command: ``async for`` over its output, then :meth:`code`."""

    def __init__(self, api: Api, identifier: str, stdin: bytes) -> None:
        self.id = identifier
        self._api = api
        self._execution = Execution(api, identifier, stdin)

    def __aiter__(self) -> AsyncIterator[Output]:
        return each(self._api, iter(self._execution))

    async def code(self) -> int:
        return await call(self._api, self._execution.code)


class AsyncEngine:
    """:class:`~rundlet.sdk.engine.Engine`, to be awaited."""

    def __init__(self, host: str | None = None) -> None:
        self._host = host

    async def __aenter__(self) -> Self:
        await self.version()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open between calls."""

    async def _do(self, work: Callable[[Engine], T]) -> T:
        engine = Engine(self._host)
        return await call(engine.api, lambda: work(engine))

    async def version(self) -> Version:
        return await self._do(Engine.version)

    async def info(self) -> dict[str, Any]:
        return await self._do(Engine.info)

    # Containers

    async def run(
        self,
        image: str,
        *command: str,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[ContainerOptions],
    ) -> Result:
        made = await self._made(image, command, fed(options, input))
        try:
            result = await AsyncContainer(Api(self._host), made.id).run(input)
        finally:
            await release(made.__exit__)
        return checked(image, result) if check else result

    @asynccontextmanager
    async def container(
        self, image: str, *command: str, **options: Unpack[ContainerOptions]
    ) -> AsyncIterator[AsyncContainer]:
        """A container that runs for as long as the ``async with`` lasts."""
        made = await self._made(image, command, options)
        async with AsyncContainer(Api(self._host), made.id) as container:
            yield container

    async def _made(self, image: str, command: Sequence[str], options: ContainerOptions) -> Container:
        engine = Engine(self._host)
        return await acquire(lambda: engine.container(image, *command, **options), Container.__exit__)

    async def get(self, name: str) -> AsyncContainer:
        found = await self._do(lambda engine: engine.get(name))
        return AsyncContainer(Api(self._host), found.id)

    async def containers(
        self, *, all: bool = False, filters: Mapping[str, str | Sequence[str]] | None = None
    ) -> list[AsyncContainer]:
        found = await self._do(lambda engine: engine.containers(all=all, filters=filters))
        return [AsyncContainer(Api(self._host), one.id) for one in found]

    # Images

    async def pull(self, reference: str, platform: str = "") -> Image:
        return await self._do(lambda engine: engine.pull(reference, platform))

    async def image(self, reference: str) -> Image:
        return await self._do(lambda engine: engine.image(reference))

    async def images(self) -> list[Image]:
        return await self._do(Engine.images)

    async def tag(self, reference: str, name: str) -> None:
        await self._do(lambda engine: engine.tag(reference, name))

    async def remove_image(self, reference: str, *, force: bool = False) -> None:
        await self._do(lambda engine: engine.remove_image(reference, force=force))

    async def import_image(self, archive: str | os.PathLike[str], name: str) -> Image:
        return await self._do(lambda engine: engine.import_image(archive, name))

    async def build(
        self, directory: str | os.PathLike[str], tag: str, *, dockerfile: str = "Dockerfile", **args: str
    ) -> Image:
        return await self._do(lambda engine: engine.build(directory, tag, dockerfile=dockerfile, **args))

    # Networks, volumes, events

    @asynccontextmanager
    async def network(self, name: str, **config: Any) -> AsyncIterator[str]:
        """A network for as long as the ``async with`` lasts; gives its name."""
        manager = Engine(self._host).network(name, **config)
        made = await acquire(manager.__enter__, lambda _: manager.__exit__(None, None, None))
        try:
            yield made
        finally:
            await release(lambda: manager.__exit__(None, None, None))

    @asynccontextmanager
    async def volume(self, name: str = "", **config: Any) -> AsyncIterator[str]:
        """A volume for as long as the ``async with`` lasts; gives its name."""
        manager = Engine(self._host).volume(name, **config)
        made = await acquire(manager.__enter__, lambda _: manager.__exit__(None, None, None))
        try:
            yield made
        finally:
            await release(lambda: manager.__exit__(None, None, None))

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
    ) -> AsyncIterator[Event]:
        engine = Engine(self._host)
        return each(engine.api, engine.events(since=since, until=until, filters=filters))


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
