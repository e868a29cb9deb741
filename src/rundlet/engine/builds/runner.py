"""Steps as containers: made, started and watched like any other, with no right more. As with BuildKit no event tells of
them; with the classic builder all do.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from rundlet.api import stdcopy
from rundlet.api.container_config import (
    ContainerConfig,
    HealthConfig,
    HostConfig,
    ImageOptions,
    LogConfig,
    Mount,
    TmpfsOptions,
    Ulimit,
)
from rundlet.api.containers import ContainerCreate, ContainerCreateOptions, RemoveOptions
from rundlet.builder.dockerfile.arguments import HOSTNAME
from rundlet.builder.errors import ForeignProgramError
from rundlet.builder.report import Reporter, Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.runs import Ran, RunJob
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.changes import mount_points
from rundlet.engine.containers.create import Creator
from rundlet.engine.containers.failures import CANNOT_EXECUTE, StartFailedError
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.live import PendingAttachment
from rundlet.engine.context import Context
from rundlet.errors import NotFoundError, RundletError
from rundlet.oci.platform import Platform
from rundlet.util.ids import short
from rundlet.util.tasks import TaskGroup, settled

_log = logging.getLogger(__name__)
MARK: Final = "dev.rundlet.build"
"""The annotation of a step's container: one that an engine finds at its start is a killed build's, and is removed."""
_CHUNK: Final = 256 << 10
_REMOVAL_LIMIT: Final = 10.0
"""Seconds that a build waits at its end for the removal of its containers."""
_AGAIN: Final = (0.1, 1.0, 5.0, 0.0)
"""Seconds after each failed removal of a step's container."""


