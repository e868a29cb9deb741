"""An image of Rundlet's own making: config, manifest and row for a stack of layers that is in the store."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from rundlet.image.records import Image, Layer, NewImage
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.reference import Reference

_OCI_LAYERS: Final = {
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
}


async def assemble(
    store: ImageStore,
    config: ImageConfig,
    stack: Sequence[Layer],
    *,
    created_ns: int,
    parent: Digest | None = None,
    names: Sequence[Reference] = (),
) -> Image:
    """Store ``config``, with the diff IDs of ``stack``, and its manifest, and record the image.

    The stack's blobs and layers are there, and held by a lease of the caller's. Raises StorageError.
    """
    return await asyncio.to_thread(_assemble, store, config, stack, created_ns, parent, names)


def _assemble(
    store: ImageStore,
    config: ImageConfig,
    stack: Sequence[Layer],
    created_ns: int,
    parent: Digest | None,
    names: Sequence[Reference],
) -> Image:
    config = msgspec.structs.replace(config, rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in stack)))
    data = config.encode()
    config_digest = store.content.write(data)
    stack = _uniform(stack)
    manifest = _manifest(Descriptor(mediatype.DOCKER_CONFIG, config_digest, len(data)), stack)
    manifest_data = manifest.encode()
    store.content.write(manifest_data)
    assert manifest.media_type
    descriptor = Descriptor.of(manifest.media_type, manifest_data)
    image = NewImage(
        id=config_digest,
        manifest=descriptor,
        created=config.created or "",
        created_ns=created_ns,
        platform=config.platform,
        labels=dict(config.config.labels or {}) if config.config is not None else {},
        layers=tuple(stack),
        blobs=(config_digest, descriptor.digest),
        parent=parent,
    )
    store.put_now(image, [(name, descriptor) for name in names])
    stored = store.find(config_digest)
    assert stored is not None
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
