"""The index that a build's names point at, where an image alone won't do: with annotations, with statements beside it.

Content that it is made of stays as long as the image does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rundlet.engine.builds.packing import Packing, Repacker
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.image.leases import Lease
from rundlet.image.records import Image, NewImage
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import ATTESTATION_ANNOTATION, SIZE_LIMIT, Index, Manifest
from rundlet.oci.platform import Platform
from rundlet.util.tasks import settled

MANIFEST: Final = "manifest"
INDEX: Final = "index"
DESCRIPTOR: Final = "manifest-descriptor"
KINDS: Final = frozenset({MANIFEST, INDEX, DESCRIPTOR})
_IN_TOTO: Final = "application/vnd.in-toto+json"
_PREDICATE: Final = "in-toto.io/predicate-type"
_REFERENCE: Final = "vnd.docker.reference.digest"
_UNKNOWN: Final = Platform("unknown", "unknown")


class Annotations(msgspec.Struct, frozen=True):
    """``--annotation``: what is annotated (:data:`KINDS`), of which platform (None: of each), the name, the value."""

    entries: tuple[tuple[str, Platform | None, str, str], ...] = ()

    def of(self, kind: str, platform: Platform | None = None) -> dict[str, str]:
        """What one document of ``platform`` gets."""
        return {
            key: value
            for of_kind, only, key, value in self.entries
            if of_kind == kind and (only is None or (platform is not None and only.matches(platform.normalized())))
        }

    @property
    def of_an_index(self) -> bool:
        """Whether one is of what only an index has."""
        return any(kind != MANIFEST for kind, *_ in self.entries)

    def __bool__(self) -> bool:
        return bool(self.entries)


def parse_annotations(texts: Sequence[str]) -> Annotations:
    """``key=value``, ``index,manifest:key=value``, ``manifest[linux/arm64]:key=value``.

    Raises InvalidParameterError, NotSupportedError, InvalidPlatformError.
    """
    found: list[tuple[str, Platform | None, str, str]] = []
    for text in texts:
        front, equals, value = text.partition("=")
        kinds, colon, key = front.rpartition(":")
        if not equals or not key:
            raise InvalidParameterError(f'invalid annotation "{text}": expected key=value')
        for kind in kinds.split(",") if colon else ("manifest",):
            name, _, rest = kind.partition("[")
            if name == "index-descriptor":
                raise NotSupportedError(f"an annotation of {kind}")
            if name not in KINDS or (rest and not rest.endswith("]")):
                raise InvalidParameterError(f'unknown annotation type "{kind}" in "{text}"')
            if rest and name == INDEX:
                raise InvalidParameterError(f'an index is of no platform: "{text}"')
            platform = Platform.parse(rest.removesuffix("]")).normalized() if rest else None
            found.append((name, platform, key, value))
    return Annotations(tuple(found))


class Part(msgspec.Struct, frozen=True):
    """One image of an index: its manifest there, and what is stated of it by kind of predicate."""

    image: Image
    manifest: Descriptor
    statements: Mapping[str, bytes] = {}


class IndexMaker:
    """One per build. Everything is written under ``lease``; :meth:`finish` makes it stay with its image."""

    def __init__(self, context: Context, lease: Lease, repacker: Repacker) -> None:
        self._context = context
        self._lease = lease
        self._repacker = repacker
        self._blobs: list[Digest] = []

    async def manifest(self, image: Image, annotations: Annotations, packing: Packing) -> Descriptor:
        """The image's own, or another manifest of the same: with annotations, or as ``packing`` has it."""
        own_annotations = annotations.of(MANIFEST, image.platform)
        if own_annotations:
            packing = msgspec.structs.replace(packing, oci=True)
        elif packing == Packing():
            return image.manifest
        content = self._context.images.content
        own = Manifest.decode(await asyncio.to_thread(content.read, image.manifest.digest, SIZE_LIMIT))
        found = await self._repacker.packed(own, packing)
        if own_annotations:
            found = msgspec.structs.replace(found, annotations={**(own.annotations or {}), **own_annotations})
        if found == own:
            return image.manifest
        return await self._put(found.media_type or mediatype.OCI_MANIFEST, found.encode())

    async def finish(self, parts: Sequence[Part], annotations: Annotations) -> Descriptor:
        """The index of all parts; the first image keeps what it is made of."""
        entries: list[Descriptor] = []
        for part in parts:
            noted = annotations.of(DESCRIPTOR, part.image.platform) or None
            entries.append(msgspec.structs.replace(part.manifest, platform=part.image.platform, annotations=noted))
        for part in parts:
            if part.statements:
                entries.append(await self._attested(part))
        index = Index(
            schema_version=2,
            media_type=mediatype.OCI_INDEX,
            manifests=tuple(entries),
            annotations=annotations.of(INDEX) or None,
        )
        found = await self._put(mediatype.OCI_INDEX, index.encode())
        await self.keep(parts[0].image, [part.image for part in parts[1:]])
        return found

    async def _put(self, media_type: str, data: bytes) -> Descriptor:
        await self._lease.hold(Digest.of(data))
        self._blobs.append(await settled(asyncio.to_thread(self._context.images.content.write, data)))
        return Descriptor.of(media_type, data)

    async def _attested(self, part: Part) -> Descriptor:
        """A manifest for no platform: as BuildKit writes it and registries show it."""
        layers = []
        for kind, statement in part.statements.items():
            described = await self._put(_IN_TOTO, statement)
            layers.append(msgspec.structs.replace(described, annotations={_PREDICATE: kind}))
        config = {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        }
        described = await self._put(mediatype.OCI_CONFIG, msgspec.json.encode(config))
        manifest = Manifest(schema_version=2, config=described, layers=tuple(layers), media_type=mediatype.OCI_MANIFEST)
        return msgspec.structs.replace(
            await self._put(mediatype.OCI_MANIFEST, manifest.encode()),
            platform=_UNKNOWN,
            annotations={_REFERENCE: str(part.manifest.digest), ATTESTATION_ANNOTATION: "attestation-manifest"},
        )

    async def keep(self, image: Image, others: Sequence[Image] = ()) -> None:
        """What was made, and ``others``, stay as long as ``image`` does."""
        images = self._context.images
        made = (*self._blobs, *self._repacker.written)
        foreign = [blob for other in others for blob in images.blobs(other.id)]
        foreign += [layer.blob.digest for other in others for layer in images.layers(other.id)]
        await images.put(
            NewImage(
                image.id,
                image.manifest,
                image.created,
                image.created_ns,
                image.platform,
                image.labels,
                tuple(images.layers(image.id)),
                tuple(dict.fromkeys((*images.blobs(image.id), *made, *foreign))),
                image.parent,
            )
        )
