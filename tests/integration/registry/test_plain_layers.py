"""Layers that an archive has plain: kept so, and compressed when the image is pushed."""

import errno
import gzip
import io
import json
import lzma
import os
import secrets
import tarfile
from collections.abc import AsyncIterator

import pytest
from tests.integration.registry.room import Room, stream, tar
from tests.integration.registry.test_archives import archive, config, docker_archive
from tests.integration.registry.test_images import new_name

from rundlet.image.archive import INDEX
from rundlet.image.compressing import LayerCompressor
from rundlet.image.records import Image, Progress, ignore_progress
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.reference import Reference
from rundlet.registry import Registry
from rundlet.registry.pusher import RepositoryPusher
from rundlet.storage.errors import StorageError

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

LAYER = tar({"etc/name": b"hello" * 1000})
UPPER = tar({"etc/other": b"there" * 1000})


async def load(room: Room, name: Reference, *layers: bytes, note: str = "") -> Image:
    """An image of plain layers; ``note`` makes it another one of the same layers."""
    document = json.loads(config(*layers)) | {"author": note}
    files = docker_archive(json.dumps(document).encode(), [f"{place}.tar" for place in range(len(layers))], [str(name)])
    files |= {f"{place}.tar": layer for place, layer in enumerate(layers)}
    return (await room.loader.load(stream(archive(files)), progress=ignore_progress))[0].image


def types(room: Room, image: Image) -> list[str]:
    return [layer.blob.media_type for layer in room.store.layers(image.id)]


async def test_what_was_loaded_plain_is_pushed_as_gzip(room: Room, other: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    loaded = await load(room, name, LAYER, UPPER)
    assert [layer.blob.digest for layer in room.store.layers(loaded.id)] == [Digest.of(LAYER), Digest.of(UPPER)]
    assert types(room, loaded) == [mediatype.DOCKER_LAYER] * 2
    [pushed] = await room.pusher.push(name, progress=room.hear)
    assert (pushed.image.id, pushed.descriptor) == (loaded.id, pushed.image.manifest)
    assert types(room, loaded) == [mediatype.DOCKER_LAYER_GZIP] * 2
    for digest in (Digest.of(LAYER), Digest.of(UPPER), loaded.manifest.digest):
        assert not room.content.has(digest)
    room.verify()

    [pulled] = await other.puller.pull(name, progress=ignore_progress)
    assert (pulled.image.id, pulled.digest) == (loaded.id, pushed.descriptor.digest)
    blobs = [layer.blob.digest for layer in other.store.layers(loaded.id)]
    assert [gzip.decompress(b"".join(other.content.chunks(blob))) for blob in blobs] == [LAYER, UPPER]

    room.said.clear()
    [again] = await room.pusher.push(name, progress=room.hear)
    assert again.descriptor == pushed.descriptor
    assert room.statuses().count("Layer already exists") == 2
    assert room.store.get(str(name)).repo_digests == [f"{name.familiar_name}@{pushed.descriptor.digest}"]
    await room.remover.remove(str(name))
    assert room.is_empty()


async def test_a_layer_is_compressed_once_and_stays_plain_where_it_is_needed(room: Room, registry_host: str) -> None:
    first, second = new_name(registry_host), new_name(registry_host)
    one = await load(room, first, LAYER, note="one")
    two = await load(room, second, LAYER, note="two")
    await room.pusher.push(first, progress=ignore_progress)
    assert types(room, two) == [mediatype.DOCKER_LAYER]
    assert room.content.has(Digest.of(LAYER))
    room.verify()
    ingests: list[str] = []
    real = room.content.ingest
    room.content.ingest = lambda key, *rest: (ingests.append(key), real(key, *rest))[1]  # type: ignore[method-assign]
    await room.pusher.push(second, progress=ignore_progress)
    assert not [key for key in ingests if key.startswith("gzip-")]
    assert room.store.layers(one.id)[0].blob == room.store.layers(two.id)[0].blob
    assert not room.content.has(Digest.of(LAYER))


async def test_what_is_here_compressed_stays_so(room: Room, registry_host: str) -> None:
    first, second = new_name(registry_host), new_name(registry_host)
    await load(room, first, LAYER)
    [pushed] = await room.pusher.push(first, progress=ignore_progress)
    again = await load(room, second, LAYER)
    assert room.store.target(second) == pushed.descriptor == again.manifest
    assert not room.content.has(Digest.of(LAYER))
    [moved] = await room.pusher.push(second, progress=room.hear)
    assert moved.descriptor == pushed.descriptor
    assert room.statuses(Digest.of(LAYER).short) == ["Preparing", f"Mounted from {first.path}"]
    room.verify()


async def upload(pusher: RepositoryPusher, data: bytes) -> None:
    async def read(offset: int) -> AsyncIterator[bytes]:
        yield data[offset:]

    await pusher.upload(Digest.of(data), len(data), read, await pusher.begin(), lambda _sent: None)


def plain_manifest(document: bytes, layer: bytes) -> bytes:
    return Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor.of(mediatype.OCI_CONFIG, document),
        layers=(Descriptor.of(mediatype.OCI_LAYER, layer),),
        annotations={"by": "hand"},
    ).encode()


