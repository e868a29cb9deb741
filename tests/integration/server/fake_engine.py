"""An engine in memory that implements every backend: containers are coroutines that know a few commands.

``cat`` copies its input, ``echo`` prints, ``sleep`` waits for a signal, ``flood`` prints a number of bytes as fast as
it can, ``missing`` can't be started. All of it runs in the test's own event loop, over real sockets.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec

from rundlet.api import jsonstream, stdcopy
from rundlet.api.builds import BuildOptions
from rundlet.api.container_config import ContainerConfig, EndpointSettings
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
    ContainerState,
    ContainerSummary,
    ContainerTop,
    ContainerUpdate,
    ContainerUpdated,
    FilesystemChange,
    LogsOptions,
    NetworkSettings,
    PathStat,
    Port,
    RemoveOptions,
    StartOptions,
    StopOptions,
    SummaryNetworkSettings,
    WaitCondition,
    WaitResult,
)
from rundlet.api.events import Event, EventActor, EventsOptions
from rundlet.api.exec import ExecCreate, ExecCreated, ExecInspect, ExecStart, Size
from rundlet.api.filters import Filters
from rundlet.api.images import (
    AuthConfig,
    DistributionInspect,
    ImageConfig,
    ImageDeleted,
    ImageHistoryItem,
    ImageInspect,
    ImageInspectOptions,
    ImageListOptions,
    ImageRemoveOptions,
    ImageSearchResult,
    ImagesPruned,
    ImageSummary,
    ImportOptions,
    LoadOptions,
    PullOptions,
    PushOptions,
    SaveOptions,
    SearchOptions,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.networks import (
    Network,
    NetworkConnect,
    NetworkContainer,
    NetworkCreate,
    NetworkCreated,
    NetworkDisconnect,
    NetworkInspectOptions,
    NetworkListOptions,
    NetworksPruned,
)
from rundlet.api.stats import ContainerStats
from rundlet.api.streams import Archive, Attachment, LogStream, SentArchive
from rundlet.api.system import DiskUsage, DiskUsageOptions, Info, Login, Version
from rundlet.api.volumes import Volume, VolumeCreate, VolumeList, VolumeListOptions, VolumeRemoveOptions, VolumesPruned
from rundlet.errors import (
    ConflictError,
    InvalidParameterError,
    NoSuchContainerError,
    NoSuchImageError,
    NotFoundError,
    NotModifiedError,
    UnauthorizedError,
)
from rundlet.server.app import Backends
from rundlet.util import ids

IMAGE_ID = "sha256:" + "5" * 64


def familiar(name: str) -> str:
    """CLIs since 28 send what older ones left to the engine."""
    return name.removeprefix("docker.io/library/")


@dataclass
class Stdio:
    """A process's end of the attached socket."""

    tty: bool
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    log: list[tuple[int, bytes]] = field(default_factory=list)
    opened: ClassVar[list["Stdio"]] = []

    async def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.reader, self.writer = await asyncio.open_connection(sock=ours)
        self.opened.append(self)
        return theirs

    def output(self) -> bytes:
        return b"".join(data for stream, data in self.log if stream == 1)

    async def write(self, stream: int, data: bytes) -> None:
        self.log.append((stream, data))
        if self.writer is not None:
            try:
                self.writer.write(data if self.tty else stdcopy.frame(stream, data))
                await self.writer.drain()
            except ConnectionError:
                self.writer = None

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def run_command(command: Sequence[str], stdio: Stdio, stop: asyncio.Event) -> int:
    """What the command does; its exit code."""
    match list(command):
        case ["echo", *words]:
            await stdio.write(1, (" ".join(words) + "\n").encode())
        case ["cat"]:
            while stdio.reader is not None and (data := await stdio.reader.read(65536)):
                await stdio.write(1, data)
            await stdio.write(2, b"end of input\n")
        case ["flood", size]:
            block = b"x" * 65536
            for _ in range(int(size) // len(block)):
                await stdio.write(1, block)
        case ["exit", code]:
            return int(code)
        case _:
            await stop.wait()
            return 137
    return 0


@dataclass
class FakeContainer:
    id: str
    name: str
    body: ContainerCreate
    stdio: Stdio
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    status: str = "created"
    exit_code: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    on_end: Callable[["FakeContainer"], None] | None = None
    detached: int = 0
    sizes: list[Size] = field(default_factory=list)
    archive: bytes = b""

    async def run(self) -> None:
        self.exit_code = await run_command(self.body.cmd or (), self.stdio, self.stop)
        await self.stdio.close()
        self.status = "exited"
        self.ended.set()
        if self.on_end is not None:
            self.on_end(self)

    def saw_detach(self) -> None:
        self.detached += 1


class FakeContainers:
    """ContainerBackend."""

    def __init__(self) -> None:
        self.all: dict[str, FakeContainer] = {}
        self.started: list[FakeContainer] = []
        self.followers = 0

    def find(self, ref: str) -> FakeContainer:
        for container in self.all.values():
            if container.name == ref.removeprefix("/") or container.id.startswith(ref):
                return container
        raise NoSuchContainerError(ref)

    async def create(self, body: ContainerCreate, options: ContainerCreateOptions) -> ContainerCreated:
        if body.image == "absent":
            raise NoSuchImageError("absent:latest")
        identifier = ids.new_id()
        name = options.name or f"fake_{identifier[:6]}"
        if any(c.name == name for c in self.all.values()):
            raise ConflictError(f'Conflict. The container name "/{name}" is already in use.')
        container = FakeContainer(identifier, name, body, Stdio(body.tty))
        if body.host_config is not None and body.host_config.auto_remove:
            container.on_end = self._forget
        self.all[identifier] = container
        return ContainerCreated(id=identifier)

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        return [
            ContainerSummary(
                id=c.id,
                names=(f"/{c.name}",),
                image=c.body.image,
                image_id=IMAGE_ID,
                command=" ".join(c.body.cmd or ()),
                created=1_700_000_000,
                ports=(Port(ip="0.0.0.0", private_port=80, public_port=8080),),
                labels=c.body.labels or {},
                state=c.status,
                status="Up 3 seconds",
                network_settings=SummaryNetworkSettings(networks={"bridge": EndpointSettings()}),
            )
            for c in self.all.values()
            if (options.all or c.status == "running") and options.filters.glob("name", c.name)
        ]

    async def inspect(self, ref: str, options: ContainerInspectOptions) -> ContainerInspect:
        c = self.find(ref)
        return ContainerInspect(
            id=c.id,
            name=f"/{c.name}",
            created="2026-01-02T03:04:05Z",
            state=ContainerState(status=c.status, running=c.status == "running", exit_code=c.exit_code),
            config=ContainerConfig(
                image=c.body.image, tty=c.body.tty, open_stdin=c.body.open_stdin, attach_stdout=True, cmd=c.body.cmd
            ),
            host_config=c.body.host_config or ContainerInspect().host_config,
            size_rw=0 if options.size else None,
            network_settings=NetworkSettings(networks={"bridge": EndpointSettings(network_id="n1")}),
        )

    async def logs(self, ref: str, options: LogsOptions) -> LogStream:
        return LogStream(self.find(ref).body.tty, self._log(self.find(ref), options))

    async def _log(self, c: FakeContainer, options: LogsOptions) -> AsyncIterator[bytes]:
        self.followers += 1
        try:
            seen = 0
            while True:
                for stream, data in c.stdio.log[seen:]:
                    seen += 1
                    yield data if c.body.tty else stdcopy.frame(stream, data)
                if not options.follow or c.status != "running":
                    return
                await asyncio.sleep(0.01)
        finally:
            self.followers -= 1

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        c = self.find(ref)
        backlog = self._log(c, LogsOptions()) if options.logs else None
        sock = await c.stdio.connect() if options.stream else None
        return Attachment(tty=c.body.tty, socket=sock, backlog=backlog, on_detach=c.saw_detach)

    async def start(self, ref: str, options: StartOptions) -> None:
        c = self.find(ref)
        if c.status == "running":
            raise NotModifiedError("already started")
        if c.body.cmd == ("missing",):
            await c.stdio.close()
            if c.on_end is not None:
                c.on_end(c)
            raise InvalidParameterError('exec: "missing": executable file not found in $PATH: unknown')
        c.status = "running"
        c.ended.clear()
        c.task = asyncio.create_task(c.run())
        self.started.append(c)

    async def stop(self, ref: str, options: StopOptions) -> None:
        c = self.find(ref)
        if c.status != "running":
            raise NotModifiedError("already stopped")
        c.stop.set()
        await c.ended.wait()

    async def restart(self, ref: str, options: StopOptions) -> None:
        await self.stop(ref, options)
        await self.start(ref, StartOptions())

    async def kill(self, ref: str, signal: str) -> None:
        if self.find(ref).status != "running":
            raise ConflictError(f"Container {ref} is not running")
        self.find(ref).stop.set()

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResult]:
        c = self.find(ref)

        async def result() -> WaitResult:
            if condition != "not-running" or c.status in ("created", "running"):
                await (c.removed if condition == "removed" else c.ended).wait()
            return WaitResult(status_code=c.exit_code)

        return result()

    async def remove(self, ref: str, options: RemoveOptions) -> None:
        c = self.find(ref)
        if c.status == "running" and not options.force:
            raise ConflictError(f"cannot remove container {ref!r}: container is running")
        c.stop.set()
        self._forget(c)

    def _forget(self, c: FakeContainer) -> None:
        self.all.pop(c.id, None)
        c.removed.set()

    async def resize(self, ref: str, size: Size) -> None:
        self.find(ref).sizes.append(size)

    async def rename(self, ref: str, name: str) -> None:
        self.find(ref).name = name

    async def pause(self, ref: str) -> None:
        self.find(ref).status = "paused"

    async def unpause(self, ref: str) -> None:
        self.find(ref).status = "running"

    async def top(self, ref: str, ps_args: str) -> ContainerTop:
        return ContainerTop(titles=("PID", "CMD"), processes=(("1", " ".join(self.find(ref).body.cmd or ())),))

    async def update(self, ref: str, body: ContainerUpdate) -> ContainerUpdated:
        self.find(ref)
        return ContainerUpdated(warnings=(f"memory {body.memory}",))

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[ContainerStats]:
        return self._stats(self.find(ref), stream)

    async def _stats(self, c: FakeContainer, stream: bool) -> AsyncIterator[ContainerStats]:
        self.followers += 1
        try:
            yield ContainerStats(name=f"/{c.name}", id=c.id)
            while stream:
                await asyncio.sleep(0.02)
                yield ContainerStats(name=f"/{c.name}", id=c.id)
        finally:
            self.followers -= 1

    async def archive_stat(self, ref: str, path: str) -> PathStat:
        size = len(self.find(ref).archive)
        return PathStat(name=path.rpartition("/")[2], size=size, mode=0o644, mtime="2026-01-02T03:04:05Z")

    async def archive_get(self, ref: str, path: str) -> Archive:
        if path == "/absent":
            raise NotFoundError(f"Could not find the file {path} in container {ref}")
        return Archive(await self.archive_stat(ref, path), self._archive(self.find(ref), path))

    async def _archive(self, c: FakeContainer, path: str) -> AsyncIterator[bytes]:
        yield c.archive
        if path == "/broken":
            raise OSError(5, "Input/output error")

    async def archive_put(self, ref: str, path: str, options: ArchivePutOptions, body: AsyncIterator[bytes]) -> None:
        self.find(ref).archive = b"".join([chunk async for chunk in body])

    async def changes(self, ref: str) -> Sequence[FilesystemChange]:
        self.find(ref)
        return [FilesystemChange(path="/etc", kind=0), FilesystemChange(path="/new", kind=1)]

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        return self._archive(self.find(ref), "/")

    async def prune(self, filters: Filters) -> ContainersPruned:
        return ContainersPruned()

    async def commit(self, options: CommitOptions) -> str:
        self.find(options.container)
        return IMAGE_ID


