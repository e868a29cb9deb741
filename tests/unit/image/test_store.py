"""Names, prefixes and rows, over a database in memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from rundlet.errors import NoSuchImageError
from rundlet.image import store as image_store
from rundlet.image.errors import TagToDigestError
from rundlet.image.records import Layer, NewImage
from rundlet.image.removal import is_single
from rundlet.image.store import ImageStore
from rundlet.image.times import created_ns
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.content import ContentStore
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    database = Database.open(":memory:", [image_store.SCHEMA])
    clock = SystemClock()
    yield ImageStore(database, ContentStore(str(tmp_path / "content"), clock), clock)
    database.close()


def new_image(image_id: str, *, parent: Digest | None = None) -> NewImage:
    layer = Digest.of(image_id.encode())
    digest = Digest("sha256", image_id.ljust(64, "0"))
    return NewImage(
        id=digest,
        manifest=Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"m" + image_id.encode()), 10),
        created="2026-01-01T00:00:00Z",
        created_ns=created_ns("2026-01-01T00:00:00Z"),
        platform=Platform("amd64", "linux"),
        labels={"a": "b"},
        layers=(Layer(layer, layer, 100, Descriptor(mediatype.OCI_LAYER_GZIP, layer, 50)),),
        blobs=(digest,),
        parent=parent,
    )


async def test_short_ids(store: ImageStore) -> None:
    await store.put(new_image("abc1"))
    await store.put(new_image("abc2"))
    assert store.get("abc1").id.encoded.startswith("abc1")
    assert store.get("sha256:abc2").id.encoded.startswith("abc2")
    with pytest.raises(NoSuchImageError, match="No such image: abc:latest"):
        store.get("abc")


async def test_a_name_wins_over_a_short_id(store: ImageStore) -> None:
    await store.put(new_image("abc1"))
    second = new_image("def1")
    await store.put(second, [(Reference.parse("abc1").with_default_tag(), second.manifest)])
    assert store.get("abc1").id == second.id
    assert store.get("abc1:latest").id == second.id


async def test_tags_move(store: ImageStore) -> None:
    first, second = new_image("a1"), new_image("b1")
    name = Reference.parse("app:1")
    assert (await store.put(first, [(name, first.manifest)])).previous is None
    assert (await store.put(second, [(name, second.manifest)])).previous == first.id
    assert (await store.put(second, [(name, second.manifest)])).previous is None
    found = store.get("app:1")
    assert (found.id, found.repo_tags, found.tagged_ns > 0) == (second.id, ["app:1"], True)
    old = store.find(first.id)
    assert old is not None
    assert old.dangling
    with pytest.raises(TagToDigestError):
        await store.tag(found, name.with_digest(first.id))


async def test_a_name_that_an_image_has_already_waits_for_no_disk(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = new_image("a1"), new_image("b1")
    name = Reference.parse("app:1")
    for image in (first, second):
        await store.put(image)
    found, other = store.get("a1"), store.get("b1")
    waited: list[bool] = []
    transaction = Database.transaction

    def watched(
        database: Database, *, durable: bool = True, freeing: bool = False
    ) -> AbstractContextManager[sqlite3.Cursor]:
        waited.append(durable)
        return transaction(database, durable=durable, freeing=freeing)

    monkeypatch.setattr(Database, "transaction", watched)
    index = Descriptor(mediatype.OCI_INDEX, Digest.of(b"index"), 10)
    assert await store.tag(found, name) is None
    assert await store.tag(found, name) is None
    assert await store.tag(found, name, first.manifest) is None
    assert await store.tag(found, name, index) is None
    assert await store.tag(other, name) == first.id
    assert waited == [True, False, False, True, True]
    assert store.get("app:1").id == second.id


async def test_rows(store: ImageStore) -> None:
    parent = new_image("a1")
    await store.put(parent)
    await store.put(new_image("b1", parent=parent.id))
    image = store.get("b1")
    assert (image.size, image.labels, image.parent, image.platform) == (
        100,
        {"a": "b"},
        parent.id,
        Platform("amd64", "linux"),
    )
    assert store.children(parent.id) == [image.id]
    assert store.layers(image.id)[0].blob.size == 50
    assert set(store.blobs(image.id)) == {image.id, image.manifest.digest, store.layers(image.id)[0].blob.digest}
    await store.forget(image.id)
    assert store.find(image.id) is None
    assert store.database.query("SELECT count(*) FROM image_layers WHERE image = ?", (str(image.id),)) == [(0,)]


async def test_a_thousand_images_are_listed_quickly(store: ImageStore) -> None:
    for number in range(1000):
        image = new_image(f"{number:08x}")
        store.put_now(image, [(Reference.parse(f"app{number}:1"), image.manifest)])
    images = store.images()
    assert len(images) == 1000
    assert all(len(image.tags) == 1 for image in images)


async def test_a_name_without_a_target_means_the_images_own_manifest(store: ImageStore) -> None:
    """Which is the one that the image has already, when it comes again with another."""
    first, again = Reference.parse("app:1"), Reference.parse("app:2")
    image = new_image("a1")
    stored = (await store.put(image, [(first, None)])).image
    assert (store.target(first), stored.repo_tags) == (image.manifest, ["app:1"])
    other = msgspec.structs.replace(image, manifest=Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"other"), 10))
    stored = (await store.put(other, [(again, None)])).image
    assert (store.target(again), stored.manifest) == (image.manifest, image.manifest)


def test_configs_are_forgotten_by_several_threads_at_once(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Raced(dict[Digest, tuple[bytes, ImageConfig]]):
        """Another thread is always quicker."""

        def __iter__(self) -> Iterator[Digest]:
            found = list(super().__iter__())
            for first in found[:1]:
                self.pop(first, None)
            return iter(found)

    monkeypatch.setattr(image_store, "CONFIG_CACHE", 2)
    store._configs = Raced()
    for number in range(5):
        config = ImageConfig(architecture="amd64", os="linux", author=str(number))
        assert store.config(store.content.write(config.encode())) == config
        assert 1 <= len(store._configs) <= 2


async def test_what_is_not_here_any_more(store: ImageStore) -> None:
    name = Reference.parse("app:1")
    new = new_image("a1")
    image = (await store.put(new)).image
    await store.forget(image.id)
    with pytest.raises(NoSuchImageError, match=f"No such image: {image.id}"):
        await store.tag(image, name)
    with pytest.raises(NoSuchImageError):
        await store.put(new, [(name, None)], new=False)
    store.add_digest(image, name.with_digest(image.manifest.digest))
    assert not await store.replace_manifest(image, image.manifest, store.layers(image.id))
    assert (store.images(), store.repository(name), store.blobs(image.id)) == ([], [], [])


async def test_only_the_manifest_that_was_looked_at_is_replaced(store: ImageStore) -> None:
    image = (await store.put(new_image("a1"), [(Reference.parse("app:1"), None)])).image
    layers = store.layers(image.id)
    smaller = msgspec.structs.replace(layers[0], blob=Descriptor(mediatype.OCI_LAYER_ZSTD, Digest.of(b"smaller"), 5))
    first, second = (Descriptor(mediatype.OCI_MANIFEST, Digest.of(data), 10) for data in (b"first", b"second"))
    assert await store.replace_manifest(image, first, [smaller])
    assert not await store.replace_manifest(image, second, layers)
    assert (store.get("app:1").manifest, store.target(Reference.parse("app:1"))) == (first, first)
    assert store.layers(image.id) == [smaller]
    assert image.manifest.digest not in store.blobs(image.id)


def test_single_references() -> None:
    def names(*texts: str) -> list[Reference]:
        return [Reference.parse(text) for text in texts]

    digest = f"@sha256:{'a' * 64}"
    assert is_single(names("a:1"))
    assert is_single(names("a:1", f"a{digest}"))
    assert is_single(names(f"a{digest}"))
    assert not is_single(names())
    assert not is_single(names("a:1", "a:2"))
    assert not is_single(names("a:1", f"b{digest}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("1970-01-01T00:00:00.123456789999Z", 123_456_789),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        (None, 0),
        ("yesterday", 0),
        ("2026-13-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", 0),
    ],
)
def test_created(text: str | None, expected: int) -> None:
    assert created_ns(text) == expected
