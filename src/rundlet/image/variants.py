"""The platforms of one name: what its index lists, what of it is here, and which of them a platform means."""

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.image.errors import PlatformMismatchError
from rundlet.image.records import Image
from rundlet.image.store import ImageStore, parse_name
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import ATTESTATION_ANNOTATION, SIZE_LIMIT, Index, Manifest, decode_any
from rundlet.oci.platform import Platform

ATTESTED_ANNOTATION = "vnd.docker.reference.digest"


class Variant(msgspec.Struct, frozen=True):
    """One manifest of a name. ``image`` is None when it is no image here; ``content`` counts bytes that are here."""

    descriptor: Descriptor
    platform: Platform
    available: bool
    content: int
    image: Image | None = None
    attests: Digest | None = None
    """What an attestation is about."""


def index_of(store: ImageStore, ref: str) -> Index | None:
    """The index that the name ``ref`` points at, if it points at one that is here."""
    reference = parse_name(ref)
    target = store.target(reference) if reference is not None and reference.digest is None else None
    if target is None or not mediatype.is_index(target.media_type) or not store.content.has(target.digest):
        return None
    document = decode_any(store.content.read(target.digest, SIZE_LIMIT), target.media_type)
    return document if isinstance(document, Index) else None


def variants(store: ImageStore, ref: str) -> list[Variant]:
    """All that the name lists, in the index's order; for a single image that one. Raises NoSuchImageError."""
    image = store.get(ref)
    index = index_of(store, ref)
    children = (index.manifests or ()) if index is not None else ()
    if not any(child.digest == image.manifest.digest for child in children):
        children = (image.manifest,)
    return [_variant(store, child, image) for child in children]


def choose(store: ImageStore, ref: str, platform: str) -> Image:
    """The image under ``ref`` that is for ``platform``; with "" the one that the name stands for.

    Raises NoSuchImageError, PlatformMismatchError, InvalidPlatformError.
    """
    image = store.get(ref)
    if not platform:
        return image
    wanted = Platform.parse(platform)
    if wanted.matches(image.platform):
        return image
    index = index_of(store, ref)
    child = index.choose(wanted, exact=True) if index is not None else None
    found = _variant(store, child, image).image if child is not None else None
    if found is None or not wanted.matches(found.platform):
        raise PlatformMismatchError(ref, wanted, image.platform)
    return found


def _variant(store: ImageStore, child: Descriptor, image: Image) -> Variant:
    platform = child.platform or Platform("", "")
    annotations = child.annotations or {}
    attests = _digest(annotations.get(ATTESTED_ANNOTATION, "")) if ATTESTATION_ANNOTATION in annotations else None
    if not store.content.has(child.digest):
        return Variant(child, platform, available=False, content=0, attests=attests)
    manifest = decode_any(store.content.read(child.digest, SIZE_LIMIT), child.media_type)
    if not isinstance(manifest, Manifest):
        return Variant(child, platform, available=False, content=child.size, attests=attests)
    own = image if image.manifest.digest == child.digest else store.find(manifest.config.digest)
    parts = (manifest.config, *manifest.layers)
    here = [part.size for part in parts if store.content.has(part.digest)]
    return Variant(
        child,
        own.platform if own is not None else platform,
        available=own is not None or len(here) == len(parts),
        content=child.size + sum(here),
        image=own,
        attests=attests,
    )


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except InvalidParameterError:
        return None
