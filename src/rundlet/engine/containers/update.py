"""``update``: new limits for a container, at once where it runs."""

import asyncio
import contextlib

import msgspec

from rundlet.api.container_config import HostConfig, Resources
from rundlet.api.containers import ContainerUpdate, ContainerUpdated
from rundlet.container.record import Record
from rundlet.container.state import Status, is_running
from rundlet.engine import refusals, resources
from rundlet.engine.containers import documents, groups
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.bundle import limits
from rundlet.engine.context import Context
from rundlet.errors import ConflictError, NotSupportedError
from rundlet.runtime import spec
from rundlet.runtime.shimclient import ShimClient, ShimGoneError

_FIELDS = (
    "cpu_shares",
    "memory",
    "memory_swap",
    "memory_reservation",
    "nano_cpus",
    "cpu_period",
    "cpu_quota",
    "cpuset_cpus",
    "cpuset_mems",
    "pids_limit",
    "cpu_realtime_period",
    "cpu_realtime_runtime",
    "blkio_weight",
    "blkio_weight_device",
    "blkio_device_read_bps",
    "blkio_device_write_bps",
    "blkio_device_read_iops",
    "blkio_device_write_iops",
    "oom_kill_disable",
)
_FIXED = (
    ("cgroup_parent", "CgroupParent"),
    ("devices", "Devices"),
    ("device_cgroup_rules", "DeviceCgroupRules"),
    ("device_requests", "DeviceRequests"),
    ("init", "Init"),
    ("ulimits", "Ulimits"),
)
"""What a container keeps for life; clients that send back what they have read are not told so."""


class CannotUpdateError(ConflictError):
    reason = "cannot-update"

    def __init__(self, container_id: str, error: ConflictError) -> None:
        super().__init__(f"Cannot update container {container_id}: {error}")


class Updater:
    """Changes a container's HostConfig and its cgroup together."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def update(self, ref: str, body: ContainerUpdate) -> ContainerUpdated:
        """Zero values leave a limit as it is. Raises InvalidParameterError, ConflictError, NotSupportedError,
        ShimRequestError.
        """
        record = self._context.containers.find(ref)
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._context.containers.by_id(record.id)
            if record.state.status in (Status.REMOVING, Status.DEAD):
                raise ConflictError(
                    f"Cannot update container {record.id}: container is marked for removal and cannot be update"
                )
            _check_fixed(documents.host(record), body)
            try:
                host = self._merged(documents.host(record), body)
            except ConflictError as error:
                raise CannotUpdateError(record.id, error) from error
            refusals.check_resources(host)
            impossible, discarded = resources.adapted(host)
            host = msgspec.structs.replace(host, **impossible)
            warnings = tuple(discarded)
            if is_running(record.state.status) and live.shim is not None:
                # When it has just ended, the limits are those of its next start, as for one that doesn't run.
                with contextlib.suppress(ShimGoneError):
                    warnings += await self._apply(record, live.shim, body, host)
            updated = msgspec.structs.replace(record, host_config=documents.encode(host))
            self._context.containers.save(updated, durable=True)
        self._context.events.publish("container", "update", record.id, event_attributes(record))
        return ContainerUpdated(warnings=warnings or None)

    async def _apply(
        self, record: Record, shim: ShimClient, body: ContainerUpdate, host: HostConfig
    ) -> tuple[str, ...]:
        """To what runs; returns warnings. Raises ShimGoneError, ShimRequestError."""
        changed = limits(self._changes(body, host))
        wanted = spec.resources(changed)
        warnings = tuple(await shim.update(wanted, changed.controllers()))
        await asyncio.to_thread(groups.tell_systemd, record, self._context, wanted)
        if body.restart_policy.name:
            policy = host.restart_policy
            await shim.set_restart(policy.name, policy.maximum_retry_count)
        return warnings

    def _merged(self, host: HostConfig, body: ContainerUpdate) -> HostConfig:
        given = {name: value for name in _FIELDS if (value := getattr(body, name))}
        if body.pids_limit is not None:
            given["pids_limit"] = max(body.pids_limit, 0)  # no limit, as inspect shows it
        if body.memory_swappiness is not None:
            given["memory_swappiness"] = body.memory_swappiness
        if not body.memory_swap and 0 < host.memory_swap < body.memory:
            raise ConflictError(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same "
                "time"
            )
        if body.restart_policy.name:
            if host.auto_remove and body.restart_policy.name != "no":
                raise ConflictError("Restart policy cannot be updated because AutoRemove is enabled for the container")
            refusals.check_restart(body.restart_policy, auto_remove=False)
            given["restart_policy"] = body.restart_policy
        if body.restart_unhealthy is not None:
            given["restart_unhealthy"] = body.restart_unhealthy
        _check_speed(host, body)
        # Swap alone is measured against the memory that the container has.
        refusals.check_resources(msgspec.structs.replace(body, memory=body.memory or host.memory))
        return msgspec.structs.replace(host, **given)

    def _changes(self, body: ContainerUpdate, host: HostConfig) -> Resources:
        """Only what was asked for; memory and swap go together, the kernel wants them in the right order."""
        given = {name: getattr(host, name) for name in _FIELDS if getattr(body, name)}
        if body.pids_limit is not None:
            given["pids_limit"] = host.pids_limit or -1  # zero would leave it as it is
        if body.memory_swappiness is not None:
            given["memory_swappiness"] = host.memory_swappiness
        if "memory" in given or "memory_swap" in given:
            given["memory"], given["memory_swap"] = host.memory, host.memory_swap
        return Resources(**given)


def _check_speed(host: HostConfig, body: ContainerUpdate) -> None:
    """A share of processors is said in one way for life. Raises ConflictError with Docker's words."""
    what = (("CPU Period", body.cpu_period, host.cpu_period), ("CPU Quota", body.cpu_quota, host.cpu_quota))
    for name, wanted, has in what:
        if body.nano_cpus > 0 and has > 0:
            raise ConflictError(f"Conflicting options: Nano CPUs cannot be updated as {name} has already been set")
        if wanted > 0 and host.nano_cpus > 0:
            raise ConflictError(f"Conflicting options: {name} cannot be updated as NanoCPUs has already been set")


def _check_fixed(host: HostConfig, body: ContainerUpdate) -> None:
    for name, wire in _FIXED:
        wanted = getattr(body, name)
        if wanted not in (None, "", (), getattr(host, name)):
            raise NotSupportedError(f"{wire} of an update")
