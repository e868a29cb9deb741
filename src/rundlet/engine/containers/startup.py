"""Starting a container: network, files, bundle, shim; on failure everything is given back in reverse order."""

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any

import msgspec

from rundlet.container.record import Record, State
from rundlet.container.state import Status
from rundlet.engine import confinement, machine
from rundlet.engine.containers import documents, propagation
from rundlet.engine.containers.bundle import BundleMaker
from rundlet.engine.containers.etc import EtcFiles
from rundlet.engine.containers.execs import ExecService
from rundlet.engine.containers.failures import start_error
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.live import Live
from rundlet.engine.containers.networking import Networking
from rundlet.engine.context import Context
from rundlet.engine.logdrivers import LogPlan, Subject, plan, probe, readable_path
from rundlet.engine.mounts import make_source
from rundlet.engine.proxy import ProxyKeeper
from rundlet.engine.resolver import ResolverKeeper
from rundlet.errors import InternalError, RundletError
from rundlet.network.sandbox import Allocation
from rundlet.runtime.shimclient import ShimClient, ShimGoneError, ShimRequestError
from rundlet.util.clock import rfc3339_nano

_log = logging.getLogger(__name__)
START_SECONDS = 60.0
WRITER_SECONDS = 10.0
"""How long a start waits for a ``cp`` into the stopped container."""
_LOGGER_PAUSE = 1.0


class Started(msgspec.Struct, frozen=True):
    """A container that runs: its shim's connection and its new state."""

    shim: ShimClient
    state: State


