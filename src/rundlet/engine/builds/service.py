"""``POST /build``: the request is understood, a workspace made, the builder set to work, its progress streamed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder.cache import BuildCache
from rundlet.builder.dockerfile.ast import Dockerfile
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.extras import AddExtras
from rundlet.builder.layers import LayerMaker
from rundlet.builder.mounts import MountMaker
from rundlet.builder.report import Reporter
from rundlet.builder.request import BuildRequest, Limits
from rundlet.builder.runs import Runs
from rundlet.builder.solver import Solver
from rundlet.builder.sources import SourceFinder
from rundlet.builder.state import StageState
from rundlet.builder.steps import Recorder
from rundlet.builder.transfers import Transfers
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.bases import BaseImageService
from rundlet.engine.builds.classic import ClassicReporter
from rundlet.engine.builds.contexts import DockerfileMissingError, receive
from rundlet.engine.builds.runner import ContainerRunner
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError, RundletError
from rundlet.image.leases import Lease, Leases
from rundlet.image.pull import Puller
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.files.access import FileAccessError, PickRequest, Source
from rundlet.util.ids import short

_log = logging.getLogger(__name__)
DOCKERFILE_LIMIT = 16 << 20


class BuildRooms(msgspec.Struct, frozen=True):
    """What the wiring gives the service."""

    cache: BuildCache
    layers: LayerMaker
    runner: ContainerRunner
    puller: Puller
    leases: Leases


class BuildService:
    """Implements the builds router's backend."""

    def __init__(self, context: Context, rooms: BuildRooms) -> None:
        self._context = context
        self._rooms = rooms
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """An error before the first message is raised, a later one is the last message."""
        _check(options)
        return self._messages(options, body)

    async def cancel(self, build_id: str) -> None:
        """End the build that was given this ID; none is no error."""
        task = self._running.get(build_id)
        if task is not None:
            task.cancel()

    async def _messages(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncGenerator[JSONMessage, None]:
        queue: asyncio.Queue[JSONMessage | None] = asyncio.Queue()
        reporter = ClassicReporter(queue.put_nowait)
        task = asyncio.create_task(self._work(options, body, reporter, queue.put_nowait))
        task.add_done_callback(lambda _task: queue.put_nowait(None))
        if options.build_id:
            self._running[options.build_id] = task
        said = False
        try:
            while (message := await queue.get()) is not None:
                if not options.quiet or message.aux is not None:
                    said = True
                    yield message
            try:
                state = task.result()
            except RundletError as exc:
                if not said:
                    raise
                yield jsonstream.failure(str(exc), getattr(exc, "code", 0) or 0)
                return
            except asyncio.CancelledError:
                yield jsonstream.failure("build was cancelled")
                return
            for message in _last(state, options):
                yield message
        finally:
            self._running.pop(options.build_id, None)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _work(
        self,
        options: BuildOptions,
        body: AsyncIterator[bytes],
        reporter: Reporter,
        emit: Callable[[JSONMessage], None],
    ) -> StageState:
        context = self._context
        async with self._workspace() as workspace, self._rooms.leases.lease() as lease:
            await receive(workspace, body)
            dockerfile = await _dockerfile(workspace, options)
            request = _request(options, dockerfile)
            state = await self._solve(request, options, workspace, lease, reporter)
            assert state.image is not None
            emit(jsonstream.aux({"ID": str(state.image.id)}))
            for reference in request.tags:
                await context.images.tag(state.image, reference)
                context.events.publish("image", "tag", str(state.image.id), {"name": reference.familiar})
            await asyncio.to_thread(self._rooms.cache.flush)
            return state

    @asynccontextmanager
    async def _workspace(self) -> AsyncIterator[Workspace]:
        workspace = Workspace(self._context.layout, self._context.snapshots, self._context.launcher)
        await asyncio.to_thread(workspace.make)
        try:
            yield workspace
        finally:
            await asyncio.shield(asyncio.to_thread(_remove, workspace))

    async def _solve(
        self, request: BuildRequest, options: BuildOptions, workspace: Workspace, lease: Lease, reporter: Reporter
    ) -> StageState:
        context, rooms = self._context, self._rooms
        recorder = Recorder(
            context.images, context.snapshots, rooms.cache, context.clock, reporter, lease, request.epoch
        )
        bases = BaseImageService(context, rooms.puller, options.auth, reporter)
        solver = Solver(request, context.images, bases, recorder, lease, reporter)
        finder = SourceFinder(request, workspace, solver, bases, context.images, lease)
        solver.transfers = Transfers(
            recorder, workspace, context.snapshots, rooms.layers, finder.place, AddExtras(), request.epoch
        )
        solver.runs = Runs(recorder, request, rooms.runner, rooms.layers, MountMaker(workspace))
        return await solver.solve()


def _remove(workspace: Workspace) -> None:
    try:
        workspace.remove()
    except OSError as error:
        _log.warning("the directory of a build: %s", error)


def _check(options: BuildOptions) -> None:
    """Raises InvalidParameterError, NotSupportedError for what can't be carried out."""
    if options.version == "2":
        raise NotSupportedError("a build by BuildKit's protocol (set DOCKER_BUILDKIT=0)")
    if options.version not in ("", "1"):
        raise InvalidParameterError(f"invalid version {options.version}")
    for tag in options.tags:
        if Reference.parse(tag).digest is not None:
            raise InvalidParameterError("refusing to create a tag with a digest reference")


def _request(options: BuildOptions, dockerfile: Dockerfile) -> BuildRequest:
    platform = Platform.parse(options.platform) if options.platform else Platform.host()
    epoch = options.build_args.get("SOURCE_DATE_EPOCH")
    if epoch and not epoch.isdigit():
        raise InvalidParameterError(f"invalid SOURCE_DATE_EPOCH: {epoch}")
    return BuildRequest(
        dockerfile=dockerfile,
        tags=tuple(dict.fromkeys(Reference.parse(tag).with_default_tag() for tag in options.tags)),
        target=options.target,
        arguments=options.build_args,
        labels=options.labels,
        platform=platform,
        platform_given=bool(options.platform),
        no_cache=options.no_cache,
        no_cache_stages=frozenset(options.no_cache_filter),
        pull=options.pull,
        squash=options.squash,
        network=options.network_mode,
        extra_hosts=options.extra_hosts,
        limits=Limits(
            memory=options.memory,
            memory_swap=options.memory_swap,
            cpu_shares=options.cpu_shares,
            cpu_period=options.cpu_period,
            cpu_quota=options.cpu_quota,
            cpuset_cpus=options.cpuset_cpus,
            cpuset_mems=options.cpuset_mems,
            shm_size=options.shm_size,
            cgroup_parent=options.cgroup_parent,
            ulimits=tuple((limit.name, limit.soft, limit.hard) for limit in options.ulimits),
        ),
        security=options.security,
        keep_containers=not options.remove and not options.force_remove,
        keep_failed=not options.force_remove,
        epoch=int(epoch) if epoch else None,
    )


async def _dockerfile(workspace: Workspace, options: BuildOptions) -> Dockerfile:
    """Raises DockerfileMissingError, DockerfileError."""
    name = options.dockerfile or "Dockerfile"
    words = [word for word in name.split("/") if word not in ("", ".")]
    if ".." in words:
        raise InvalidParameterError(f"Forbidden path outside the build context: {name} ()")
    access = workspace.read_directory(workspace.context)
    data = b""
    try:
        request = PickRequest(sources=[Source(tuple((False, word) for word in words))], raw=True)
        found = await access.pick(request)
        if not found or found[0].directory:
            raise DockerfileMissingError(name)
        async with aclosing(access.chunks()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > DOCKERFILE_LIMIT:
                    raise InvalidParameterError(f"the Dockerfile ({name}) is too large")
    except FileAccessError as exc:
        raise InvalidParameterError(str(exc)) from exc
    finally:
        await access.close()
    if not data:
        raise InvalidParameterError(f"the Dockerfile ({name}) cannot be empty")
    return parse(data)


def _last(state: StageState, options: BuildOptions) -> list[JSONMessage]:
    assert state.image is not None
    if options.quiet:
        return [jsonstream.stream(f"{state.image.id}\n")]
    found = [jsonstream.stream(f"Successfully built {short(state.image.id.encoded)}\n")]
    for tag in dict.fromkeys(Reference.parse(tag).with_default_tag().familiar for tag in options.tags):
        found.append(jsonstream.stream(f"Successfully tagged {tag}\n"))
    return found
