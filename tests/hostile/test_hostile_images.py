"""Images that lie, pulled by the real thing: one clear error, and a store in which every digest holds."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.hostile.registry_server import LyingRegistry, says
from tests.integration.registry.room import Room, tar

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.image.errors import BrokenImageError, ForeignLayerError, NotAnImageError, TooDeepError
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Index, Manifest, UnsupportedManifestError
from rundlet.storage.errors import LayerError

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PLAIN = tar({"etc/name": b"hello", "data": bytes(300_000)})
BLOB = gzip.compress(PLAIN)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = await Room.open(str(tmp_path / "a"))
    yield room
    await room.close()


@pytest.fixture
async def server() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        yield running


def serve_manifest(server: LyingRegistry, manifest: Manifest | Index, path: str = "1") -> Descriptor:
    data = manifest.encode()
    server.answers[f"app/manifests/{path}"] = says(data, Content_Type=manifest.media_type)
    server.answers[f"app/manifests/{Digest.of(data)}"] = says(data, Content_Type=manifest.media_type)
    return Descriptor.of(manifest.media_type, data)


def serve(
    server: LyingRegistry,
    blob: bytes = BLOB,
    *,
    diff_ids: tuple[Digest, ...] = (Digest.of(PLAIN),),
    layer: Descriptor | None = None,
    config_type: str = mediatype.OCI_CONFIG,
) -> Descriptor:
    """An image whose parts are what the arguments say; the layer's bytes are ``blob``."""
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=diff_ids)).encode()
    layer = layer or Descriptor.of(mediatype.OCI_LAYER_GZIP, blob)
    server.answers[f"app/blobs/{Digest.of(config)}"] = says(config)
    server.answers[f"app/blobs/{layer.digest}"] = says(blob)
    manifest = Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor.of(config_type, config),
        layers=(layer,),
    )
    return serve_manifest(server, manifest)


async def refuse(room: Room, server: LyingRegistry, error: type[RundletError], words: str = ".") -> None:
    """The pull fails with ``error``, nothing is recorded, and all that is kept is whole."""
    with pytest.raises(error, match=words):
        await room.puller.pull(server.name(), progress=room.hear)
    room.verify()
    assert room.store.images() == []
    assert room.snapshots.layers() == []
    assert room.is_empty()


async def test_honest_image(room: Room, server: LyingRegistry) -> None:
    serve(server)
    result = (await room.puller.pull(server.name(), progress=room.hear))[0]
    assert result.image.chain == Digest.of(PLAIN)
    room.verify()


async def test_layer_with_another_digest(room: Room, server: LyingRegistry) -> None:
    wrong = bytearray(BLOB)
    wrong[5] ^= 1  # within gzip's time stamp: what it inflates to is the same
    serve(server, bytes(wrong), layer=Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOB))
    await refuse(room, server, DigestMismatchError)


async def test_layer_that_inflates_to_something_else(room: Room, server: LyingRegistry) -> None:
    serve(server, gzip.compress(tar({"etc/name": b"other"})))
    await refuse(room, server, DigestMismatchError)


@pytest.mark.parametrize(
    "blob",
    [BLOB[:-20], BLOB[:100] + b"garbage" * 100, b"\x1f\x8b", b"plain words", gzip.compress(PLAIN[:5000])],
)
async def test_corrupt_layer(room: Room, server: LyingRegistry, blob: bytes) -> None:
    serve(server, blob)
    await refuse(room, server, LayerError)


async def test_layer_of_another_size(room: Room, server: LyingRegistry) -> None:
    honest = Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOB)
    serve(server, BLOB, layer=Descriptor(honest.media_type, honest.digest, honest.size + 1))
    await refuse(room, server, DigestMismatchError)


async def test_layer_that_is_cut_for_good(room: Room, server: LyingRegistry) -> None:
    serve(server)

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(BLOB))})
        await response.prepare(request)
        await response.write(BLOB[:200])
        await asyncio.sleep(0.01)
        assert request.transport is not None
        request.transport.abort()
        return response

    server.answers[f"app/blobs/{Digest.of(BLOB)}"] = cut
    with pytest.raises(RundletError, match="unexpected EOF"):
        await room.puller.pull(server.name(), progress=room.hear)
    assert room.store.images() == []
    room.verify()
    await room.garbage.collect()
    assert room.is_empty()


async def test_no_bytes_at_all(room: Room, server: LyingRegistry) -> None:
    serve(server, b"")
    await refuse(room, server, DigestMismatchError)


async def test_foreign_layer(room: Room, server: LyingRegistry) -> None:
    honest = Descriptor.of(mediatype.DOCKER_FOREIGN_LAYER, BLOB)
    layer = Descriptor(honest.media_type, honest.digest, honest.size, urls=(f"http://{server.host}/elsewhere",))
    serve(server, layer=layer)
    await refuse(room, server, ForeignLayerError)
    assert not [asked for asked in server.asked if "elsewhere" in asked.path or "blobs" in asked.path][1:]


async def test_urls_are_never_asked(room: Room, server: LyingRegistry) -> None:
    honest = Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOB)
    layer = Descriptor(honest.media_type, honest.digest, honest.size, urls=(f"http://{server.host}/elsewhere",))
    serve(server, layer=layer)
    await room.puller.pull(server.name(), progress=room.hear)
    assert not [asked for asked in server.asked if "elsewhere" in asked.path]


async def test_layers_and_config_that_disagree(room: Room, server: LyingRegistry) -> None:
    serve(server, diff_ids=(Digest.of(PLAIN), Digest.of(b"")))
    await refuse(room, server, BrokenImageError)


@pytest.mark.parametrize("kind", ["application/vnd.cncf.helm.config.v1+json", mediatype.OCI_EMPTY])
async def test_what_is_no_image(room: Room, server: LyingRegistry, kind: str) -> None:
    serve(server, config_type=kind)
    await refuse(room, server, NotAnImageError)


async def test_layer_of_an_unknown_kind(room: Room, server: LyingRegistry) -> None:
    serve(server, layer=Descriptor.of("application/octet-stream", BLOB))
    await refuse(room, server, NotAnImageError)


async def test_indexes_without_end(room: Room, server: LyingRegistry) -> None:
    inner = serve(server)
    for _ in range(5):
        index = Index(schema_version=2, media_type=mediatype.OCI_INDEX, manifests=(inner,))
        inner = serve_manifest(server, index)
    await refuse(room, server, TooDeepError)


async def test_too_many_layers(room: Room, server: LyingRegistry) -> None:
    layer = Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOB)
    config = Descriptor.of(mediatype.OCI_CONFIG, b"{}")
    manifest = Manifest(schema_version=2, media_type=mediatype.OCI_MANIFEST, config=config, layers=(layer,) * 128)
    serve_manifest(server, manifest)
    await refuse(room, server, UnsupportedManifestError)


async def test_escaping_layer(room: Room, server: LyingRegistry, tmp_path: Path) -> None:
    target = tmp_path / "outside"
    plain = tar({f"../../../../../..{target}": b"pwned"})
    serve(server, gzip.compress(plain), diff_ids=(Digest.of(plain),))
    await refuse(room, server, LayerError)
    assert not target.exists()