@dataclass
class FakeExec:
    container: FakeContainer
    body: ExecCreate
    exit_code: int | None = None
    task: asyncio.Task[None] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class FakeExecs:
    """ExecBackend."""

    def __init__(self, containers: FakeContainers) -> None:
        self._containers = containers
        self.all: dict[str, FakeExec] = {}
        self.detached = 0

    def find(self, exec_id: str) -> FakeExec:
        if exec_id not in self.all:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        return self.all[exec_id]

    async def create(self, ref: str, body: ExecCreate) -> ExecCreated:
        container = self._containers.find(ref)
        if container.status != "running":
            raise ConflictError(f"container {container.id} is not running")
        identifier = ids.new_id()
        self.all[identifier] = FakeExec(container, body)
        return ExecCreated(id=identifier)

    async def check_start(self, exec_id: str) -> None:
        self.find(exec_id)

    async def start(self, exec_id: str, body: ExecStart) -> Attachment:
        await asyncio.sleep(0.02)  # a real one takes as long, and docker-py relies on it
        found = self.find(exec_id)
        if found.body.cmd == ("missing",):
            found.exit_code = 127
            raise InvalidParameterError('OCI runtime exec failed: exec: "missing": executable file not found in $PATH')
        stdio = Stdio(found.body.tty)
        sock = await stdio.connect()
        found.task = asyncio.create_task(self._run(found, stdio))
        return Attachment(
            tty=found.body.tty,
            socket=sock,
            detach_keys=found.body.detach_keys,
            settled=found.over.wait,
            on_detach=self._saw_detach,
        )

    async def start_detached(self, exec_id: str, body: ExecStart) -> None:
        found = self.find(exec_id)
        found.task = asyncio.create_task(self._run(found, Stdio(found.body.tty)))

    async def _run(self, found: FakeExec, stdio: Stdio) -> None:
        code = await run_command(found.body.cmd or (), stdio, found.container.stop)
        await stdio.close()
        await asyncio.sleep(0.05)  # the output ends before the exit is known
        found.exit_code = code
        found.over.set()

    def _saw_detach(self) -> None:
        self.detached += 1

    async def inspect(self, exec_id: str) -> ExecInspect:
        found = self.find(exec_id)
        return ExecInspect(
            id=exec_id,
            running=found.exit_code is None,
            exit_code=found.exit_code,
            container_id=found.container.id,
            open_stdout=True,
        )

    async def resize(self, exec_id: str, size: Size) -> None:
        self.find(exec_id)


