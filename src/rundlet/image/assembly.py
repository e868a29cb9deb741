"""An image of Rundlet's own making: config, manifest and row for a stack of layers that is in the store."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from rundlet.image.leases import Lease
from rundlet.image.records import Image, Layer, NewImage
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.reference import Reference
from rundlet.util.tasks import settled

_OCI_LAYERS: Final = {
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
}


async def assemble(
    store: ImageStore,
    lease: Lease,
    config: ImageConfig,
    stack: Sequence[Layer],
    *,
    created_ns: int,
    parent: Digest | None = None,
    names: Sequence[Reference] = (),
) -> Image:
    """Store ``config``, with the diff IDs of ``stack``, and its manifest, and record the image.

    The stack's blobs and layers are there, and held by ``lease``; so is then what is written: the same image may just
    be removed. Raises StorageError.
    """
    config = msgspec.structs.replace(config, rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in stack)))
    data = config.encode()
    described = Descriptor.of(mediatype.DOCKER_CONFIG, data)
    stack = _uniform(stack)
    manifest = _manifest(described, stack)
    manifest_data = manifest.encode()
    assert manifest.media_type
    descriptor = Descriptor.of(manifest.media_type, manifest_data)
    image = NewImage(
        id=described.digest,
        manifest=descriptor,
        created=config.created or "",
        created_ns=created_ns,
        platform=config.platform,
        labels=dict(config.config.labels or {}) if config.config is not None else {},
        layers=tuple(stack),
        blobs=(described.digest, descriptor.digest),
        parent=parent,
    )
    await lease.hold(*image.blobs)

    def write() -> Image:
        for document in (data, manifest_data):
            store.content.write(document)
        return store.put_now(image, [(name, None) for name in names]).image

    stored = await settled(asyncio.to_thread(write))
    await lease.hold(stored.manifest.digest)  # one that was here already keeps the manifest that it has
    return stored


def _uniform(stack: Sequence[Layer]) -> list[Layer]:
    """Docker's own media types, or, as soon as one layer has an OCI type, OCI's: a manifest does not mix them."""
    if not any(layer.blob.media_type.startswith("application/vnd.oci.") for layer in stack):
        return list(stack)
    return [
        msgspec.structs.replace(
            layer,
            blob=msgspec.structs.replace(
                layer.blob, media_type=_OCI_LAYERS.get(layer.blob.media_type, layer.blob.media_type)
            ),
        )
        for layer in stack
    ]


def _manifest(config: Descriptor, stack: Sequence[Layer]) -> Manifest:
    oci = any(layer.blob.media_type.startswith("application/vnd.oci.") for layer in stack)
    if oci:
        config = msgspec.structs.replace(config, media_type=mediatype.OCI_CONFIG)
    return Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST if oci else mediatype.DOCKER_MANIFEST,
        config=config,
        layers=tuple(layer.blob for layer in stack),
    )
