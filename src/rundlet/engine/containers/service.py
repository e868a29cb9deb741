"""The containers router's backend: each verb goes to the service that knows it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence

from rundlet.api.containers import (
    ArchivePutOptions,
    AttachOptions,
    CommitOptions,
    ContainerCreate,
    ContainerCreated,
    ContainerCreateOptions,
    ContainerInspect,
    ContainerInspectOptions,
    ContainerListOptions,
    ContainersPruned,
    ContainerSummary,
    ContainerTop,
    ContainerUpdate,
    ContainerUpdated,
    FilesystemChange,
    LogsOptions,
    PathStat,
    RemoveOptions,
    StartOptions,
    StopOptions,
    WaitCondition,
    WaitResult,
)
from rundlet.api.exec import Size
from rundlet.api.filters import Filters
from rundlet.api.stats import ContainerStats
from rundlet.api.streams import Archive, Attachment, LogStream
from rundlet.container import names
from rundlet.container.errors import (
    InvalidNameError,
    InvalidNewNameError,
    NameInUseError,
    NewNameInUseError,
    NotRunningError,
)
from rundlet.container.state import Status, is_running
from rundlet.engine.containers import waiting
from rundlet.engine.containers.archive import ArchiveService
from rundlet.engine.containers.attach import AttachService
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.changes import ChangesService
from rundlet.engine.containers.commit import CommitService
from rundlet.engine.containers.create import Creator
from rundlet.engine.containers.etc import EtcFiles
from rundlet.engine.containers.files import ContainerFiles
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.logs import LogService
from rundlet.engine.containers.stats import StatsService
from rundlet.engine.containers.top import TopService
from rundlet.engine.containers.update import Updater
from rundlet.engine.containers.views import Views
from rundlet.engine.context import Context
from rundlet.engine.times import parse_until
from rundlet.errors import InvalidParameterError, NotSupportedError, RundletError


class ContainerService:
    """Delegates; holds no state of its own."""

    def __init__(
        self,
        context: Context,
        *,
        creator: Creator,
        lifecycle: Lifecycle,
        views: Views,
        logs: LogService,
        attach: AttachService,
        stats: StatsService,
        top: TopService,
        updater: Updater,
        archive: ArchiveService,
        changes: ChangesService,
        commit: CommitService,
        files: ContainerFiles,
    ) -> None:
        self._context = context
        self._creator = creator
        self._lifecycle = lifecycle
        self._views = views
        self._logs = logs
        self._attach = attach
        self._stats = stats
        self._top = top
        self._updater = updater
        self._archive = archive
        self._changes = changes
        self._commit = commit
        self._files = files

    async def create(self, body: ContainerCreate, options: ContainerCreateOptions) -> ContainerCreated:
        created = await self._creator.create(body, options)
        try:
            await self._files.fill_volumes(created.id)
        except BaseException:
            await asyncio.shield(self._lifecycle.remove(created.id, RemoveOptions(force=True, volumes=True)))
            raise
        return created

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        return await self._views.list(options)

    async def inspect(self, ref: str, options: ContainerInspectOptions) -> ContainerInspect:
        await self._started(ref)
        return await self._views.inspect(ref, options)

    async def logs(self, ref: str, options: LogsOptions) -> LogStream:
        return await self._logs.logs(ref, options)

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        return await self._attach.attach(ref, options)

    async def start(self, ref: str, options: StartOptions) -> None:
        if options.checkpoint or options.checkpoint_dir:
            raise NotSupportedError("checkpoint")
        await self._lifecycle.start(ref)

    async def stop(self, ref: str, options: StopOptions) -> None:
        await self._started(ref)
        await self._lifecycle.stop(ref, options)

    async def restart(self, ref: str, options: StopOptions) -> None:
        await self._started(ref)
        await self._lifecycle.restart(ref, options)

    async def _started(self, ref: str) -> None:
        """What follows is about a container that has begun to run, even if its record does not say so yet."""
        with contextlib.suppress(RundletError):  # the verb itself says what is wrong with the name
            await self._context.live.started(self._context.containers.find(ref).id)

    async def kill(self, ref: str, signal: str) -> None:
        await self._started(ref)
        await self._lifecycle.kill(ref, signal)

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResult]:
        await self._started(ref)
        return waiting.begin(self._context, ref, condition)

    async def remove(self, ref: str, options: RemoveOptions) -> None:
        if options.link:
            EtcFiles(self._context).unlinked(*Links(self._context.containers, self._context.network).remove(ref))
            return
        await self._started(ref)
        await self._lifecycle.remove(ref, options)

    async def resize(self, ref: str, size: Size) -> None:
        await self._started(ref)
        record = self._context.containers.find(ref)
        shim = self._context.live.of(record.id).shim
        if shim is None or not is_running(record.state.status):
            raise NotRunningError(record.id)
        await shim.resize(size.height, size.width)
        attributes = event_attributes(record) | {"height": str(size.height), "width": str(size.width)}
        self._context.events.publish("container", "resize", record.id, attributes)

    async def rename(self, ref: str, name: str) -> None:
        record = self._context.containers.find(ref)
        if not name:
            raise InvalidParameterError("Neither old nor new names may be empty")
        if record.name == name.removeprefix("/"):
            raise InvalidParameterError("Renaming a container with the same name as its current name")
        try:
            name = names.validate(name)
            renamed = self._context.containers.rename(record, name)
        except InvalidNameError as exc:
            raise InvalidNewNameError(exc) from exc
        except NameInUseError as exc:
            raise NewNameInUseError(exc) from exc
        self._context.network.rename(record.id, name)
        attributes = {**event_attributes(renamed), "oldName": f"/{record.name}"}
        self._context.events.publish("container", "rename", record.id, attributes)

    async def pause(self, ref: str) -> None:
        await self._lifecycle.pause(ref)

    async def unpause(self, ref: str) -> None:
        await self._lifecycle.unpause(ref)

    async def top(self, ref: str, ps_args: str) -> ContainerTop:
        await self._started(ref)
        return await self._top.top(ref, ps_args)

    async def update(self, ref: str, body: ContainerUpdate) -> ContainerUpdated:
        return await self._updater.update(ref, body)

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[ContainerStats]:
        return await self._stats.stats(ref, stream=stream, one_shot=one_shot)

    async def archive_stat(self, ref: str, path: str) -> PathStat:
        return await self._archive.stat(ref, path)

    async def archive_get(self, ref: str, path: str) -> Archive:
        return await self._archive.get(ref, path)

    async def archive_put(self, ref: str, path: str, options: ArchivePutOptions, body: AsyncIterator[bytes]) -> None:
        await self._archive.put(ref, path, options, body)

    async def changes(self, ref: str) -> Sequence[FilesystemChange]:
        return await self._changes.changes(ref)

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        return await self._changes.export(ref)

    async def prune(self, filters: Filters) -> ContainersPruned:
        """Remove all that do not run."""
        until = parse_until(filters.get("until"), self._context.clock)
        deleted: Names = []
        freed = 0
        for record in self._context.containers:
            if record.state.status not in (Status.CREATED, Status.EXITED, Status.DEAD):
                continue
            labels = event_attributes(record)
            if not filters.labels(labels) or (until is not None and record.created_ns >= until):
                continue
            if filters.get("label!") and filters.labels(labels, "label!"):
                continue
            freed += self._context.snapshots.usage(record.id)
            await self._lifecycle.remove(record.id, RemoveOptions())
            deleted.append(record.id)
        self._context.events.publish("container", "prune", "", {"reclaimed": str(freed)})
        return ContainersPruned(containers_deleted=tuple(deleted) or None, space_reclaimed=freed)

    async def commit(self, options: CommitOptions) -> str:
        return await self._commit.commit(options)


Names = list[str]
