"""What must not go while somebody is at work with it goes afterwards."""

import asyncio
import os

import pytest
from tests.integration.registry.room import Room, stream, tar
from tests.integration.registry.test_images import make

from rundlet.oci.reference import Reference

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


async def until_empty(room: Room) -> None:
    async with asyncio.timeout(20):
        while not room.is_empty():
            await asyncio.sleep(0.01)


async def test_an_image_removed_meanwhile_goes_when_the_last_one_is_done(room: Room) -> None:
    image = await make(room, Reference.parse("demo:1"))
    layers = room.store.layers(image.id)
    async with room.leases.lease() as late:
        await late.hold(layers[0].blob.digest)
        async with room.leases.lease() as early:
            await early.hold(*room.store.blobs(image.id), *(layer.chain for layer in layers))
            await room.remover.remove("demo:1")
            assert room.snapshots.has_layer(layers[0].chain)
            assert room.content.has(image.id)
        async with asyncio.timeout(20):
            while room.snapshots.has_layer(layers[0].chain) or room.content.has(image.id):
                await asyncio.sleep(0.01)
        assert room.content.has(layers[0].blob.digest)
    await until_empty(room)


async def test_what_came_back_meanwhile_stays(room: Room) -> None:
    files = {"a": b"the same"}
    image = await make(room, Reference.parse("demo:1"), files)
    layer = room.store.layers(image.id)[0]
    async with room.leases.lease() as lease:
        await lease.hold(*room.store.blobs(image.id), layer.chain)
        await room.remover.remove("demo:1")
        again = await make(room, Reference.parse("demo:2"), files)
    await room.garbage.release([], [])  # whatever the end of the lease began is done before
    assert room.store.layers(again.id)[0].blob == layer.blob
    assert room.snapshots.has_layer(layer.chain)
    assert room.content.has(layer.blob.digest)
    room.verify()


async def test_what_fails_after_its_layer_was_made_leaves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError("not now")

    monkeypatch.setattr(room.store, "put", fail)
    with pytest.raises(RuntimeError, match="not now"):
        await room.importer.import_image(stream(tar({"a": b"b"})))
    await until_empty(room)


async def test_a_load_gives_back_only_what_it_took(room: Room) -> None:
    image = await make(room, Reference.parse("demo:1"))
    archive = b"".join([chunk async for chunk in await room.saver.save(["demo:1"], "")])
    layer = room.store.layers(image.id)[0]
    kept = (image.id, image.manifest.digest, layer.chain, layer.blob.digest)
    async with room.leases.lease() as lease:
        await lease.hold(*kept)
        await room.loader.load(stream(archive), progress=room.hear)
        assert all(room.leases.held(digest) for digest in kept)
        await room.remover.remove("demo:1")
        assert room.snapshots.has_layer(layer.chain)
        room.verify()
    await until_empty(room)
