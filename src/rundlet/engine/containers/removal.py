"""Removing what belongs to a container: a tombstone first, so that a removal that was cut is finished later."""

from rundlet.container.record import Record
from rundlet.engine.context import Context
from rundlet.volume.store import NoSuchVolumeError


def discard(context: Context, record: Record, *, volumes: bool) -> list[str]:
    """Runs in a thread. ``volumes``: anonymous ones go too, unless another container uses them; returns their names."""
    context.containers.bury(record.id)
    context.snapshots.remove_container(record.id)
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


def _is_used(context: Context, name: str, without: str) -> bool:
    return any(
        record.id != without and any(point.name == name for point in record.mounts) for record in context.containers
    )