class Starter:
    """Used by the life cycle under the container's lock."""

    def __init__(
        self,
        context: Context,
        bundles: BundleMaker,
        networking: Networking,
        etc: EtcFiles,
        execs: ExecService,
        resolver: ResolverKeeper,
        proxy: ProxyKeeper,
    ) -> None:
        self._context = context
        self._bundles = bundles
        self._networking = networking
        self._etc = etc
        self.execs = execs
        self._resolver = resolver
        self._proxy = proxy
        self._links = Links(context.containers, context.network)

    async def start(self, record: Record, live: Live) -> Started:
        """Run the container's process. Raises StartFailedError and what the rooms below raise; nothing is left."""
        context = self._context
        directory = context.layout.container(record.id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{directory}/exit")
        self._make_bind_sources(record)
        propagation.check(record.mounts, context.layout.root)
        await live.end_writers(WRITER_SECONDS)
        self._links.check_running(record)
        try:
            await self._mount_volumes(record)
            started = await self._start_connected(record, live)
        except BaseException:
            await self._unmount_volumes(record)
            raise
        with contextlib.suppress(OSError):  # Another container's file: no reason to end this one.
            self._etc.relinked(record)
        return started

    async def _start_connected(self, record: Record, live: Live) -> Started:
        """With a network; nothing of it is left on failure."""
        host = documents.host(record)
        if host.port_bindings or host.publish_all_ports:
            await self._proxy.settle()
        allocation = self._networking.allocate(record)
        try:
            if allocation.sandbox.resolver:
                await self._resolver.ensure()
            if allocation.reservation is not None:
                await self._proxy.serve(record.id, allocation.reservation)
            etc_mounts = self._etc.write(record, allocation)
            log = await self._plan_log(record)
            bundle = await self._bundles.make(record, self._net_section(record, allocation), etc_mounts, log.section)
            return await self._launch(record, bundle, allocation, live, log)
        except BaseException:
            self._context.network.release(record.id)
            raise
        finally:
            allocation.close()

    async def _launch(
        self, record: Record, bundle: dict[str, Any], allocation: Allocation, live: Live, log: LogPlan
    ) -> Started:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        shim = ShimClient(ours)
        try:
            with theirs:
                shim_pid = await self._context.launcher.shim(record.id, msgspec.json.encode(bundle), theirs)
            if log.logger is not None:
                await self._start_logger(shim, log.logger)
            live.begin_start()
            started = await asyncio.wait_for(self._start_in(shim, allocation, live), START_SECONDS)
        except ShimRequestError as error:
            shim.close()
            raise start_error(error) from error
        except (ShimGoneError, TimeoutError) as error:
            shim.close()
            raise InternalError(f"the supervisor of container {record.id} ended while starting it") from error
        except BaseException:
            shim.close()
            raise
        return Started(
            shim,
            msgspec.structs.replace(
                record.state,
                status=Status.RUNNING,
                pid=started["pid"],
                shim_pid=shim_pid,
                boot_id=machine.boot_id(),
                started_ns=started["started_at_ns"],
                exit_code=0,
                oom_killed=False,
                error="",
                manually_stopped=False,
                start_again=False,
            ),
        )

    async def _start_in(self, shim: ShimClient, allocation: Allocation, live: Live) -> dict[str, Any]:
        """Hand over ports and clients that wait, then start; all requests are under way before the first answer."""
        fds = allocation.fds()
        if fds:
            await shim.hold(fds)
        pending, live.pending = live.pending, []
        for attachment in pending:
            with attachment.end:
                await shim.attach(
                    attachment.end, stdin=attachment.stdin, stdout=attachment.stdout, stderr=attachment.stderr
                )
        return await shim.start()

    async def restart_logger(self, record: Record, shim: ShimClient) -> None:
        """In place of one that ended before its container did; what was said meanwhile is in the local copy only.

        After a moment: one that ends at once must not keep the machine busy.
        """
        await asyncio.sleep(_LOGGER_PAUSE)
        try:
            planned = self._planned_log(record)
            if planned.logger is not None:
                await self._start_logger(shim, planned.logger)
        except (RundletError, OSError) as error:
            _log.warning("no logger for container %s: %s", record.id[:12], error)

    async def _plan_log(self, record: Record) -> LogPlan:
        """What the log driver wants, and the directory for it. Raises LogDriverError, OSError."""
        planned = self._planned_log(record)
        wanted, directory = documents.host(record).log_config, self._context.layout.container(record.id)
        await probe(wanted)
        if path := readable_path(wanted, directory, record.id):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        return planned

    def _planned_log(self, record: Record) -> LogPlan:
        """Raises LogDriverError."""
        config, wanted = documents.config(record), documents.host(record).log_config
        directory = self._context.layout.container(record.id)
        subject = Subject(
            id=record.id,
            name=record.name,
            image=config.image or record.image,
            image_id=record.image_id,
            command=(record.path, *record.args),
            env=tuple(config.env or ()),
            labels=config.labels or {},
            host=socket.gethostname(),
            created=rfc3339_nano(record.created_ns),
        )
        return plan(wanted, subject, directory)

    async def _start_logger(self, shim: ShimClient, settings: dict[str, Any]) -> None:
        """The process that delivers to a log service; from now on it is the shim's, not ours."""
        memory = os.memfd_create("logger", os.MFD_CLOEXEC)
        near, far = socket.socketpair()
        with near, far, open(memory, "wb") as file:
            file.write(msgspec.json.encode(settings))
            file.flush()
            await self._context.launcher.worker("logger", [memory, far.fileno()])
            await shim.log(near)

    async def _mount_volumes(self, record: Record) -> None:
        """Raises VolumeMountError."""
        names = _volumes(record)
        if self._context.mounted.needed(names):
            await asyncio.to_thread(self._context.mounted.acquire, record.id, names)

    async def _unmount_volumes(self, record: Record) -> None:
        """Also behind a mount that is still under way in its thread."""
        if self._context.mounted.needed(_volumes(record)):
            await asyncio.shield(asyncio.to_thread(self._context.mounted.release, record.id))

    def _net_section(self, record: Record, allocation: Allocation) -> dict[str, Any]:
        section = allocation.sandbox.spec()
        if documents.host(record).network_mode.startswith("container:"):
            section["join"] = f"/proc/{self._bundles.joined_pid(record)}/ns/net"
        return section

    def _make_bind_sources(self, record: Record) -> None:
        """``-v`` makes a missing host directory, as Docker does; ``--mount`` was checked at creation."""
        for point in record.mounts:
            if point.kind == "bind":
                make_source(point.source)
            if not {"z", "Z"}.isdisjoint(point.mode.split(",")) and point.kind == "bind":
                confinement.relabel(point.source)


def _volumes(record: Record) -> list[str]:
    return [point.name for point in record.mounts if point.kind == "volume"]
