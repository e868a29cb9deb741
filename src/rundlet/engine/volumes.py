"""Volumes, as the API's clients see them."""

import asyncio
from collections.abc import Sequence

from rundlet.api.filters import Filters
from rundlet.api.volumes import (
    Volume,
    VolumeCreate,
    VolumeList,
    VolumeListOptions,
    VolumeRemoveOptions,
    VolumesPruned,
    VolumeUsage,
)
from rundlet.engine.context import Context
from rundlet.errors import NotSupportedError
from rundlet.storage.tree import tree_size
from rundlet.util.clock import rfc3339_nano
from rundlet.volume.store import NoSuchVolumeError
from rundlet.volume.store import Volume as StoredVolume

Names = list[str]


class VolumeService:
    """Implements the volumes router's backend."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, options: VolumeListOptions) -> VolumeList:
        return VolumeList(volumes=tuple(self._wire(volume) for volume in self._selected(options.filters)))

    def with_usage(self) -> Sequence[Volume]:
        """The volumes that take room here with their sizes, as Docker lists them: not what is mounted from elsewhere.

        Walks every file, so call it in a thread.
        """
        return [self._wire(volume, usage=True) for volume in self._context.volumes.all() if not volume.options]

    async def inspect(self, name: str) -> Volume:
        return self._wire(self._context.volumes.get(name))

    async def create(self, body: VolumeCreate) -> Volume:
        if body.cluster_volume_spec:
            raise NotSupportedError("ClusterVolumeSpec")
        known = {volume.name for volume in self._context.volumes.all()}
        volume = await asyncio.to_thread(
            self._context.volumes.create,
            body.name,
            driver=body.driver or "local",
            labels=body.labels,
            options=body.driver_opts,
            anonymous=not body.name,
        )
        if volume.name not in known:
            self._context.events.publish("volume", "create", volume.name, {"driver": volume.driver})
        return self._wire(volume)

    async def remove(self, name: str, options: VolumeRemoveOptions) -> None:
        try:
            volume = self._context.volumes.remove(name, lambda found: [*self._users(found)])
        except NoSuchVolumeError:
            if options.force:
                return
            raise
        await asyncio.to_thread(self._context.volumes.discard, volume)
        self._context.events.publish("volume", "destroy", name, {"driver": volume.driver})

    async def prune(self, filters: Filters) -> VolumesPruned:
        """Anonymous volumes that nobody uses; with ``all=true`` the named ones too."""
        everything = filters.boolean("all") or False
        deleted: Names = []
        freed = 0
        for volume in self._context.volumes.all():
            excluded = filters.get("label!") and filters.labels(volume.labels, "label!")
            if self._users(volume.name) or not (volume.anonymous or everything):
                continue
            if excluded or not filters.labels(volume.labels):
                continue
            freed += 0 if volume.options else max(await asyncio.to_thread(_size, volume.path), 0)
            await self.remove(volume.name, VolumeRemoveOptions())
            deleted.append(volume.name)
        self._context.events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return VolumesPruned(volumes_deleted=tuple(deleted), space_reclaimed=freed)

    def _selected(self, filters: Filters) -> Sequence[StoredVolume]:
        dangling = filters.boolean("dangling")
        return [
            volume
            for volume in self._context.volumes.all()
            if filters.exact("driver", volume.driver)
            and filters.labels(volume.labels)
            and filters.matches("name", volume.name)
            and (dangling is None or dangling is not bool(self._users(volume.name)))
        ]

    def _users(self, name: str) -> Sequence[str]:
        return [record.id for record in self._context.containers if any(point.name == name for point in record.mounts)]

    def _wire(self, volume: StoredVolume, *, usage: bool = False) -> Volume:
        return Volume(
            created_at=rfc3339_nano(volume.created_ns // 10**9 * 10**9),
            driver=volume.driver,
            labels=volume.labels or None,
            mountpoint=volume.path,
            name=volume.name,
            options=volume.options or None,
            usage_data=VolumeUsage(ref_count=len(self._users(volume.name)), size=_size(volume.path)) if usage else None,
        )


def _size(path: str) -> int:
    """Bytes of the files in a volume; -1, as Docker says it, where nobody can tell (a share that is away)."""
    try:
        return tree_size(path)
    except OSError:
        return -1
