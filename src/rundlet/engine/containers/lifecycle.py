"""The life of a container: start, stop, kill, pause, its exit, its removal.

Rules. A container's ``Live.lock`` is held while its state changes, never while waiting for its process to end. An exit
is handled once, whoever hears of it first: the shim's event, the end of the shim's connection, or recovery. What the
kernel holds for a run (endpoint, ports, shim) is given back at the exit; what belongs to the container (snapshot,
volumes, record) at its removal.
"""

import asyncio
import logging
from typing import Any

import msgspec

from rundlet.api.containers import RemoveOptions, StopOptions
from rundlet.container.errors import AlreadyStartedError, AlreadyStoppedError, NotRunningError
from rundlet.container.record import Record, State
from rundlet.container.state import Status, check, is_running
from rundlet.engine.containers import documents, ends, groups, leftovers, processes, removal, signals
from rundlet.engine.containers.attributes import event_attributes, joined_networks, publish_end, publish_start
from rundlet.engine.containers.health import HealthMonitor
from rundlet.engine.containers.live import Live
from rundlet.engine.containers.regain import regain
from rundlet.engine.containers.removal import RemovalInProgressError, RunningRemovalError
from rundlet.engine.containers.startup import Starter
from rundlet.engine.context import Context
from rundlet.errors import ConflictError, InternalError, NoSuchContainerError, NotFoundError, RundletError
from rundlet.runtime import state as runtime_state
from rundlet.runtime.shimclient import ShimClient, ShimGoneError
from rundlet.util import fs
from rundlet.util.tasks import TaskGroup

_log = logging.getLogger(__name__)
DEFAULT_STOP_SECONDS = 10
KILL_GRACE = 10.0
_REMOVAL_TRIES = 5
_UNSEEN = 137
"""The exit code when a shim was killed: Docker's word for "unknown" is that of SIGKILL."""


