"""What an archive of images holds, once all of its files are in the content store: images, their layers and names."""

from collections.abc import Sequence
from typing import Final

import msgspec

from rundlet.errors import DigestMismatchError
from rundlet.image.archive import (
    DOCKER_MANIFEST,
    DOCUMENT_LIMIT,
    INDEX,
    LEGACY_REPOSITORIES,
    NAME_ANNOTATION,
    NAMELESS,
    ORIGINAL_ANNOTATION,
    REF_ANNOTATION,
    ArchiveError,
    DockerEntry,
    blob_path,
)
from rundlet.image.legacy import legacy_images
from rundlet.image.store import parse_name
from rundlet.image.unarchive import Parts
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Index, Manifest, decode_any
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.content import ContentStore

INDEX_DEPTH = 3
DOCUMENTS_TOGETHER: Final = 128 << 20
"""Bytes of documents of an archive that are read at most, each time that it refers to them: of a few kilobytes it may
be, and refer to one large config without end."""


class FoundImage(msgspec.Struct, frozen=True):
    """An image found in the archive: where its config and layers are, and what it is called."""

    id: Digest
    """The digest of its config, as the archive calls that."""
    config: bytes
    layers: tuple[Descriptor | str, ...]
    """Of one that the archive lists, but has not: the name of the file."""
    names: tuple[Reference, ...]
    manifest: bytes | None = None
    described: Descriptor | None = None
    """What the archive calls the manifest."""
    index: Descriptor | None = None
    """The index that the names point at, when the archive has all that it lists."""
    besides: tuple[Digest, ...] = ()
    """What the index needs besides this image."""
    parent: str = ""
    """ID of the image that it was made from, as the archive says."""


def found_images(parts: Parts, content: ContentStore, platform: str) -> list[FoundImage]:
    """The images of an archive; ``platform`` chooses from an index, the host's by default.

    Reads documents: to be called in a thread. Raises ArchiveError, DigestMismatchError, StorageError.
    """
    return _Finder(parts, content, platform).find()


