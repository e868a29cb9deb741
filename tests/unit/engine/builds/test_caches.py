"""What came only to be looked at as a cache is removed afterwards; what has become somebody's meanwhile is not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rundlet.builder.report import Reporter
from rundlet.engine.builds.caches import CacheImporter
from rundlet.engine.builds.lendings import Lent
from rundlet.engine.context import Context
from rundlet.image import store as image_store
from rundlet.image.garbage import Garbage
from rundlet.image.leases import Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller, PullResult
from rundlet.image.records import NewImage, User
from rundlet.image.removal import Remover
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.content import ContentStore
from rundlet.util.clock import SystemClock
from rundlet.util.database import IN_MEMORY, Database

CACHE = Reference.parse("team/cache:1")


class Registry:
    """Has images under names; what is pulled is known by its manifest's digest."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self.has: dict[str, NewImage] = {}

    async def pull(self, reference: Reference, **_words: Any) -> list[PullResult]:
        image = self.has[reference.familiar]
        await self._store.put(image, [(reference.with_digest(image.manifest.digest), image.manifest)])
        return [PullResult(reference, self._store.get(str(image.id)), image.manifest, True)]


class Nobody:
    """No container uses anything, and nothing is deleted."""

    def users(self, image: Digest) -> Sequence[User]:
        del image
        return []

    async def release(self, chains: Sequence[Digest], blobs: Sequence[Digest]) -> list[Digest]:
        del chains, blobs
        return []


def new_image(text: str) -> NewImage:
    manifest = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"m" + text.encode()), 10)
    return NewImage(Digest.of(text.encode()), manifest, "", 0, Platform.host(), {}, (), (), None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    database = Database.open(IN_MEMORY, [image_store.SCHEMA])
    clock = SystemClock()
    monkeypatch.setattr(ImageStore, "config", lambda _self, _image: ImageConfig(architecture="amd64", os="linux"))
    yield ImageStore(database, ContentStore(str(tmp_path / "content"), clock), clock)
    database.close()


@pytest.fixture
def registry(store: ImageStore) -> Registry:
    registry = Registry(store)
    registry.has = {CACHE.familiar: new_image("cache")}
    return registry


@pytest.fixture
async def importer(store: ImageStore, registry: Registry) -> CacheImporter:
    """One that has found the cache."""
    nobody = Nobody()
    async with Leases().lease() as lease:
        importer = CacheImporter(
            cast(Context, SimpleNamespace(images=store)),
            cast(Puller, registry),
            cast(Loader, None),
            Remover(store, cast(Garbage, nobody), nobody),
            lease,
            cast(Reporter, None),
            Lent(0.0),
            {},
            [Platform.host()],
            remote=True,
        )
        await importer.find([CACHE.familiar])
    return importer


async def test_a_cache_leaves_nothing_behind(store: ImageStore, importer: CacheImporter) -> None:
    assert [source.image.id for source in importer.found] == [image.id for image in store.images()]
    await importer.forget(set())
    assert not store.images()


async def test_what_the_build_came_to_stays_without_the_names_of_the_cache(
    store: ImageStore, importer: CacheImporter
) -> None:
    [image] = store.images()
    assert image.digests
    await importer.forget({image.id})
    assert [each.digests for each in store.images()] == [()]


async def test_an_image_that_got_a_name_meanwhile_stays_with_its_names(
    store: ImageStore, importer: CacheImporter
) -> None:
    [image] = store.images()
    await store.tag(image, Reference.parse("mine:1"))
    await importer.forget(set())
    [after] = store.images()
    assert [name.familiar for name in after.tags] == ["mine:1"]
    assert after.digests == image.digests


async def test_a_name_that_is_another_images_meanwhile_stays(store: ImageStore, importer: CacheImporter) -> None:
    [image] = store.images()
    other = new_image("other")
    # As an index's digest, which is the name of each of its platforms' images.
    await store.put(other, [(image.digests[0], other.manifest)])
    await importer.forget({image.id})
    assert store.get(str(other.id)).digests == image.digests
