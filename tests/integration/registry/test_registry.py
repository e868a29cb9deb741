"""Our client against a real registry; skopeo looks at the result."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest
from tests.integration.registry.conftest import PASSWORD

from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Registry, RegistryUnreachableError
from rundlet.registry.errors import LoginError, ManifestUnknownError
from rundlet.registry.pusher import RepositoryPusher
from rundlet.transport.auth import AuthenticationError


def _source(data: bytes, piece: int = 100_000):
    async def read(offset: int) -> AsyncIterator[bytes]:
        for start in range(offset, len(data), piece):
            yield data[start : start + piece]

    return read


async def _upload(pusher: RepositoryPusher, data: bytes, media_type: str) -> Descriptor:
    descriptor = Descriptor.of(media_type, data)
    seen: list[int] = []
    await pusher.upload(descriptor.digest, descriptor.size, _source(data), await pusher.begin(), seen.append)
    assert seen[-1] == len(data)
    return descriptor


async def _image(pusher: RepositoryPusher, layer: bytes) -> tuple[Descriptor, bytes]:
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(Digest.of(layer),))).encode()
    manifest = Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST,
        config=await _upload(pusher, config, mediatype.OCI_CONFIG),
        layers=(await _upload(pusher, layer, mediatype.OCI_LAYER),),
    ).encode()
    return Descriptor.of(mediatype.OCI_MANIFEST, manifest), manifest


async def test_push_then_fetch(registry: Registry, registry_host: str) -> None:
    name = Reference.parse(f"{registry_host}/team/app:1")
    pusher = registry.pusher(name)
    layer = os.urandom(3_000_000)
    descriptor, data = await _image(pusher, layer)
    await pusher.put_manifest(data, descriptor, "1")

    fetcher = registry.fetcher(name)
    found = await fetcher.resolve(name)
    assert (found.digest, found.size, found.media_type) == (descriptor.digest, descriptor.size, descriptor.media_type)
    assert (await fetcher.manifest(found))[1] == data
    manifest = Manifest.decode(data)
    assert b"".join([c async for c in fetcher.blob(manifest.layers[0])]) == layer
    assert b"".join([c async for c in fetcher.blob(manifest.layers[0], 1_234_567)]) == layer[1_234_567:]
    assert ImageConfig.decode(await fetcher.small(manifest.config, 1 << 20)).architecture == "amd64"
    assert await fetcher.resolve(name.with_digest(descriptor.digest)) == found
    assert await fetcher.tags() == ["1"]
    if shutil.which("skopeo"):
        shown = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{name.canonical}"], check=True, capture_output=True
        )
        assert json.loads(shown.stdout)["Digest"] == str(descriptor.digest)


async def test_blob_is_skipped_and_mounted(registry: Registry, registry_host: str) -> None:
    first = registry.pusher(Reference.parse(f"{registry_host}/mount/one"))
    second = registry.pusher(Reference.parse(f"{registry_host}/mount/two"))
    data = secrets.token_bytes(1000)
    blob = await _upload(first, data, mediatype.OCI_LAYER)
    assert await first.has_blob(blob.digest)
    assert not await second.has_blob(blob.digest)
    assert (await second.mount(blob.digest, "mount/one")).mounted
    assert await second.has_blob(blob.digest)
    assert not (await second.mount(Digest.of(b"unknown"), "mount/one")).mounted


async def test_empty_blob(registry: Registry, registry_host: str) -> None:
    pusher = registry.pusher(Reference.parse(f"{registry_host}/empty"))
    descriptor = Descriptor.of(mediatype.OCI_LAYER, b"")
    await pusher.upload(descriptor.digest, 0, _source(b""), await pusher.begin(), lambda _n: None)
    assert await pusher.has_blob(descriptor.digest)


async def test_unknown_names_have_dockers_words(registry: Registry, registry_host: str) -> None:
    name = Reference.parse(f"{registry_host}/nothing/here:1")
    with pytest.raises(ManifestUnknownError) as caught:
        await registry.fetcher(name).resolve(name)
    assert str(caught.value) == (
        f"manifest for {registry_host}/nothing/here:1 not found: manifest unknown: manifest unknown"
    )
    assert caught.value.status == 404


async def test_unreachable_registry(registry: Registry) -> None:
    name = Reference.parse("127.0.0.1:1/app:1")
    with pytest.raises(RegistryUnreachableError) as caught:
        await registry.fetcher(name).resolve(name)
    assert str(caught.value) == 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    assert (caught.value.status, caught.value.registry) == (500, "127.0.0.1:1")


async def test_private_registry(registry: Registry, private_host: str) -> None:
    name = Reference.parse(f"{private_host}/secret:1")
    with pytest.raises(
        AuthenticationError, match=r'^Head "http://.*/v2/secret/manifests/1": no basic auth credentials$'
    ):
        await registry.fetcher(name).resolve(name)
    with pytest.raises(AuthenticationError, match=r"^no basic auth credentials$"):
        await registry.pusher(name).begin()
    right = Credentials("ann", PASSWORD)
    pusher = registry.pusher(name, right)
    descriptor, data = await _image(pusher, b"layer")
    await pusher.put_manifest(data, descriptor, "1")
    assert (await registry.fetcher(name, right).resolve(name)).digest == descriptor.digest
    assert await registry.login(private_host, right) == ""
    with pytest.raises(
        LoginError, match=r"^login attempt to http://.*/v2/ failed with status: 401 Unauthorized$"
    ) as caught:
        await registry.login(private_host, Credentials("ann", "wrong"))
    assert caught.value.status == 401
