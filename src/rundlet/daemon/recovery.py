"""What a new engine finds: shims that live, containers that ended meanwhile, work that was cut off.

Order: half-made containers are removed, running shims adopted, ends taken over; then everything that no container needs
is given back. A container's record may be older than its shim: an engine can die between the start and the record.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from rundlet.api.containers import RemoveOptions, StopOptions
from rundlet.builder.workspace import remove_leftovers
from rundlet.container.record import Record
from rundlet.container.state import Status, is_running
from rundlet.container.store import ContainerStore
from rundlet.engine import machine
from rundlet.engine.builds.runner import is_build_container
from rundlet.engine.containers import documents, ends, removal
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.regain import STATUSES
from rundlet.engine.context import Context
from rundlet.errors import RundletError
from rundlet.runtime import state as runtime_state
from rundlet.runtime.shimclient import ShimClient, ShimGoneError
from rundlet.util import fs
from rundlet.util.database import StateError
from rundlet.util.layout import Layout

_log = logging.getLogger(__name__)
LOST = 255
KILL = 9


@contextmanager
def _without_room(what: str) -> Iterator[None]:
    """A full disk puts this off: an engine has to start there, too, for room can be made through it only."""
    try:
        yield
    except StateError as error:
        if not error.full:
            raise
        _log.warning("%s: %s", what, error)


async def _goes_on(shim: ShimClient) -> bool:
    """Whether what the engine before had paused to read its files runs again."""
    try:
        await shim.thaw()
    except (ShimGoneError, RundletError):
        return False
    return True


class Recovery:
    """Run once, before the engine answers."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self._context = context
        self._lifecycle = lifecycle

    async def run(self, unfinished: list[str]) -> None:
        """``unfinished`` are the containers whose creation or removal was cut off."""
        context = self._context
        records = list(context.containers)
        found = await asyncio.gather(*(self._connect(record) for record in records))
        live: set[str] = set()
        for record, shim in zip(records, found, strict=True):
            if shim is not None and await self._adopt(record, shim):
                live.add(record.id)
            elif is_running(record.state.status):
                self._ended(record)
            elif record.state.status is Status.REMOVING:
                unfinished.append(record.id)
        with _without_room("endpoints of containers that ended"):
            context.network.recover(live)
        await asyncio.to_thread(
            context.mounted.recover,
            {record.id: [point.name for point in record.mounts] for record in records if record.id in live},
        )
        with _without_room("ports between linked containers"):
            Links(context.containers, context.network).open_ports()
        self._lifecycle.sweep_cgroups()
        await asyncio.to_thread(self._remove_unfinished, unfinished)
        await asyncio.to_thread(self._remove_orphans)
        for record in list(context.containers):
            host = documents.host(record)
            ended = record.id not in live and record.state.started_ns and not record.state.start_again
            if (ended and host.auto_remove) or is_build_container(host.annotations):
                await self._remove(record)

    async def _remove(self, record: Record) -> None:
        try:
            await self._lifecycle.remove(record.id, RemoveOptions(force=True, volumes=True))
        except RundletError as error:
            _log.warning("cannot remove container %s: %s", record.id[:12], error)

    async def restart_policies(self) -> None:
        """Start what its policy says is to run: after a reboot, or where a shim was killed. Restarts that were cut off
        are seen through beside it.
        """
        cut_off = [record.id for record in self._context.containers if record.state.start_again]
        await asyncio.gather(self._start_by_policy(), *(self._restart(container_id) for container_id in cut_off))

    async def _start_by_policy(self) -> None:
        for record in _needed_first(list(self._context.containers)):
            policy = documents.host(record).restart_policy.name
            wanted = policy == "always" or (policy == "unless-stopped" and not record.state.manually_stopped)
            idle = not is_running(record.state.status) and not record.state.start_again
            if wanted and record.state.started_ns and idle:
                try:
                    await self._lifecycle.start(record.id)
                except RundletError as error:
                    _log.warning("cannot restart container %s: %s", record.id[:12], error)

    async def _restart(self, container_id: str) -> None:
        try:
            await self._lifecycle.restart(container_id, StopOptions())
        except RundletError as error:
            _log.warning("cannot restart container %s: %s", container_id[:12], error)

    async def _connect(self, record: Record) -> ShimClient | None:
        try:
            return await ShimClient.connect(self._context.layout.shim_socket(record.id))
        except ShimGoneError:
            return None

    async def _adopt(self, record: Record, shim: ShimClient) -> bool:
        """Whether the shim's container runs and is ours again."""
        try:
            hello = await shim.hello()
        except (ShimGoneError, RundletError) as error:
            _log.warning("shim of container %s: %s", record.id[:12], error)
            shim.close()
            return False
        if hello["id"] != record.id or hello["status"] not in STATUSES:
            # It was being started for an engine that is gone: nobody waits for it any more.
            try:
                await shim.signal(KILL)
            except RundletError:
                pass
            shim.close()
            return False
        status = STATUSES[hello["status"]]
        if status is Status.PAUSED and record.state.paused_briefly and await _goes_on(shim):
            status = Status.RUNNING
        state = msgspec.structs.replace(
            record.state,
            status=status,
            paused_briefly=False,
            pid=hello["pid"],
            shim_pid=hello["shim_pid"],
            started_ns=hello["started_at_ns"] or record.state.started_ns,
            boot_id=machine.boot_id(),
            restart_count=hello["restart_count"],
            exit_code=0,
            error="",
        )
        self._lifecycle.adopt(record, shim, state)
        if hello.get("logger_gone"):
            self._lifecycle.replace_logger(record.id, shim)
        return True

    def _ended(self, record: Record) -> None:
        """It ended while nobody looked: the shim's record says how, unless the machine itself went down."""
        found = runtime_state.read_exit(f"{self._context.layout.container(record.id)}/exit")
        state = ends.state_after(record, found, self._context.clock.now_ns(), unseen=LOST)
        self._context.containers.save(record.with_state(state))

    def _remove_unfinished(self, unfinished: list[str]) -> None:
        for container_id in unfinished:
            self._remove_snapshot(container_id)
            removal.forget_socket(self._context, container_id)
            if self._context.containers.has(container_id):
                self._context.containers.forget(container_id)
            else:
                fs.remove_tree(self._context.layout.container(container_id))

    def _remove_snapshot(self, container_id: str) -> None:
        with _without_room(f"what is left of container {container_id[:12]}"):
            self._context.snapshots.remove_container(container_id)

    def _remove_orphans(self) -> None:
        for container_id in self._context.snapshots.containers():
            if not self._context.containers.has(container_id) and container_id not in self._context.containers.damaged:
                self._remove_snapshot(container_id)
        self._context.volumes.sweep()
        remove_leftovers(self._context.layout)


def _needed_first(records: Sequence[Record]) -> list[Record]:
    """In an order in which what a container is linked to, or shares namespaces with, comes before it."""
    known = {name: record for record in records for name in (record.id, record.name)}
    ordered: dict[str, Record] = {}
    seen: set[str] = set()

    def visit(record: Record) -> None:
        if record.id in seen:
            return
        seen.add(record.id)
        for name in _needs(record):
            if name in known:
                visit(known[name])
        ordered[record.id] = record

    for record in records:
        visit(record)
    return list(ordered.values())


def _needs(record: Record) -> list[str]:
    """Names or IDs of containers that must run before this one."""
    host = documents.host(record)
    modes = (host.network_mode, host.ipc_mode, host.pid_mode)
    shared = [mode.partition(":")[2] for mode in modes if mode.startswith("container:")]
    return [*shared, *(link.partition(":")[0] for link in host.links or ())]


def load(layout: Layout) -> tuple[ContainerStore, list[str]]:
    """The container store and what was cut off. Raises NewerRecordError."""
    store = ContainerStore(layout)
    return store, store.load()
