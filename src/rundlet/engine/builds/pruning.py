"""``builder du`` and ``builder prune``: steps' images that no name needs, and cache mounts.

A record is *in use* when an image with a name, a build's result or a container's image stands on it, or what a build is
at work with: that has yet to be named.
"""

import asyncio
from collections.abc import Callable

from rundlet.api.builds import BuildPruned, BuildPruneOptions, CacheUsage
from rundlet.api.filters import Filters
from rundlet.builder.cache import RESULT, BuildCache, CacheRecord
from rundlet.builder.cachemounts import CacheDirectory, CacheMounts
from rundlet.builder.urls import UrlMemory
from rundlet.engine.builds.kept import KeptContext, KeptContexts, free_bytes
from rundlet.engine.context import Context
from rundlet.engine.times import parse_until
from rundlet.errors import RundletError
from rundlet.image.leases import Leases
from rundlet.image.records import Image
from rundlet.image.removal import Remover
from rundlet.oci.digest import Digest
from rundlet.util.clock import rfc3339_nano

_MOUNT = "exec.cachemount"
_CONTEXT = "source.local"


class BuildCacheService:
    """Made by the wiring."""

    def __init__(
        self,
        context: Context,
        cache: BuildCache,
        mounts: CacheMounts,
        contexts: KeptContexts,
        remover: Remover,
        leases: Leases,
        urls: UrlMemory,
    ) -> None:
        self._leases = leases
        self._urls = urls
        self._context = context
        self._cache = cache
        self._mounts = mounts
        self._contexts = contexts
        self._remover = remover

    async def usage(self) -> list[CacheUsage]:
        """Every record: steps, the last used first, cache mounts, contexts."""
        return [item for item, _ in await self._all()]

    async def _all(self) -> list[tuple[CacheUsage, int]]:
        """Every record, and when it was last used (nanoseconds)."""
        records = await asyncio.to_thread(self._cache.records)
        images = {image.id: image for image in self._context.images.images()}
        used = self._in_use(images, records)
        found = [(_step(record, images[record.image], record.image in used), record.used_ns) for record in records]
        found += [(_mount(mount), mount.used_ns) for mount in await asyncio.to_thread(self._mounts.all)]
        return found + [(_context(kept), kept.used_ns) for kept in self._contexts.all()]

    async def prune(self, options: BuildPruneOptions, *, told: bool = True) -> BuildPruned:
        """Remove what is not in use, the longest unused first, until no more is left than ``options`` allow.

        ``everything`` also forgets how what is in use was made. Raises InvalidParameterError.
        """
        filters = options.filters
        until = parse_until(filters.get("until") or filters.get("unused-for"), self._context.clock)
        usage = await self._all()
        total = sum(item.size for item, _ in usage)
        keep = options.kept(total, await asyncio.to_thread(free_bytes, self._context.layout.root))
        records = {str(record.image): record for record in await asyncio.to_thread(self._cache.records)}
        waiting = [
            item
            for item, used_ns in reversed(usage)
            if not item.in_use and _matches(item, filters) and (until is None or used_ns < until)
        ]
        deleted: list[str] = []
        freed = 0
        while waiting and not (keep and total - freed <= keep):
            # A step goes after those that stand on it: those that are left are tried again.
            left = []
            for item in waiting:
                if (keep and total - freed <= keep) or not await self._remove(item):
                    left.append(item)
                    continue
                deleted.append(item.id)
                freed += item.size
            if len(left) == len(waiting):
                break
            waiting = left
        gone: list[Digest] = []
        if options.everything and not filters.values:
            gone = [record.image for record in records.values()]
            await asyncio.to_thread(self._urls.clear)
        await asyncio.to_thread(self._cache.forget, gone)
        if told:
            self._context.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return BuildPruned(caches_deleted=tuple(deleted) or None, space_reclaimed=freed)

    async def _remove(self, item: CacheUsage) -> bool:
        if item.type == _MOUNT:
            return await self._mounts.remove(item.id)
        if item.type == _CONTEXT:
            return await self._contexts.remove(item.id)
        if self._leases.held(Digest("sha256", item.id)):
            return False
        try:
            removals = await self._remover.remove(item.id, prune=False)
        except RundletError:
            return False  # something has come to need it
        for removal in removals:
            if removal.kind == "deleted" and removal.image is not None:
                self._context.events.publish("image", "delete", str(removal.image), {"name": removal.name})
        return True

    def _in_use(self, images: dict[Digest, Image], records: list[CacheRecord]) -> set[Digest]:
        results = {record.image for record in records if record.kind == RESULT}
        ours = {record.image for record in records} - results
        containers = {record.image_id for record in self._context.containers}
        used: set[Digest] = set()
        for image in images.values():
            held = self._leases.held(image.id) or str(image.id) in containers
            if image.id in ours and image.dangling and not held:
                continue
            current: Image | None = image
            while current is not None and current.id not in used:
                used.add(current.id)
                current = images.get(current.parent) if current.parent is not None else None
        return used


def _step(record: CacheRecord, image: Image, used: bool) -> CacheUsage:
    return CacheUsage(
        id=image.id.encoded,
        parents=(image.parent.encoded,) if image.parent is not None else (),
        type="regular",
        description=record.description,
        in_use=used,
        shared=False,
        size=record.size,
        created_at=rfc3339_nano(record.created_ns),
        last_used_at=rfc3339_nano(record.used_ns),
        usage_count=record.uses,
    )


def _mount(mount: CacheDirectory) -> CacheUsage:
    return CacheUsage(
        id=mount.name,
        type=_MOUNT,
        description=f"cached mount {mount.id}",
        in_use=mount.in_use,
        size=mount.size,
        created_at=rfc3339_nano(mount.created_ns),
        last_used_at=rfc3339_nano(mount.used_ns),
        usage_count=1,
    )


def _context(kept: KeptContext) -> CacheUsage:
    return CacheUsage(
        id=kept.id,
        type=_CONTEXT,
        description="local source for context",
        size=kept.size,
        created_at=rfc3339_nano(kept.created_ns),
        last_used_at=rfc3339_nano(kept.used_ns),
        usage_count=kept.uses,
    )


def _matches(item: CacheUsage, filters: Filters) -> bool:
    wanted: dict[str, Callable[[str], bool]] = {
        "id": item.id.startswith,
        "parent": lambda wanted: any(parent.startswith(wanted) for parent in item.parents),
        "type": item.type.__eq__,
        "description": item.description.__contains__,
    }
    if "label" in filters:
        return False  # as `system prune` sends it; a step of a build has none
    states = {"inuse": item.in_use, "shared": item.shared, "private": not item.shared}
    return all(any(map(fits, filters.get(name))) for name, fits in wanted.items() if name in filters) and all(
        filters.boolean(name) is state for name, state in states.items() if name in filters
    )