class ContainerRunner:
    """Made by the wiring."""

    def __init__(self, context: Context, creator: Creator, lifecycle: Lifecycle, tasks: TaskGroup) -> None:
        self._context = context
        self._creator = creator
        self._lifecycle = lifecycle
        self._tasks = tasks
        self._removals: dict[Reporter, set[asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def run(self, job: RunJob, request: BuildRequest, step: Step, reporter: Reporter) -> AsyncIterator[Ran]:
        """See builder.runs.Runner."""
        host = _host(job, request, step)
        config = _config(job, request)
        body = ContainerCreate(image=str(job.image.id), host_config=host)
        # Neither a creation nor a start can be left halfway: a build that is cancelled meanwhile sees it through.
        creation = asyncio.ensure_future(
            self._creator.create_exactly(body, ContainerCreateOptions(), job.image, config, hidden=request.buildkit)
        )
        try:
            created = await settled(creation)
        except asyncio.CancelledError:
            if not creation.cancelled() and creation.exception() is None:
                await self._remove(creation.result().id)
            raise
        keep = request.keep_containers
        try:
            reporter.running(step, created.id)
            attributes = event_attributes(self._context.containers.by_id(created.id))
            self._context.events.publish("container", "attach", created.id, attributes)
            try:
                code = await self._watch(created.id, lambda stream, data: reporter.output(step, stream, data))
            except RundletError as error:
                keep = keep or request.keep_failed
                machine, platform = Platform.host(), job.image.platform
                unrunnable = isinstance(error, StartFailedError) and error.exit_code == CANNOT_EXECUTE
                if unrunnable and not platform.runs_on(machine):
                    raise ForeignProgramError(error, platform, machine) from error
                raise
            keep = keep or (code != 0 and request.keep_failed)
            record = self._context.containers.by_id(created.id)
            yield Ran(created.id, code, mount_points(record))
        finally:
            if keep:
                self._context.events.reveal(created.id)
            if not keep or _cancelled():
                reporter.removed(step, created.id)
                removal = self._tasks.spawn(self._remove(created.id), name=f"remove step {short(created.id)}")
                if not request.buildkit:  # whose clients never hear of these containers
                    self._removals.setdefault(reporter, set()).add(removal)
                if _cancelled():
                    await asyncio.shield(asyncio.wait([removal]))

    async def settle(self, reporter: Reporter) -> None:
        """The steps of the build that tells ``reporter`` are over: their containers are gone when this returns.

        What could not be removed at once is tried again without anybody who waits.
        """
        if removals := self._removals.pop(reporter, None):
            await asyncio.shield(asyncio.wait(removals, timeout=_REMOVAL_LIMIT))

    async def _watch(self, container_id: str, output: Callable[[int, bytes], None]) -> int:
        live = self._context.live.of(container_id)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        live.pending.append(PendingAttachment(theirs, False, True, True))
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        live.exited.append(exited)
        reading = asyncio.create_task(_read(ours, output))
        try:
            await settled(self._lifecycle.start(container_id))
            code = await exited
            await reading
            return code
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            ours.close()

    async def _remove(self, container_id: str) -> None:
        """What fails is tried again: a disk that the container has filled has room when its files are gone."""
        try:
            await self._removed(container_id)
        finally:
            self._context.events.reveal(container_id)

    async def _removed(self, container_id: str) -> None:
        for pause in _AGAIN:
            try:
                await self._lifecycle.remove(container_id, RemoveOptions(force=True, volumes=True))
            except NotFoundError:
                return
            except RundletError as error:
                _log.warning("container %s of a build: %s", short(container_id), error)
                await asyncio.sleep(pause)
            else:
                return


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _read(ours: socket.socket, output: Callable[[int, bytes], None]) -> None:
    splitter = stdcopy.Splitter()
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, _CHUNK):
        for stream, payload in splitter.feed(data):
            output(stream, payload)


def _hostname(job: RunJob, request: BuildRequest) -> str:
    """BuildKit's steps are all on a machine of one name, so that what they write of it is the same again; "" leaves it
    to the container."""
    if not request.buildkit or job.network == "host":
        return ""
    return request.arguments.get(HOSTNAME) or "buildkitsandbox"


def _config(job: RunJob, request: BuildRequest) -> ContainerConfig:
    given = job.config
    names = set(job.environment)
    env = [item for item in given.env or () if item.partition("=")[0] not in names]
    return ContainerConfig(
        hostname=_hostname(job, request),
        user=given.user,
        env=(*env, *(f"{name}={value}" for name, value in job.environment.items())),
        cmd=tuple(given.cmd or ()),
        image=str(job.image.id),
        working_dir=given.working_dir,
        entrypoint=None,
        healthcheck=HealthConfig(test=("NONE",)),
        labels=given.labels or {},
        shell=tuple(given.shell) if given.shell else None,
        attach_stdout=True,
        attach_stderr=True,
        volumes=None,
    )


def _host(job: RunJob, request: BuildRequest, step: Step) -> HostConfig:
    limits = request.limits
    fields: dict[str, Any] = {}
    if limits.ulimits:
        fields["ulimits"] = tuple(Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in limits.ulimits)
    return HostConfig(
        network_mode=job.network or "default",
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        shm_size=limits.shm_size,
        cgroup_parent=limits.cgroup_parent,
        extra_hosts=request.extra_hosts or None,
        security_opt=request.security or None,
        privileged=job.insecure,
        log_config=LogConfig(type="json-file" if request.keep_containers else "none"),
        annotations={MARK: str(step.number)},
        # Whatever the default is: what a step borrows (caches, secrets, other stages) is not its users'.
        userns_mode="host",
        mounts=tuple(
            _mount(mount.kind, mount.target, mount.source, mount.read_only, mount.options) for mount in job.mounts
        ),
        **fields,
    )


def _mount(kind: str, target: str, source: str, read_only: bool, options: str) -> Mount:
    if kind == "tmpfs":
        size = int(options.removeprefix("size=")) if options else 0
        return Mount(type="tmpfs", target=target, tmpfs_options=TmpfsOptions(size_bytes=size))
    if kind == "image":
        return Mount(type="image", source=source, target=target, image_options=ImageOptions(subpath=options))
    return Mount(type="bind", source=source, target=target, read_only=read_only)


def is_build_container(annotations: dict[str, str]) -> bool:
    """Whether a container is a step's."""
    return MARK in annotations