class _Finder:
    def __init__(self, parts: Parts, content: ContentStore, platform: str) -> None:
        self._parts = parts
        self._content = content
        self._platform = platform
        self._wanted = Platform.parse(platform) if platform else Platform.host()
        self._room = DOCUMENTS_TOGETHER
        self._variants: dict[Digest, FoundImage] = {}
        """By config: every image of the indexes that the archive has whole."""

    def _suitable(self, found: list[FoundImage]) -> list[FoundImage]:
        """Those for the very platform that was asked for, else those that would do."""
        platforms = [(item, ImageConfig.decode(item.config).platform) for item in found]
        exact = [item for item, platform in platforms if self._wanted.matches(platform)]
        return exact or [item for item, platform in platforms if self._wanted.suits(platform)]

    def find(self) -> list[FoundImage]:
        parts = self._parts
        found = self._from_index() if parts.find(INDEX) is not None else []
        if parts.find(DOCKER_MANIFEST) is not None and not (self._platform and found):
            found = self._from_docker(found)
        elif not found and parts.find(LEGACY_REPOSITORIES) is not None:
            repositories = self._text(LEGACY_REPOSITORIES)
            found = [
                FoundImage(Digest.of(image.config), image.config, image.layers, _references(image.names))
                for image in legacy_images(parts, repositories, self._read)
            ]
        if not found and not (self._platform and parts.find(INDEX) is not None):
            raise ArchiveError("unrecognized image format")
        if self._platform:
            found = self._suitable(found)
        if not found:
            raise ArchiveError(f"the archive has no image for the platform {self._platform}")
        return found

    def _from_docker(self, from_index: Sequence[FoundImage]) -> list[FoundImage]:
        try:
            entries = msgspec.json.decode(self._text(DOCKER_MANIFEST), type=list[DockerEntry])
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
            raise ArchiveError(f"invalid manifest.json: {exc}") from exc
        originals = self._variants | {candidate.id: candidate for candidate in from_index}
        found = []
        for entry in entries:
            image_id, config = self._named(entry.config)
            names = _references(entry.repo_tags or ())
            layers = tuple(self._layer(name) for name in entry.layers or ())
            original = originals.get(image_id)
            # Docker 25.0 writes OCI manifests that have other layers, or the same in another order.
            if original is not None and (entry.layers is None or _digests(original.layers) == _digests(layers)):
                merged = tuple(dict.fromkeys((*names, *original.names)))
                image = msgspec.structs.replace(original, names=merged)
            else:
                image = FoundImage(image_id, config, layers, names)
            found.append(msgspec.structs.replace(image, parent=entry.parent) if entry.parent else image)
        return found

    def _from_index(self) -> list[FoundImage]:
        index = Index.decode(self._text(INDEX))
        found: dict[Digest, FoundImage] = {}
        for descriptor in index.manifests or ():
            candidate = self._from_descriptor(descriptor, INDEX_DEPTH)
            if candidate is None:
                continue
            names = (*_annotated_names(descriptor), *(found[candidate.id].names if candidate.id in found else ()))
            found[candidate.id] = msgspec.structs.replace(candidate, names=tuple(dict.fromkeys(names)))
        return list(found.values())

    def _from_descriptor(self, descriptor: Descriptor, depth: int) -> FoundImage | None:
        part = _blob(self._parts, descriptor)
        if part is None or not depth:
            return None
        data = self._read(part.digest)
        document = decode_any(data, descriptor.media_type)
        if isinstance(document, Index):
            return self._chosen(descriptor, document, depth)
        descriptor, data = self._original(descriptor, document) or (descriptor, data)
        if document.config.media_type not in mediatype.CONFIGS:
            return None
        described = _blob(self._parts, document.config)
        layers = [_blob(self._parts, layer) for layer in document.layers]
        if described is None or not all(layers):
            return None
        config = self._read(described.digest)
        if len(layers) != len(ImageConfig.decode(config).diff_ids) and self._parts.find(DOCKER_MANIFEST) is not None:
            return None  # as Docker 25.0 writes it
        return FoundImage(described.digest, config, document.layers, (), data, _bare(descriptor))

    def _original(self, descriptor: Descriptor, listed: Manifest) -> tuple[Descriptor, bytes] | None:
        """The manifest of the same image that ``save`` had ``listed`` made for, if the archive still has it."""
        text = (descriptor.annotations or {}).get(ORIGINAL_ANNOTATION, "")
        part = self._parts.find(blob_path(Digest.parse(text))) if text else None
        if part is None:
            return None
        data = self._read(part.digest)
        original = decode_any(data, "")
        if not isinstance(original, Manifest) or _contents(original) != _contents(listed):
            return None
        return Descriptor(original.media_type or mediatype.OCI_MANIFEST, part.digest, part.size), data

    def _chosen(self, descriptor: Descriptor, index: Index, depth: int) -> FoundImage | None:
        chosen = index.choose(self._wanted)
        found = self._from_descriptor(chosen, depth - 1) if chosen is not None else None
        # A platform that was asked for comes alone, as with a push of one.
        whole = None if found is None or self._platform else self._whole(index)
        if found is None or whole is None or found.manifest is None:
            return found
        more = {"index": _bare(descriptor), "besides": (descriptor.digest, *whole)}
        for child in index.manifests or ():
            variant = self._from_descriptor(child, depth - 1)
            if variant is not None:
                self._variants[variant.id] = msgspec.structs.replace(variant, **more)
        return msgspec.structs.replace(found, **more)

    def _whole(self, index: Index) -> list[Digest] | None:
        """Every blob that ``index`` lists, if the archive has them all as they are listed."""
        blobs: list[Digest] = []
        for child in index.manifests or ():
            part = _blob(self._parts, child)
            if part is None:
                return None
            document = decode_any(self._read(part.digest), child.media_type)
            if not isinstance(document, Manifest):
                return None
            listed = (document.config, *document.layers)
            stored = [_blob(self._parts, descriptor) for descriptor in listed]
            if None in stored:
                return None
            blobs += (child.digest, *(descriptor.digest for descriptor in listed))
        return blobs

    def _layer(self, name: str) -> Descriptor | str:
        part = self._parts.find(name)
        return name if part is None else part

    def _text(self, name: str) -> bytes:
        return self._named(name)[1]

    def _named(self, name: str) -> tuple[Digest, bytes]:
        part = self._parts.find(name)
        if part is None:
            raise ArchiveError(f"invalid archive: {name} is missing")
        return part.digest, self._read(part.digest)

    def _read(self, digest: Digest) -> bytes:
        """A document. Raises ArchiveError when there is no end to them."""
        data = self._content.read(digest, DOCUMENT_LIMIT)
        self._room -= len(data)
        if self._room < 0:
            raise ArchiveError("the archive refers to more documents than any archive of images")
        return data


def _blob(parts: Parts, listed: Descriptor) -> Descriptor | None:
    """The file that an OCI layout keeps under a descriptor. Raises DigestMismatchError when it is another,
    or longer or shorter: whoever pulls the image from where it is pushed to would refuse it."""
    part = parts.find(blob_path(listed.digest))
    if part is None:
        return None
    if part.digest != listed.digest:
        raise DigestMismatchError(str(listed.digest), str(part.digest))
    if part.size != listed.size:
        raise DigestMismatchError(f"{listed.digest} of {listed.size} bytes", f"{part.size} bytes")
    return part


def _contents(manifest: Manifest) -> list[tuple[Digest, int]]:
    return [(part.digest, part.size) for part in (manifest.config, *manifest.layers)]


def _digests(layers: Sequence[Descriptor | str]) -> list[Digest | str]:
    return [layer if isinstance(layer, str) else layer.digest for layer in layers]


def _references(names: Sequence[str]) -> tuple[Reference, ...]:
    found = []
    for name in names:
        if name == NAMELESS:
            continue
        reference = parse_name(name)
        if reference is None or reference.digest is not None:
            raise ArchiveError(f'invalid tag "{name[:300]}"')
        found.append(reference.with_default_tag())
    return tuple(found)


def _annotated_names(descriptor: Descriptor) -> tuple[Reference, ...]:
    annotations = descriptor.annotations or {}
    name = annotations.get(NAME_ANNOTATION, "")
    text = annotations.get(REF_ANNOTATION, "")
    if not name and ("/" in text or ":" in text):
        name = text
    reference = parse_name(name) if name else None
    if reference is None or reference.digest is not None:
        return ()
    return (reference.with_default_tag(),)


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
