"""``builder prune`` beside a build."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rundlet.api.builds import BuildPruneOptions
from rundlet.builder import cache as build_cache
from rundlet.builder.cache import BuildCache
from rundlet.engine.builds.pruning import BuildCacheService
from rundlet.image import store as image_store
from rundlet.image.garbage import Garbage
from rundlet.image.leases import Leases
from rundlet.image.records import NewImage, User
from rundlet.image.removal import Remover
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.storage.content import ContentStore
from rundlet.util.clock import SystemClock
from rundlet.util.database import IN_MEMORY, Database


class Nobody:
    """No container uses anything, and nothing is deleted."""

    def users(self, image: Digest) -> Sequence[User]:
        del image
        return []

    async def release(self, chains: Sequence[Digest], blobs: Sequence[Digest]) -> list[Digest]:
        del chains, blobs
        return []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    database = Database.open(IN_MEMORY, [image_store.SCHEMA, build_cache.SCHEMA])
    clock = SystemClock()
    yield ImageStore(database, ContentStore(str(tmp_path / "content"), clock), clock)
    database.close()


async def step(store: ImageStore, cache: BuildCache, text: str, parent: Digest | None = None) -> Digest:
    manifest = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"m" + text.encode()), 10)
    image = NewImage(Digest.of(text.encode()), manifest, "", 0, Platform.host(), {}, (), (), parent)
    stored = (await store.put(image, [])).image
    cache.put([text], stored, kind="regular", description=text, size=1)
    return stored.id


async def test_what_a_build_is_at_work_with_stays(store: ImageStore, tmp_path: Path) -> None:
    clock, leases, nobody = SystemClock(), Leases(), Nobody()
    cache = BuildCache(store.database, store, clock)
    nothing: Any = SimpleNamespace(all=list, clear=lambda: None)
    told: Any = SimpleNamespace(publish=lambda *_arguments: None)
    context: Any = SimpleNamespace(
        images=store, containers=[], events=told, clock=clock, layout=SimpleNamespace(root=str(tmp_path))
    )
    remover = Remover(store, cast(Garbage, nobody), nobody)
    service = BuildCacheService(context, cache, nothing, nothing, remover, leases, nothing)
    before = await step(store, cache, "before")
    now = await step(store, cache, "now", before)
    await step(store, cache, "other")
    async with leases.lease() as lease:
        await lease.hold(now)
        await service.prune(BuildPruneOptions(everything=True))
        assert {image.id for image in store.images()} == {before, now}
    await step(store, cache, "before")
    await step(store, cache, "now", before)
    await service.prune(BuildPruneOptions())
    assert not store.images()
