"""What others remove, or make otherwise, in the middle of somebody's work with an image."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.integration.registry.room import Room, stream, tar
from tests.integration.registry.test_images import make, new_name, put_index
from tests.integration.registry.test_plain_layers import LAYER, UPPER, load

from rundlet.builder.state import StageState
from rundlet.builder.steps import Recorder, Work
from rundlet.engine.images import anatomy as files
from rundlet.errors import NoSuchImageError
from rundlet.image import anatomy
from rundlet.image.assembly import assemble
from rundlet.image.compressing import LayerCompressor
from rundlet.image.errors import NoSuchTagError
from rundlet.image.holding import hold_image
from rundlet.image.kept import begun, keep
from rundlet.image.leases import Lease
from rundlet.image.records import NewImage, Stored, ignore_progress
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Index, Manifest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Registry
from rundlet.storage.content import Ingest
from rundlet.storage.snapshot import Preparation

FOREIGN = "linux/s390x"
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def has_all(room: Room, image_id: Digest) -> bool:
    layers = room.store.layers(image_id)
    blobs = [*room.store.blobs(image_id), *(layer.blob.digest for layer in layers)]
    return bool(layers) and all(map(room.content.has, blobs))


# ── pulls ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_that_goes_while_it_is_pulled_again_is_fetched(
    room: Room, other: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container keeps its layers, but nothing keeps its blobs."""
    name = new_name(registry_host)
    image = await make(room, name)
    await room.pusher.push(name, progress=ignore_progress)
    await other.puller.pull(name, progress=ignore_progress)
    other.snapshots.prepare_container("c" * 64, image.chain)
    config = other.puller._config

    async def meanwhile(*arguments: object) -> ImageConfig:
        found = await config(*arguments)  # type: ignore[arg-type]
        await other.remover.remove(name.familiar)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(other.puller, "_config", meanwhile)
        [pulled] = await other.puller.pull(name, progress=ignore_progress)
    assert pulled.image.id == image.id
    assert has_all(other, image.id)
    other.verify()