class FakeImages:
    """ImageBackend."""

    def __init__(self) -> None:
        self.tags = {"debian:12"}
        self.imported = b""
        self.lent = b""
        self.auth = AuthConfig()
        self.platform = ""

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        return [ImageSummary(id=IMAGE_ID, repo_tags=tuple(sorted(self.tags)), created=1_700_000_000, size=123)]

    async def inspect(self, ref: str, options: ImageInspectOptions) -> ImageInspect:
        if ref not in self.tags and not IMAGE_ID.startswith(ref):
            raise NoSuchImageError(ref)
        return ImageInspect(
            id=IMAGE_ID,
            repo_tags=tuple(self.tags),
            config=ImageConfig(cmd=("bash",), env=("PATH=/bin",)),
            os="linux",
            architecture="amd64",
            size=123,
        )

    async def history(self, ref: str, platform: str) -> Sequence[ImageHistoryItem]:
        return [ImageHistoryItem(id=IMAGE_ID, created=1_700_000_000, created_by="import", size=123)]

    async def pull(self, options: PullOptions) -> AsyncIterator[JSONMessage]:
        options = msgspec.structs.replace(options, name=familiar(options.name))
        self.auth, self.platform = options.auth, options.platform
        return self._pull(options)

    async def _pull(self, options: PullOptions) -> AsyncIterator[JSONMessage]:
        if options.name == "denied":
            raise UnauthorizedError("pull access denied for denied")
        yield jsonstream.status(f"Pulling from {options.name}", options.tag)
        yield jsonstream.progress("Downloading", "abc123", 500, 1000)
        if options.name == "halfway":
            raise InvalidParameterError("unexpected EOF")
        if options.name == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        self.tags.add(f"{options.name}:{options.tag}")
        yield jsonstream.status(f"Status: Downloaded newer image for {options.name}:{options.tag}")

    async def import_image(self, options: ImportOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        self.imported = b"".join([chunk async for chunk in body])
        self.tags.add(f"{options.repo}:{options.tag or 'latest'}")
        return self._one(IMAGE_ID)

    async def _one(self, text: str) -> AsyncIterator[JSONMessage]:
        yield jsonstream.status(text)

    async def push(self, options: PushOptions) -> AsyncIterator[JSONMessage]:
        self.auth, self.platform = options.auth, options.platform
        return self._one(f"The push refers to repository [{options.name}]")

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        self.tags.add(f"{familiar(repo)}:{tag}")

    async def remove(self, ref: str, options: ImageRemoveOptions) -> Sequence[ImageDeleted]:
        if ref not in self.tags:
            raise NoSuchImageError(ref)
        self.tags.discard(ref)
        return [ImageDeleted(untagged=ref)]

    async def prune(self, filters: Filters) -> ImagesPruned:
        return ImagesPruned()

    async def search(self, options: SearchOptions) -> Sequence[ImageSearchResult]:
        return [ImageSearchResult(name=options.term)]

    async def save(self, options: SaveOptions) -> AsyncIterator[bytes]:
        return self._bytes(b" ".join(name.encode() for name in options.names))

    async def _bytes(self, data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def load(self, options: LoadOptions, archive: SentArchive) -> AsyncIterator[JSONMessage]:
        if isinstance(archive, AsyncIterator):
            self.imported = b"".join([chunk async for chunk in archive])
        else:
            self.lent = b"".join(archive)
            archive.close()
        return self._loaded()

    async def _loaded(self) -> AsyncIterator[JSONMessage]:
        yield jsonstream.stream("Loaded image: debian:12\n")


class FakeNetworks:
    """NetworkBackend."""

    def __init__(self) -> None:
        self.all = {"bridge": Network(name="bridge", id="b" * 64, driver="bridge")}

    def find(self, ref: str) -> Network:
        if ref not in self.all:
            raise NotFoundError(f"network {ref} not found")
        return self.all[ref]

    async def list(self, options: NetworkListOptions) -> Sequence[Network]:
        return list(self.all.values())

    async def inspect(self, ref: str, options: NetworkInspectOptions) -> Network:
        found = next((network for network in self.all.values() if network.id == ref), None) or self.find(ref)
        return msgspec.structs.replace(found, containers={"c1": NetworkContainer(name="x")})

    async def create(self, body: NetworkCreate) -> NetworkCreated:
        self.all[body.name] = Network(name=body.name, id=ids.new_id(), driver=body.driver or "bridge")
        return NetworkCreated(id=self.all[body.name].id)

    async def connect(self, ref: str, body: NetworkConnect) -> None:
        self.find(ref)

    async def disconnect(self, ref: str, body: NetworkDisconnect) -> None:
        self.find(ref)

    async def remove(self, ref: str) -> None:
        del self.all[self.find(ref).name]

    async def prune(self, filters: Filters) -> NetworksPruned:
        return NetworksPruned()


class FakeBuildKit:
    """Nobody comes."""

    def session(self, identifier: str, shared_key: str, methods: frozenset[str]) -> Attachment:
        raise AssertionError(identifier, shared_key, methods)

    def control(self) -> Attachment:
        raise AssertionError

    def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        raise AssertionError(options, body)


class FakeBuilds:
    """BuildBackend: reads the context and says how large it was."""

    async def build(self, options: BuildOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        size = sum([len(chunk) async for chunk in body])

        async def messages() -> AsyncIterator[JSONMessage]:
            yield JSONMessage(stream=f"{size} bytes\n")

        return messages()

    async def cancel(self, build_id: str) -> None:
        raise NotFoundError(f"no such build: {build_id}")


class FakeVolumes:
    """VolumeBackend."""

    def __init__(self) -> None:
        self.all: dict[str, Volume] = {}
        self.pruned = Filters()

    async def list(self, options: VolumeListOptions) -> VolumeList:
        return VolumeList(volumes=tuple(self.all.values()))

    async def inspect(self, name: str) -> Volume:
        if name not in self.all:
            raise NotFoundError(f"get {name}: no such volume")
        return self.all[name]

    async def create(self, body: VolumeCreate) -> Volume:
        name = body.name or ids.new_id()
        self.all[name] = Volume(name=name, labels=body.labels or None, created_at="2026-01-02T03:04:05Z")
        return self.all[name]

    async def remove(self, name: str, options: VolumeRemoveOptions) -> None:
        await self.inspect(name)
        del self.all[name]

    async def prune(self, filters: Filters) -> VolumesPruned:
        self.pruned = filters
        return VolumesPruned()


class FakeSystem:
    """SystemBackend."""

    def __init__(self) -> None:
        self.subscribers = 0
        self.kinds: frozenset[str] = frozenset()

    builder_version = "1"
    experimental = False

    async def version(self) -> Version:
        return Version(version="28.2.2", api_version="1.51", min_api_version="1.24", os="linux", arch="amd64")

    async def info(self) -> Info:
        return Info(id="fake", name="host", server_version="28.2.2", driver="overlay2", n_cpu=2)

    async def disk_usage(self, options: DiskUsageOptions) -> DiskUsage:
        self.kinds = options.kinds
        return DiskUsage()

    async def events(self, options: EventsOptions) -> AsyncIterator[Event]:
        self.subscribers += 1
        return self._events(options)

    async def _events(self, options: EventsOptions) -> AsyncIterator[Event]:
        try:
            if "image" in options.filters.get("type"):
                yield Event(type="image", action="create")
                yield Event(type="image", action="tag")
            for number in range(2):
                actor = EventActor(id="c1", attributes={"name": "x"})
                yield Event(status="start", id="c1", type="container", action="start", actor=actor, time=number + 1)
            await asyncio.Event().wait()
        finally:
            self.subscribers -= 1

    async def login(self, auth: AuthConfig) -> Login:
        if auth.password != "right":
            raise UnauthorizedError("unauthorized: incorrect username or password")
        return Login(status="Login Succeeded")


class FakeDistribution:
    """DistributionBackend."""

    async def inspect(self, reference: str, auth: AuthConfig) -> DistributionInspect:
        raise UnauthorizedError(f"no basic auth credentials for {reference}")


class FakeEngine:
    """All of them."""

    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.exec = FakeExecs(self.containers)
        self.images = FakeImages()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.system = FakeSystem()
        self.distribution = FakeDistribution()

    async def end(self) -> None:
        """End every process."""
        tasks = [p.task for p in (*self.containers.started, *self.exec.all.values()) if p.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stdio in Stdio.opened:
            await stdio.close()
        Stdio.opened.clear()

    def backends(self) -> Backends:
        return Backends(
            containers=self.containers,
            exec=self.exec,
            images=self.images,
            networks=self.networks,
            volumes=self.volumes,
            system=self.system,
            distribution=self.distribution,
            builds=FakeBuilds(),
            buildkit=FakeBuildKit(),
        )
