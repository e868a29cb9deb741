"""How an output's image travels: whose media types its manifest has, and how its layers are compressed.

What is built is stored as Docker's own types and gzip. Anything else is another manifest of the same image, with layers
that are compressed again where that is asked for.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from rundlet.api.builds import Output
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.image.kept import begun, keep
from rundlet.image.leases import Lease
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.storage.layer.recompress import COMPRESSIONS, LEVELS, recompressed
from rundlet.util.tasks import settled

ATTRIBUTES: Final = frozenset({"oci-mediatypes", "compression", "compression-level", "force-compression"})
KINDS: Final = frozenset({"image", "docker", "oci"})
"""Outputs that are images."""
_OCI: Final = {
    mediatype.DOCKER_CONFIG: mediatype.OCI_CONFIG,
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
}
_DOCKER: Final = {oci: docker for docker, oci in _OCI.items()}
_LAYERS: Final = {
    "uncompressed": mediatype.DOCKER_LAYER,
    "gzip": mediatype.DOCKER_LAYER_GZIP,
    "zstd": mediatype.DOCKER_LAYER_ZSTD,
}


BY_DIGEST: Final = "push-by-digest"
"""The attribute of an image that is pushed without a tag, and has no name here."""
STORE: Final = "store"
"""The attribute of an image that is to be here afterwards; else it is what a build has in its cache."""
MAIN: Final = -1
"""Stands for the names of the result among its outputs."""


class Packing(msgspec.Struct, frozen=True):
    """``oci``: whose media types, None for those that there are. ``compression`` "": as it is; else that of the layers
    that the build made, or of all (``force``)."""

    oci: bool | None = None
    compression: str = ""
    level: int | None = None
    force: bool = False


def parse_packing(output: Output) -> Packing:
    """Raises InvalidParameterError, NotSupportedError."""
    attributes = output.attrs
    compression = attributes.get("compression", "")
    if compression == "estargz":
        raise NotSupportedError("compression estargz")
    if compression and compression not in COMPRESSIONS:
        raise InvalidParameterError(f"unsupported layer compression type {compression}")
    level: int | None = None
    if text := attributes.get("compression-level", ""):
        level = _level(text, compression or "gzip")
    types = attributes.get("oci-mediatypes", "true" if output.type == "oci" else "")
    oci = is_true(types) if types else None
    if compression == "zstd":
        oci = True  # Docker has no type of its own for that which others read.
    force = is_true(attributes.get("force-compression", "false"))
    if (force or level is not None) and not compression:
        compression = "gzip"
    return Packing(oci, compression, level, force)


def packings(outputs: Sequence[Output]) -> dict[int, Packing]:
    """By the numbers of those that are images, and of :data:`MAIN`, which is the first one that is to have a name here,
    or else the first one.

    Raises InvalidParameterError, NotSupportedError.
    """
    found = {index: parse_packing(output) for index, output in enumerate(outputs) if output.type in KINDS}
    images = [(index, output) for index, output in enumerate(outputs) if output.type == "image"]
    named = [(index, output) for index, output in images if is_stored(output) and not by_digest(output)]
    first = next((found[index] for index, _ in (*named, *images)), Packing())
    return {MAIN: first, **found}


def by_digest(output: Output) -> bool:
    """Whether an image is known by its digest only, in its registry and here. Raises InvalidParameterError."""
    return is_true(output.attrs.get(BY_DIGEST, "false"))


def is_stored(output: Output) -> bool:
    """Raises InvalidParameterError."""
    return is_true(output.attrs.get(STORE, "true"))


def _level(text: str, compression: str) -> int:
    try:
        level = int(text)
    except ValueError as exc:
        raise InvalidParameterError(f"non-integer value {text} specified for compression-level") from exc
    if not 0 <= level <= LEVELS[compression]:
        raise InvalidParameterError(f"compression-level {text}: {compression} goes from 0 to {LEVELS[compression]}")
    return level


def is_true(text: str) -> bool:
    """Raises InvalidParameterError."""
    if text.lower() not in ("true", "1", "false", "0"):
        raise InvalidParameterError(f"invalid value {text}: neither true nor false")
    return text.lower() in ("true", "1")


def as_oci(descriptor: Descriptor) -> Descriptor:
    """The same under OCI's name of its type."""
    return msgspec.structs.replace(descriptor, media_type=_OCI.get(descriptor.media_type, descriptor.media_type))


class Repacker:
    """Writes layers again, under ``lease``. ``kept``: the layers below the build's own, which stay as they are."""

    def __init__(self, context: Context, lease: Lease, kept: frozenset[Digest]) -> None:
        self._context = context
        self._lease = lease
        self._kept = kept
        self._done: dict[tuple[Digest, str, int | None], Descriptor] = {}
        self.written: list[Digest] = []
        """Layers that there are now besides those of the images."""

    async def packed(self, manifest: Manifest, packing: Packing) -> Manifest:
        """``manifest`` with everything as ``packing`` has it. Raises LayerError, StorageError."""
        layers = [await self._layer(layer, packing) for layer in manifest.layers]
        config, oci = manifest.config, bool(packing.oci)
        if oci or any(layer.media_type not in _OCI for layer in layers):
            layers, config, oci = [as_oci(layer) for layer in layers], as_oci(config), True
        kind = mediatype.OCI_MANIFEST if oci else mediatype.DOCKER_MANIFEST
        return msgspec.structs.replace(manifest, media_type=kind, config=config, layers=tuple(layers))

    async def _layer(self, layer: Descriptor, packing: Packing) -> Descriptor:
        found = layer
        if packing.compression and (packing.force or layer.digest not in self._kept):
            wanted = _LAYERS[packing.compression]
            plain = _DOCKER.get(layer.media_type, layer.media_type)
            if plain != wanted or packing.level is not None:
                found = await self._again(layer, packing)
        return _as_docker(found) if packing.oci is False else found

    async def _again(self, layer: Descriptor, packing: Packing) -> Descriptor:
        key = (layer.digest, packing.compression, packing.level)
        if key not in self._done:
            content = self._context.images.content
            async with begun(content, "build") as ingest:

                def write() -> None:
                    for piece in recompressed(content.chunks(layer.digest), packing.compression, packing.level):
                        ingest.write(piece)

                await settled(asyncio.to_thread(write))
                digest = await keep(ingest, self._lease)
            self.written.append(digest)
            self._done[key] = Descriptor(_LAYERS[packing.compression], digest, ingest.offset)
        return self._done[key]


def _as_docker(descriptor: Descriptor) -> Descriptor:
    return msgspec.structs.replace(descriptor, media_type=_DOCKER.get(descriptor.media_type, descriptor.media_type))