async def test_what_a_registry_has_plain_keeps_its_digest(room: Room, registry: Registry, registry_host: str) -> None:
    name, copy = new_name(registry_host), new_name(registry_host)
    layer = tar({"a": secrets.token_bytes(2000)})
    document = config(layer)
    manifest = plain_manifest(document, layer)
    pusher = registry.pusher(name)
    await upload(pusher, layer)
    await upload(pusher, document)
    await pusher.put_manifest(manifest, Descriptor.of(mediatype.OCI_MANIFEST, manifest), name.tag)
    [pulled] = await room.puller.pull(name, progress=ignore_progress)
    await room.store.tag(pulled.image, copy)
    [pushed] = await room.pusher.push(copy, progress=ignore_progress)
    assert pushed.descriptor.digest == pulled.digest == Digest.of(manifest)
    room.verify()


async def test_a_layout_keeps_its_manifest_until_it_is_pushed(room: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    document = config(LAYER)
    manifest = plain_manifest(document, LAYER)
    described = Descriptor.of(mediatype.OCI_MANIFEST, manifest)
    entry = {"mediaType": described.media_type, "digest": str(described.digest), "size": described.size}
    entry["annotations"] = {"io.containerd.image.name": str(name)}  # type: ignore[assignment]
    files = {f"blobs/sha256/{Digest.of(data).encoded}": data for data in (document, manifest, LAYER)}
    files |= {INDEX: json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()}
    [loaded] = await room.loader.load(stream(archive(dict(files))), progress=ignore_progress)
    assert loaded.image.manifest == described
    saved = b"".join([chunk async for chunk in await room.saver.save([str(name)], "")])
    with tarfile.open(fileobj=io.BytesIO(saved)) as members:
        assert f"blobs/sha256/{described.digest.encoded}" in members.getnames()
    [pushed] = await room.pusher.push(name, progress=ignore_progress)
    data = room.content.read(pushed.descriptor.digest, 100_000)
    made = Manifest.decode(data)
    assert (made.media_type, made.annotations) == (mediatype.OCI_MANIFEST, {"by": "hand"})
    assert [layer.media_type for layer in made.layers] == [mediatype.OCI_LAYER_GZIP]
    assert made.config.digest == loaded.image.id
    room.verify()


async def test_what_is_only_called_plain_becomes_gzip_too(room: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    files = docker_archive(config(LAYER), ["0.tar"], [str(name)]) | {"0.tar": lzma.compress(LAYER)}
    [loaded] = await room.loader.load(stream(archive(files)), progress=ignore_progress)
    await room.pusher.push(name, progress=ignore_progress)
    blob = room.store.layers(loaded.image.id)[0].blob.digest
    assert gzip.decompress(b"".join(room.content.chunks(blob))) == LAYER


async def test_a_disk_that_is_full_meanwhile_costs_nothing(
    room: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name(registry_host)
    loaded = await load(room, name, LAYER, UPPER)
    before = sorted(map(str, room.content.iterate()))

    def full(*_arguments: object) -> None:
        raise StorageError("write", "state.db", OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr(room.store, "replace_manifest", full)
        with pytest.raises(StorageError, match=r"(?i)no space left"):
            await room.pusher.push(name, progress=ignore_progress)
    assert sorted(map(str, room.content.iterate())) == before
    assert room.store.get(str(name)) == loaded
    room.verify()
    await room.pusher.push(name, progress=ignore_progress)
    assert types(room, loaded) == [mediatype.DOCKER_LAYER_GZIP] * 2


async def test_a_long_compression_says_how_far_it_is(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rundlet.image.compressing._INTERVAL", 0.0)
    layer = tar({"a": bytes(4_000_000)})
    image = await load(room, Reference.parse("long:1"), layer)
    said: list[Progress] = []
    compressor = LayerCompressor(room.store, room.leases, room.garbage)
    await compressor.compressed(image, said.append)
    assert {(step.status, step.id, step.total) for step in said} == {
        ("Preparing", Digest.of(layer).short, len(layer)),
    }
    assert [step.current for step in said] == sorted(step.current for step in said)