class Lifecycle:
    """State changes of all containers."""

    def __init__(self, context: Context, starter: Starter, health: HealthMonitor, tasks: TaskGroup) -> None:
        self._context = context
        self._starter = starter
        self._health = health
        self._tasks = tasks
        health.on_unhealthy = self._unhealthy

    # -- start ------------------------------------------------------------------------------------------------------

    async def start(self, reference: str) -> None:
        """Raises AlreadyStartedError (304), ConflictError, and the starter's errors after undoing what it did."""
        record = self._context.containers.find(reference)
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._context.containers.by_id(record.id)
            status = record.state.status
            if status is Status.PAUSED:
                raise ConflictError("cannot start a paused container, try unpause instead")
            if is_running(status):
                raise AlreadyStartedError
            if status in (Status.REMOVING, Status.DEAD):
                raise ConflictError("container is marked for removal and cannot be started")
            try:
                failure = await self._start(record, live)
            finally:
                live.end_start()
        if failure is not None:
            # After the lock, before the answer: who hears of the failure finds no container of `run --rm` any more.
            if documents.host(record).auto_remove:
                await self._auto_remove(record.id)
            raise failure

    async def _start(self, record: Record, live: Live) -> Exception | None:
        """Start and record it; a start that failed is undone, recorded and returned."""
        try:
            started = await self._starter.start(record, live)
        except Exception as error:
            live.drop_pending()
            failed = msgspec.structs.replace(
                record.state,
                exit_code=getattr(error, "exit_code", 128),
                error=str(error),
                manually_stopped=False,
                start_again=False,
            )
            self._context.containers.save(record.with_state(failed))
            live.settle_exit(failed.exit_code)
            return error
        # The record may have been replaced (renamed) while the shim started.
        record = self._context.containers.by_id(record.id)
        check(record.state.status, Status.RUNNING)
        self._context.containers.save(record.with_state(started.state))
        live.shim = started.shim
        publish_start(self._context, record)
        self._publish(record, "start")
        self._health.begin(record, live)
        self._tasks.spawn(self._watch(record.id, started.shim), name=f"shim {record.id[:12]}")
        return None

    def adopt(self, record: Record, shim: ShimClient, state: State) -> None:
        """Take over a running container whose shim an earlier engine started."""
        self._context.containers.save(record.with_state(state))
        live = self._context.live.of(record.id)
        live.shim = shim
        self._health.begin(record, live)
        self._tasks.spawn(self._watch(record.id, shim), name=f"shim {record.id[:12]}")

    # -- exit -------------------------------------------------------------------------------------------------------

    async def _watch(self, container_id: str, shim: ShimClient) -> None:
        """Follow one container's shim until its last exit."""
        current: ShimClient | None = shim
        while current is not None and not await self._follow(container_id, current):
            current = await self._regain(container_id, current)
        await self.handle_exit(container_id)

    async def _follow(self, container_id: str, shim: ShimClient) -> bool:
        """Whether it told of the last exit before the connection ended."""
        async for event in shim.events():
            match event["event"]:
                case "oom":
                    self._publish(self._context.containers.by_id(container_id), "oom")
                case "logger_gone":
                    self.replace_logger(container_id, shim)
                case "exec_exited":
                    self._starter.execs.ended(event["exec_id"], event["code"])
                case "restarting":
                    await self._restarting(container_id, event)
                case "started":
                    await self._restarted(container_id, event)
                case "exited":
                    return True
        return False

    async def _regain(self, container_id: str, lost: ShimClient) -> ShimClient | None:
        """The connection ended without a word: another one, unless the shim ended with it."""
        live = self._context.live.of(container_id)
        async with live.lock:
            if live.shim is not lost or not self._context.containers.has(container_id):
                return None
            record = self._context.containers.by_id(container_id)
            found = await regain(self._context.layout, record) if is_running(record.state.status) else None
            if found is None:
                return None
            self._context.containers.save(record.with_state(found.state))
            live.shim = found.shim
            lost.close()
        if found.execs is not None:
            self._starter.execs.drop(container_id, keep=found.execs)
        return found.shim

    def replace_logger(self, container_id: str, shim: ShimClient) -> None:
        """In the background."""
        record = self._context.containers.by_id(container_id)
        self._tasks.spawn(self._starter.restart_logger(record, shim), name=f"logger {container_id[:12]}")

    async def _restarting(self, container_id: str, event: dict[str, Any]) -> None:
        """One run has ended, the shim will begin another. Who waits for an exit has seen one."""
        live = self._context.live.of(container_id)
        async with live.lock:
            record = self._context.containers.by_id(container_id)
            self._health.end(live)
            self._starter.execs.drop(container_id)
            check(record.state.status, Status.RESTARTING)
            state = msgspec.structs.replace(
                record.state,
                status=Status.RESTARTING,
                pid=0,
                exit_code=event["code"],
                oom_killed=event["oom"],
                finished_ns=event["finished_at_ns"],
                restart_count=event["restart_count"],
            )
            self._context.containers.save(record.with_state(state))
        self._publish(record, "die", **ends.event_attributes(state))
        live.settle_exit(event["code"])

    async def _restarted(self, container_id: str, event: dict[str, Any]) -> None:
        live = self._context.live.of(container_id)
        async with live.lock:
            record = self._context.containers.by_id(container_id)
            check(record.state.status, Status.RUNNING)
            state = msgspec.structs.replace(
                record.state, status=Status.RUNNING, pid=event["pid"], started_ns=event["started_at_ns"], exit_code=0
            )
            self._context.containers.save(record.with_state(state))
            self._health.begin(record, live)
        self._publish(record, "start")

    async def handle_exit(self, container_id: str) -> None:
        """Take the exit record over into the container's record, once; give back what the run held."""
        live = self._context.live.of(container_id)
        async with live.lock:
            if not self._context.containers.has(container_id):
                return
            record = self._context.containers.by_id(container_id)
            if not is_running(record.state.status):
                return
            if live.shim is not None:
                live.shim.close()
                live.shim = None
            self._health.end(live)
            self._starter.execs.drop(container_id)
            state = self._exit_state(record)
            if record.state.status is Status.PAUSED:
                check(Status.PAUSED, Status.EXITED)
            record = record.with_state(state)
            self._context.containers.save(record)
            joined = joined_networks(self._context, record)
            self._give_back(container_id)
            if self._context.mounted.uses(container_id):
                await asyncio.to_thread(self._context.mounted.release, container_id)
        self._publish(record, "die", **ends.event_attributes(state))
        publish_end(self._context, record, joined)
        live.settle_exit(state.exit_code)
        if documents.host(record).auto_remove and not (live.kept or state.start_again):
            await self._auto_remove(container_id)

    def _give_back(self, container_id: str) -> None:
        """The endpoint and its ports. What fails here (a full disk) is done again by the housekeeping."""
        try:
            self._context.network.release(container_id)
        except RundletError as error:
            _log.warning("network of container %s: %s", container_id[:12], error)

    def give_back_leftovers(self) -> None:
        """Endpoints of containers that do not run and are not just starting: what :meth:`_give_back` could not do."""
        try:
            self._context.network.recover(self._in_use())
        except RundletError as error:
            _log.warning("network: %s", error)

    def _in_use(self) -> set[str]:
        """Containers that run, or that something is being done to."""
        return {
            record.id
            for record in self._context.containers
            if is_running(record.state.status) or self._context.live.of(record.id).lock.locked()
        }

    def _exit_state(self, record: Record) -> State:
        found = runtime_state.read_exit(f"{self._context.layout.container(record.id)}/exit")
        if found is None:
            self._sweep_cgroup(record)  # the shim itself was killed
        return ends.state_after(record, found, self._context.clock.now_ns(), unseen=_UNSEEN)

    def _sweep_cgroup(self, record: Record) -> None:
        """What a killed shim could not remove."""
        groups.clear(record, self._context)

    def sweep_cgroups(self) -> None:
        """The groups of all that does not run."""
        in_use = self._in_use()
        leftovers.sweep(self._context.layout.instance, in_use)
        for record in self._context.containers:
            if record.id not in in_use:
                groups.clear(record, self._context)

    async def _auto_remove(self, container_id: str) -> None:
        try:
            await self.remove(container_id, RemoveOptions(force=True, volumes=True))
        except NoSuchContainerError:
            return
        except RemovalInProgressError:
            return

    # -- signals ----------------------------------------------------------------------------------------------------

    async def kill(self, reference: str, signal: str) -> None:
        """Raises NotRunningError (409), InvalidSignalError (400)."""
        try:
            number = signals.parse(signal or "KILL")
            record, shim = self._running(reference, "cannot kill container")
        except NoSuchContainerError as error:
            raise NotFoundError(f"cannot kill container: {reference}: {error}") from error
        except signals.InvalidSignalError as error:
            error.message = f"cannot kill container: {reference}: {error.message}"
            raise
        config = documents.config(record)
        final = number == signals.parse("KILL")
        ended = self._context.live.of(record.id).next_exit() if final else None
        try:
            if final or number == signals.parse(config.stop_signal or "TERM"):
                await self._mark_stopped(record, shim)
            if record.state.status is Status.PAUSED and final:
                await shim.thaw()
            if record.state.status is not Status.RESTARTING:  # else nothing runs at the moment, and nothing will
                await shim.signal(number)
        except ShimGoneError:
            if ended is None:
                raise NotRunningError(record.id) from None
        self._publish(record, "kill", signal=str(number))
        if ended is not None:
            # As Docker: who kills for good may remove, or look at the state, with the next request.
            done, _ = await asyncio.wait([ended], timeout=KILL_GRACE)
            if not done:
                raise InternalError(f"tried to kill container, but did not receive an exit event: {record.id}")

    async def stop(self, reference: str, options: StopOptions) -> None:
        """Signal, wait, kill. Raises AlreadyStoppedError (304) when it does not run."""
        record = self._context.containers.find(reference)
        if not is_running(record.state.status):
            raise AlreadyStoppedError
        try:
            await self._stop(record, options)
        except signals.InvalidSignalError as error:
            error.message = f"cannot stop container: {reference}: {error.message}"
            raise
        self._publish(record, "stop")

    async def _stop(self, record: Record, options: StopOptions) -> None:
        config = documents.config(record)
        number = signals.parse(options.signal or config.stop_signal or "TERM")
        seconds = options.timeout if options.timeout is not None else config.stop_timeout
        if seconds is None:
            seconds = DEFAULT_STOP_SECONDS
        live = self._context.live.of(record.id)
        shim = live.shim
        if shim is None:
            raise NotRunningError(record.id)
        ended = live.next_exit()
        try:
            await self._mark_stopped(record, shim)
            if record.state.status is Status.RESTARTING:
                # The shim ends with the policy: nothing runs that could be signalled.
                await asyncio.wait([ended], timeout=KILL_GRACE)
                return
            if record.state.status is Status.PAUSED:
                await shim.thaw()
            await shim.signal(number)
            self._publish(record, "kill", signal=str(number))
            done, _ = await asyncio.wait([ended], timeout=None if seconds < 0 else seconds)
            if not done:
                await shim.signal(signals.parse("KILL"))
                self._publish(record, "kill", signal="9")
                done, _ = await asyncio.wait([ended], timeout=KILL_GRACE)
        except ShimGoneError:
            done, _ = await asyncio.wait([ended], timeout=KILL_GRACE)
        if not done:
            raise InternalError(f"tried to kill container, but did not receive an exit event: {record.id}")

    async def restart(self, reference: str, options: StopOptions) -> None:
        record = self._context.containers.find(reference)
        live = self._context.live.of(record.id)
        live.kept = True  # a container of `run --rm` is not removed for an end that is none
        try:
            if is_running(record.state.status):
                self._mark_restart(record, under_way=True)
                await self._stop(record, options)
        except RundletError:
            self._mark_restart(record, under_way=False)
            raise
        finally:
            live.kept = False
        await self.start(record.id)
        self._publish(record, "restart")

    def _mark_restart(self, record: Record, *, under_way: bool) -> None:
        """Killed between stop and start the engine leaves the mark, and the next one sees the restart through."""
        if self._context.containers.has(record.id):
            current = self._context.containers.by_id(record.id)
            state = msgspec.structs.replace(current.state, start_again=under_way)
            self._context.containers.save(current.with_state(state))

    def _unhealthy(self, container_id: str) -> None:
        """Not in the prober's task: that ends with the container."""
        self._tasks.spawn(self._restart_unhealthy(container_id), name=f"unhealthy {container_id[:12]}")

    async def _restart_unhealthy(self, container_id: str) -> None:
        """``--restart-unhealthy``; counted like the restarts of a policy."""
        try:
            await self.restart(container_id, StopOptions())
            record = self._context.containers.by_id(container_id)
            state = msgspec.structs.replace(record.state, restart_count=record.state.restart_count + 1)
            self._context.containers.save(record.with_state(state))
        except RundletError as error:
            _log.warning("container %s is unhealthy and could not be restarted: %s", container_id[:12], error)

    async def _mark_stopped(self, record: Record, shim: ShimClient) -> None:
        """A stop by hand: restart policies leave the container alone from now on."""
        if documents.host(record).restart_policy.name not in ("", "no"):
            await shim.set_restart("no")
        current = self._context.containers.by_id(record.id)
        if not current.state.manually_stopped:
            self._context.containers.save(
                current.with_state(msgspec.structs.replace(current.state, manually_stopped=True))
            )

    def _running(self, reference: str, what: str) -> tuple[Record, ShimClient]:
        record = self._context.containers.find(reference)
        shim = self._context.live.of(record.id).shim
        if not is_running(record.state.status) or shim is None:
            raise ConflictError(f"{what}: {reference}: container {record.id} is not running")
        return record, shim

    # -- pause ------------------------------------------------------------------------------------------------------

    async def pause(self, reference: str, *, briefly: bool = False) -> None:
        """``briefly``: for a moment of our own, which must not outlive this engine."""
        record = self._context.containers.find(reference)
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._context.containers.by_id(record.id)
            if record.state.status is Status.PAUSED:
                raise ConflictError(f"Container {record.id} is already paused")
            if record.state.status is not Status.RUNNING or live.shim is None:
                raise NotRunningError(record.id)
            processes.check_freezer(record, self._context)
            try:
                await live.shim.freeze()
            except ShimGoneError:
                raise NotRunningError(record.id) from None  # it ended just now
            self._to(record, Status.PAUSED, briefly=briefly)
        self._publish(record, "pause")

    async def unpause(self, reference: str) -> None:
        record = self._context.containers.find(reference)
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._context.containers.by_id(record.id)
            if record.state.status is not Status.PAUSED or live.shim is None:
                raise ConflictError(f"Container {record.id} is not paused")
            try:
                await live.shim.thaw()
            except ShimGoneError:
                raise NotRunningError(record.id) from None
            self._to(record, Status.RUNNING)
        self._publish(record, "unpause")

    def _to(self, record: Record, status: Status, *, briefly: bool = False) -> None:
        check(record.state.status, status)
        state = msgspec.structs.replace(record.state, status=status, paused_briefly=briefly)
        self._context.containers.save(record.with_state(state))

    # -- removal ----------------------------------------------------------------------------------------------------

    async def remove(self, reference: str, options: RemoveOptions) -> None:
        """Raises RunningRemovalError without ``force``, RemovalInProgressError."""
        record = self._context.containers.find(reference)
        live = self._context.live.of(record.id)
        for _ in range(_REMOVAL_TRIES):  # a restart under way may have begun another run in between
            if live.removing:
                raise RemovalInProgressError(record.id)
            if is_running(record.state.status):
                if not options.force:
                    raise RunningRemovalError(reference, record.state.status)
                live.kept = True  # it is being removed already
                try:
                    await self._kill_for_removal(record, live)
                finally:
                    live.kept = False
            async with live.lock:
                if live.removing or not self._context.containers.has(record.id):
                    raise RemovalInProgressError(record.id)
                record = self._context.containers.by_id(record.id)
                if not is_running(record.state.status):
                    return await self._remove_stopped(record, live, volumes=options.volumes)
        raise RunningRemovalError(reference, record.state.status)

    async def _remove_stopped(self, record: Record, live: Live, *, volumes: bool) -> None:
        """Under the container's lock."""
        live.removing = True
        self._context.containers.save(record.with_state(msgspec.structs.replace(record.state, status=Status.REMOVING)))
        await live.end_writers(0)
        try:
            gone = await asyncio.shield(asyncio.to_thread(removal.discard, self._context, record, volumes=volumes))
        except (OSError, RundletError) as error:
            live.removing = False
            dead = msgspec.structs.replace(record.state, status=Status.DEAD, error=str(error))
            if self._context.containers.has(record.id):
                self._context.containers.save(record.with_state(dead))
            why = fs.failure(error) if isinstance(error, OSError) else error
            failure = InternalError(f"cannot remove container {record.id}: {why}")
            live.fail_removal(failure)
            raise failure from error
        self._context.live.forget(record.id, record.state.exit_code)
        for name in gone:
            self._context.events.publish("volume", "destroy", name, {"driver": "local"})
        self._publish(record, "destroy")

    async def _kill_for_removal(self, record: Record, live: Live) -> None:
        ended = live.next_exit()
        if live.shim is not None:
            try:
                await self._mark_stopped(record, live.shim)
                if record.state.status is Status.PAUSED:
                    await live.shim.thaw()
                await live.shim.signal(signals.parse("KILL"))
                self._publish(record, "kill", signal="9")
            except ShimGoneError:
                pass
        done, _ = await asyncio.wait([ended], timeout=KILL_GRACE)
        if not done:
            raise InternalError(f"could not kill container {record.id}: no exit event received")

    def _publish(self, record: Record, action: str, **attributes: str) -> None:
        self._context.events.publish("container", action, record.id, {**event_attributes(record), **attributes})
