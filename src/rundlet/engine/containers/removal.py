"""Removing what belongs to a container: a tombstone first, so that a removal that was cut is finished later."""

import contextlib
import os

from rundlet.container.record import Record
from rundlet.container.state import Status
from rundlet.engine.context import Context
from rundlet.errors import ConflictError
from rundlet.volume.store import NoSuchVolumeError


class RunningRemovalError(ConflictError):
    reason = "container-running"

    """``reference`` is what the client calls the container."""

    def __init__(self, reference: str, status: Status) -> None:
        why = f"{status.value}: stop the container before removing or force remove"
        if status is Status.PAUSED:
            why = "paused and must be unpaused first"
        super().__init__(f'cannot remove container "{reference}": container is {why}')


class RemovalInProgressError(ConflictError):
    reason = "removal-in-progress"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"removal of container {container_id} is already in progress")


def discard(context: Context, record: Record, *, volumes: bool) -> list[str]:
    """Runs in a thread. ``volumes``: anonymous ones go too, unless another container uses them; returns their names."""
    context.containers.bury(record.id)
    context.snapshots.remove_container(record.id)
    forget_socket(context, record.id)
    gone: list[str] = []
    if volumes:
        for point in record.mounts:
            if point.kind == "volume" and point.anonymous and not _is_used(context, point.name, record.id):
                try:
                    context.volumes.discard(context.volumes.remove(point.name, lambda _name: []))
                    gone.append(point.name)
                except NoSuchVolumeError:
                    continue
    context.containers.forget(record.id)
    return gone


def forget_socket(context: Context, container_id: str) -> None:
    """A shim removes its own, unless it was killed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(context.layout.shim_socket(container_id))


def _is_used(context: Context, name: str, without: str) -> bool:
    return any(
        record.id != without and any(point.name == name for point in record.mounts) for record in context.containers
    )