async def test_one_that_is_here_with_other_blobs_may_go_just_before_it_gets_the_name(
    room: Room, other: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name(registry_host)
    image = await load(room, name, LAYER)
    await room.pusher.push(name, progress=ignore_progress)
    await load(other, Reference.parse("plain:1"), LAYER)
    other.snapshots.prepare_container("c" * 64, image.chain)
    put = other.store.put

    async def meanwhile(
        new_image: NewImage, names: Sequence[tuple[Reference, Descriptor | None]] = (), **more: bool
    ) -> Stored:
        if other.store.find(image.id) is not None:
            await other.remover.remove("plain:1")
        return await put(new_image, names, **more)

    monkeypatch.setattr(other.store, "put", meanwhile)
    [pulled] = await other.puller.pull(name, progress=ignore_progress)
    assert pulled.image.id == image.id
    assert has_all(other, image.id)
    other.verify()


# ── pushes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layers", [(LAYER,), ()], ids=["plain", "compressed"])
async def test_a_push_goes_on_when_the_image_is_removed(
    room: Room,
    registry: Registry,
    registry_host: str,
    layers: tuple[bytes, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = new_name(registry_host)
    image = await load(room, name, *layers) if layers else await make(room, name)
    send = room.pusher._send_blobs

    async def meanwhile(*arguments: object) -> None:
        await room.remover.remove(str(name))
        await send(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room.pusher, "_send_blobs", meanwhile)
    [pushed] = await room.pusher.push(name, progress=ignore_progress)
    assert pushed.image.id == image.id
    fetcher = registry.fetcher(name)
    assert (await fetcher.resolve(name)).digest == pushed.descriptor.digest
    async with asyncio.timeout(20):
        while not room.is_empty():
            await asyncio.sleep(0.01)


async def test_a_push_sends_what_the_name_meant(
    room: Room, registry: Registry, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name(registry_host)
    first = await make(room, name)
    second = await make(room, None)
    hold = Lease.hold

    async def meanwhile(lease: Lease, *digests: Digest) -> None:
        monkeypatch.setattr(Lease, "hold", hold)
        await room.store.tag(second, name)
        await room.remover.remove(str(first.id))
        await hold(lease, *digests)

    monkeypatch.setattr(Lease, "hold", meanwhile)
    [pushed] = await room.pusher.push(name, progress=ignore_progress)
    assert (pushed.image.id, pushed.descriptor) == (second.id, second.manifest)
    assert (await registry.fetcher(name).resolve(name)).digest == second.manifest.digest


async def test_what_is_removed_while_it_is_compressed_is_not_pushed(
    room: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name(registry_host)
    await load(room, name, LAYER)
    replace = room.store.replace_manifest

    async def meanwhile(*arguments: object) -> bool:
        await room.remover.remove(str(name))
        return await replace(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room.store, "replace_manifest", meanwhile)
    with pytest.raises(NoSuchTagError):
        await room.pusher.push(name, progress=ignore_progress)
    async with asyncio.timeout(20):
        while not room.is_empty():
            await asyncio.sleep(0.01)


async def test_what_an_index_lists_meanwhile_stays_plain(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER, UPPER)
    index = Descriptor(mediatype.OCI_INDEX, room.content.write(b"an index"), 8)
    replace = room.store.replace_manifest

    async def meanwhile(*arguments: object) -> bool:
        await room.store.tag(image, Reference.parse("listed:1"), index)
        return await replace(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room.store, "replace_manifest", meanwhile)
    found = await LayerCompressor(room.store, room.leases, room.garbage).compressed(image, ignore_progress)
    assert found.manifest == image.manifest
    assert [layer.blob.digest for layer in room.store.layers(image.id)] == [Digest.of(LAYER), Digest.of(UPPER)]
    assert has_all(room, image.id)
    assert len(list(room.content.iterate())) == 5  # and nothing of what was compressed


async def test_an_index_is_pushed_whole_though_one_of_its_images_goes(
    room: Room, registry: Registry, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, copy = new_name(registry_host), new_name(registry_host)
    _, digest = await put_index(registry, name, [FOREIGN, str(Platform.host())])
    [host] = await room.puller.pull(name, progress=ignore_progress)
    await room.store.tag(host.image, copy)
    [foreign] = await room.puller.pull(name, platform=FOREIGN, progress=ignore_progress)
    send = room.pusher._send_blobs

    async def meanwhile(*arguments: Any) -> None:
        await room.remover.remove(str(foreign.image.id), force=True)
        await send(*arguments)

    monkeypatch.setattr(room.pusher, "_send_blobs", meanwhile)
    [pushed] = await room.pusher.push(copy, progress=ignore_progress)
    assert pushed.descriptor.digest == digest
    await room.garbage.close()
    assert not room.content.has(foreign.image.id)


# ── archives ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_that_is_pushed_while_it_is_saved_is_saved_as_it_is_then(room: Room, other: Room) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER)
    chunks = await room.saver.save(["plain:1"])
    pushed = await LayerCompressor(room.store, room.leases, room.garbage).compressed(image, ignore_progress)
    assert not room.content.has(Digest.of(LAYER))
    [loaded] = await other.loader.load(chunks, progress=ignore_progress)
    assert (loaded.image.id, loaded.image.manifest) == (image.id, pushed.manifest)


async def test_what_an_archive_lists_is_looked_up_at_one_time(
    room: Room, other: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER)
    compressor, loop = LayerCompressor(room.store, room.leases, room.garbage), asyncio.get_running_loop()
    document = room.saver._document
    pushing = []

    def meanwhile(descriptor: Descriptor) -> Manifest | Index:
        if not pushing:
            pushing.append(asyncio.run_coroutine_threadsafe(compressor.compressed(image, ignore_progress), loop))
            with suppress(TimeoutError):
                pushing[0].result(0.3)
        return document(descriptor)

    monkeypatch.setattr(room.saver, "_document", meanwhile)
    chunks = await room.saver.save(["plain:1"])
    pushed = await asyncio.wrap_future(pushing[0])
    [loaded] = await other.loader.load(chunks, progress=ignore_progress)
    assert (loaded.image.id, loaded.image.manifest) == (image.id, pushed.manifest)


# ── removals ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_an_image_gets_just_before_it_goes_goes_with_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull by another index that ends at that moment has nothing more to do with what it brought."""
    image = await make(room, Reference.parse("demo:1"))
    forget = room.store.forget

    async def meanwhile(image_id: Digest) -> object:
        async with room.leases.lease([]) as lease:
            index = room.content.write(b"index")
            await lease.hold(index)
            with room.database.transaction() as cursor:
                cursor.execute("INSERT INTO image_blobs VALUES (?, ?)", (str(image_id), str(index)))
        return await forget(image_id)

    monkeypatch.setattr(room.store, "forget", meanwhile)
    await room.remover.remove(str(image.id))
    assert room.is_empty()


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_images_that_are_removed_while_their_files_are_looked_at_stay_so_long(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    context: Any = SimpleNamespace(images=room.store, snapshots=room.snapshots)
    loop = asyncio.get_running_loop()

    def meanwhile(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*arguments: Any, **how: Any) -> Any:
            for name in ("demo:1", "demo:2"):
                asyncio.run_coroutine_threadsafe(room.remover.remove(name), loop).result(20)
            return look(*arguments, **how)

        return looked

    for look in (anatomy.layers, anatomy.differences):
        monkeypatch.setattr(anatomy, look.__name__, meanwhile(look))
    for number in (1, 2):
        await make(room, Reference.parse(f"demo:{number}"), {f"file{number}": b"1"})
    found = await files.differences(context, room.leases, "demo:1", "demo:2")
    assert [(change.path, change.kind) for change in found] == [("/file1", 2), ("/file2", 1)]
    for number in (1, 2):
        await make(room, Reference.parse(f"demo:{number}"), {"file": b"%d" % number})
    layers = await files.layers(context, room.leases, "demo:1", files=True)
    assert [change.path for layer in layers for change in layer.files] == ["/file"]
    await room.garbage.close()
    assert room.is_empty()


# ── what is made here ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_layer_that_is_imported_is_held_before_it_is_there(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may just remove another image of the same layer."""
    loop = asyncio.get_running_loop()
    commit = room.snapshots.commit_layer

    def meanwhile(preparation: Preparation, chain: Digest, diff_id: Digest, size: int) -> None:
        commit(preparation, chain, diff_id, size)
        asyncio.run_coroutine_threadsafe(room.garbage.release([chain], []), loop).result(20)

    monkeypatch.setattr(room.snapshots, "commit_layer", meanwhile)
    image = await make(room, Reference.parse("demo:1"))
    assert image.chain is not None
    assert room.snapshots.has_layer(image.chain)
    room.verify()


async def test_an_image_that_is_made_here_is_held_before_it_is_recorded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    put = room.store.put_now

    def meanwhile(image: NewImage, names: Iterable[tuple[Reference, Descriptor | None]]) -> Stored:
        asyncio.run_coroutine_threadsafe(room.garbage.release([], image.blobs), loop).result(20)
        return put(image, names)

    monkeypatch.setattr(room.store, "put_now", meanwhile)
    config = ImageConfig(architecture="amd64", os="linux")
    async with room.leases.lease() as lease:
        image = await assemble(room.store, lease, config, (), created_ns=0)
    assert all(map(room.content.has, room.store.blobs(image.id)))
    assert Manifest.decode(room.content.read(image.manifest.digest)).config.digest == image.id


async def test_one_who_is_cancelled_while_a_blob_gets_its_name_lets_it_have_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is closed afterwards: its descriptor may be another file's by then."""
    loop = asyncio.get_running_loop()
    committing, go = asyncio.Event(), threading.Event()
    commit = Ingest.commit

    def slowly(ingest: Ingest) -> Digest:
        loop.call_soon_threadsafe(committing.set)
        assert go.wait(20)
        return commit(ingest)

    monkeypatch.setattr(Ingest, "commit", slowly)

    async def write() -> None:
        async with room.leases.lease([]) as lease, begun(room.content, "test") as ingest:
            ingest.write(b"text")
            await keep(ingest, lease)

    task = asyncio.create_task(write())
    await committing.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.content.read(Digest.of(b"text")) == b"text"


# ── what is held ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_is_held_as_it_is_then(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER)
    hold = Lease.hold

    async def meanwhile(lease: Lease, *digests: Digest) -> None:
        monkeypatch.setattr(Lease, "hold", hold)
        await LayerCompressor(room.store, room.leases, room.garbage).compressed(image, ignore_progress)
        await hold(lease, *digests)

    async with room.leases.lease() as lease:
        monkeypatch.setattr(Lease, "hold", meanwhile)
        whole = await hold_image(room.store, lease, image.id)
        assert whole.image.manifest != image.manifest
        assert [layer.blob.media_type for layer in whole.layers] == [mediatype.DOCKER_LAYER_GZIP]
        await room.remover.remove("plain:1")
        assert all(map(room.content.has, (whole.image.id, whole.image.manifest.digest)))
        assert all(room.snapshots.has_layer(layer.chain) for layer in whole.layers)
        assert all(room.content.has(layer.blob.digest) for layer in whole.layers)
        with pytest.raises(NoSuchImageError):
            await hold_image(room.store, lease, image.id)


async def test_a_build_finds_an_image_as_it_is_once_it_is_held(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER)
    state = StageState(room.store.config(image.id))
    nothing = cast(Any, None)
    work = Work(nothing, state, state, "")
    hold = Lease.hold

    async def meanwhile(lease: Lease, *digests: Digest) -> None:
        monkeypatch.setattr(Lease, "hold", hold)
        await LayerCompressor(room.store, room.leases, room.garbage).compressed(image, ignore_progress)
        await hold(lease, *digests)

    async with room.leases.lease() as lease:
        recorder = Recorder(room.store, room.snapshots, nothing, nothing, nothing, lease, None)
        monkeypatch.setattr(Lease, "hold", meanwhile)
        found = await recorder._held(work, image)
        assert found is not None
        assert found.image is not None
        await room.remover.remove("plain:1")
        assert all(room.content.has(layer.blob.digest) for layer in found.stack)
        assert room.content.has(found.image.manifest.digest)
        assert await recorder._held(work, image) is None


async def test_an_import_that_is_removed_at_once_was_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    put = room.store.put_now

    def meanwhile(image: NewImage, names: Iterable[tuple[Reference, Descriptor | None]], **more: bool) -> Stored:
        stored = put(image, names, **more)
        with room.database.transaction() as cursor:
            cursor.execute("DELETE FROM images")
        return stored

    monkeypatch.setattr(room.store, "put_now", meanwhile)
    imported = await room.importer.import_image(stream(tar({"a": b"b"})))
    assert imported.image.size == 1
    assert room.store.images() == []


# ── who is cancelled while the database is written ───────────────────────────────────────────────────────────


class Late:
    """What the store's ``method`` writes in a thread waits until the test lets it begin."""

    def __init__(self, room: Room, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._transaction, self._method = room.database.transaction, getattr(room.store, method)
        self._armed, self._go = False, threading.Event()
        self._begun = asyncio.Event()
        monkeypatch.setattr(room.database, "transaction", self._wait)
        monkeypatch.setattr(room.store, method, self._arm)

    async def _arm(self, *arguments: object, **more: object) -> object:
        self._armed = True
        return await self._method(*arguments, **more)

    def _wait(self, **how: bool) -> AbstractContextManager[sqlite3.Cursor]:
        if self._armed and threading.current_thread() is not threading.main_thread():
            self._armed = False
            self._loop.call_soon_threadsafe(self._begun.set)
            assert self._go.wait(20)
        return self._transaction(**how)

    async def cancelled(self, work: Coroutine[object, object, object]) -> None:
        """Cancels ``work`` when it is there, and lets it go on when everybody else has done what that is to them."""
        task = asyncio.ensure_future(work)
        await self._begun.wait()
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
        await self._room.garbage.release([], [])
        self._go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self._room.garbage.release([], [])


async def test_an_import_that_is_cancelled_while_it_is_recorded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await Late(room, monkeypatch, "put").cancelled(make(room, Reference.parse("demo:1")))
    assert has_all(room, room.store.get("demo:1").id)
    room.verify()


async def test_a_compression_that_is_cancelled_while_it_is_recorded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await load(room, Reference.parse("plain:1"), LAYER)
    compressor = LayerCompressor(room.store, room.leases, room.garbage)
    await Late(room, monkeypatch, "replace_manifest").cancelled(compressor.compressed(image, ignore_progress))
    assert has_all(room, image.id)
    room.verify()


async def test_a_removal_that_is_cancelled_leaves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    image = await make(room, None)
    await Late(room, monkeypatch, "forget").cancelled(room.remover.remove(str(image.id)))
    assert room.is_empty()
