"""One build: the builder's parts, joined for it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from rundlet.api.images import AuthConfig
from rundlet.builder.cache import BuildCache
from rundlet.builder.cachemounts import CacheMounts
from rundlet.builder.extras import AddExtras
from rundlet.builder.layers import LayerMaker
from rundlet.builder.mounts import MountMaker
from rundlet.builder.report import Reporter
from rundlet.builder.request import BuildRequest
from rundlet.builder.runs import Runs
from rundlet.builder.solver import Solver
from rundlet.builder.sources import SourceFinder
from rundlet.builder.squash import squash
from rundlet.builder.state import StageState
from rundlet.builder.steps import Recorder
from rundlet.builder.transfers import Transfers
from rundlet.builder.urls import Downloads, UrlMemory
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.bases import BaseImageService
from rundlet.engine.builds.caches import CacheImporter
from rundlet.engine.builds.lendings import AgentLines, Lent
from rundlet.engine.builds.runner import ContainerRunner
from rundlet.engine.context import Context
from rundlet.image.leases import Lease, Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller
from rundlet.image.push import Pusher
from rundlet.image.records import Image
from rundlet.image.removal import Remover
from rundlet.oci.platform import Platform
from rundlet.transport import HttpClient

_CHUNK = 64 << 10


class BuildRooms(msgspec.Struct, frozen=True):
    """What the wiring gives builds."""

    cache: BuildCache
    mounts: CacheMounts
    layers: LayerMaker
    runner: ContainerRunner
    puller: Puller
    pusher: Pusher
    remover: Remover
    loader: Loader
    leases: Leases
    http: HttpClient
    urls: UrlMemory


class Work:
    """Used once. ``downloads`` are those of the whole build."""

    def __init__(
        self,
        context: Context,
        rooms: BuildRooms,
        workspace: Workspace,
        lease: Lease,
        reporter: Reporter,
        lent: Lent,
        auth: Mapping[str, AuthConfig],
        downloads: Downloads,
    ) -> None:
        self._downloads = downloads
        self._context = context
        self._rooms = rooms
        self._workspace = workspace
        self._lease = lease
        self._reporter = reporter
        self._lent = lent
        self._auth = auth
        self.used: dict[str, Image] = {}
        self.stages: list[Image] = []

    def caches(self, request: BuildRequest, platforms: Sequence[Platform]) -> CacheImporter:
        """The caches of a build for ``platforms``."""
        return CacheImporter(
            self._context,
            self._rooms.puller,
            self._rooms.loader,
            self._rooms.remover,
            self._lease,
            self._reporter,
            self._lent,
            self._auth,
            platforms,
            remote=request.buildkit,
        )

    async def solve(self, request: BuildRequest, caches: CacheImporter) -> StageState:
        """The image. Raises LocatedError and what building raises."""
        context, rooms = self._context, self._rooms
        recorder = Recorder(
            context.images,
            context.snapshots,
            rooms.cache,
            context.clock,
            self._reporter,
            self._lease,
            request.epoch,
            # What Docker's classic builder is told to look at is all that it looks at.
            sources_alone=bool(request.cache_from) and not request.buildkit,
            buildkit=request.buildkit,
        )
        recorder.sources = caches.found
        contexts = await caches.settled(request.contexts, request.platform)
        request = msgspec.structs.replace(request, contexts=contexts)
        bases = BaseImageService(context, rooms.puller, self._auth, self._reporter, signed_only=request.signed_only)
        self.used = bases.used
        solver = Solver(request, context.images, bases, recorder, self._lease, self._reporter)
        inputs = self._lent.contexts
        finder = SourceFinder(request, self._workspace, solver, bases, context.images, self._lease, inputs)
        extras = AddExtras(self._downloads, self._workspace, self._reporter, self._lent.secrets)
        solver.transfers = Transfers(
            recorder,
            self._workspace,
            context.snapshots,
            rooms.layers,
            finder.place,
            extras,
            request.epoch,
            buildkit=request.buildkit,
        )
        mounts = MountMaker(request, self._workspace, rooms.mounts, finder)
        solver.runs = Runs(recorder, request, rooms.runner, rooms.layers, mounts)
        try:
            state = await solver.solve()
            self.stages = solver.images
        finally:
            recorder.close()
            await rooms.runner.settle(self._reporter)
        if request.squash:
            depth, steps = solver.base
            created = request.epoch * 10**9 if request.epoch is not None else context.clock.now_ns()
            state = await squash(state, depth, steps, solver.transfers, recorder, created)
        return state

    @asynccontextmanager
    async def agents(self) -> AsyncIterator[dict[str, str]]:
        """A socket for each agent that was lent: what connects to it speaks with the client's agent."""
        servers: list[asyncio.Server] = []
        paths: dict[str, str] = {}
        tasks: set[asyncio.Task[None]] = set()
        try:
            for name, lines in self._lent.agents.items():
                path = f"{await asyncio.to_thread(self._workspace.secret_directory)}/agent"

                async def serve(
                    reader: asyncio.StreamReader,
                    writer: asyncio.StreamWriter,
                    lines: AgentLines = lines,
                ) -> None:
                    task = asyncio.current_task()
                    assert task is not None
                    tasks.add(task)
                    try:
                        line = await lines.get()
                        await _join(reader, writer, line)
                    finally:
                        tasks.discard(task)

                servers.append(await asyncio.start_unix_server(serve, path))
                paths[name] = path
            yield paths
        finally:
            for server in servers:
                server.close()
            for task in tasks:
                task.cancel()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: socket.socket) -> None:
    other_reader, other_writer = await asyncio.open_connection(sock=line)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()

    try:
        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
    finally:
        writer.close()
        other_writer.close()
