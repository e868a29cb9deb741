"""``save``: images as one tar that Docker, podman and skopeo read, blobs as they are stored, so that digests stay."""

import asyncio
import tarfile
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from rundlet.errors import RundletError
from rundlet.image.archive import (
    DOCKER_MANIFEST,
    INDEX,
    LAYOUT_CONTENT,
    LEGACY_REPOSITORIES,
    NAME_ANNOTATION,
    OCI_LAYOUT,
    ORIGINAL_ANNOTATION,
    REF_ANNOTATION,
    DockerEntry,
    blob_path,
)
from rundlet.image.errors import MissingBlobError
from rundlet.image.history import stands_on
from rundlet.image.leases import Leases
from rundlet.image.records import Image
from rundlet.image.store import ImageStore, parse_name
from rundlet.image.variants import choose
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest, InvalidDigestError
from rundlet.oci.manifest import SIZE_LIMIT, Index, Manifest, decode_any
from rundlet.oci.reference import Reference

BLOCK = 512
END = bytes(2 * BLOCK)


class _Plan:
    """What goes into the archive: blobs with their sizes, configurations with the times of their images."""

    def __init__(self) -> None:
        self.index: list[Descriptor] = []
        self.docker: dict[Digest, DockerEntry] = {}
        self.blobs: dict[Digest, int] = {}
        self.times: dict[Digest, int] = {}
        self.made: dict[str, bytes] = {}
        """Documents that are in the archive only."""


class Saver:
    """Made by the wiring."""

    def __init__(self, store: ImageStore, leases: Leases) -> None:
        self._store = store
        self._content = store.content
        self._leases = leases

    async def save(self, names: Sequence[str], platform: str = "") -> AsyncGenerator[bytes, None]:
        """The archive's bytes; what can't be saved is raised before the first of them.

        A name without a tag stands for all tags of its repository, as in Docker. Raises NoSuchImageError,
        MissingBlobError, PlatformMismatchError.
        """
        return self._stream(names, platform, await asyncio.to_thread(self._plan, names, platform))

    # ── what goes in ─────────────────────────────────────────────────────────────────────────────────────────

    def _plan(self, names: Sequence[str], platform: str) -> _Plan:
        plan = _Plan()
        for name in names:
            # Meanwhile a push can't give an image another manifest, and what is named can't be deleted.
            with self._store.database.reading():
                self._add_named(plan, name, platform)
        self._link(plan)
        return plan

    def _add_named(self, plan: _Plan, name: str, platform: str) -> None:
        reference = parse_name(name)
        tags = self._store.repository(reference) if reference is not None and reference.name_only else []
        for tag in tags:
            self._add(plan, self._store.get(tag.canonical), tag, platform)
        if not tags and not self._add_content(plan, name, reference):
            image = self._store.get(name)
            named = reference if reference is not None and reference.tag and reference in image.tags else None
            self._add(plan, image, named, platform)

    def _link(self, plan: _Plan) -> None:
        """Images that were made from others of the archive say so: histories have their IDs after a load."""
        for image_id, entry in list(plan.docker.items()):
            image = self._store.find(image_id)
            parent = image.parent if image is not None else None
            if parent is None or parent not in plan.docker:
                continue
            if stands_on(self._store.config(image_id), self._store.config(parent)):
                plan.docker[image_id] = msgspec.structs.replace(entry, parent=str(parent))

    def _content_of(self, name: str) -> Descriptor | None:
        """The manifest or index that ``name`` is the digest of: what a build came to without a name, or packed another
        way than the image that is here."""
        try:
            digest = Digest.parse(name)
        except InvalidDigestError:
            return None
        if self._store.find(digest) is not None or not self._content.has(digest):
            return None
        try:
            data = self._content.read(digest, SIZE_LIMIT)
            document = decode_any(data, "")
        except RundletError:
            return None  # another kind of content
        usual = mediatype.OCI_INDEX if isinstance(document, Index) else mediatype.OCI_MANIFEST
        return Descriptor.of(document.media_type or usual, data)

    def _add_content(self, plan: _Plan, name: str, reference: Reference | None) -> bool:
        """Whether ``name`` is of that kind. Raises MissingBlobError."""
        tag = None
        if reference is not None and reference.tag and reference.digest is not None:
            tag = reference.with_tag(reference.tag)
        target = self._content_of(str(reference.digest) if tag is not None and reference is not None else name)
        if target is None:
            return False
        entries = [target]
        if mediatype.is_index(target.media_type):
            if not self._take_index(plan, target):
                if tag is not None:
                    return False  # of an image that is not here for all of its platforms
                raise MissingBlobError(target.digest)
            entries = list(self._children(target))
        else:
            self._take_manifest(plan, target)
        plan.index.append(_annotated(target, tag))
        for entry in entries:
            manifest = self._document(entry)
            # Statements about an image are listed beside it.
            if isinstance(manifest, Manifest) and self._store.find(manifest.config.digest) is not None:
                layers = [blob_path(layer.digest) for layer in manifest.layers]
                names = [tag.familiar] if tag is not None else None
                config = blob_path(manifest.config.digest)
                plan.docker[manifest.config.digest] = DockerEntry(config=config, repo_tags=names, layers=layers)
        return True

    def _add(self, plan: _Plan, image: Image, tag: Reference | None, platform: str) -> None:
        image = choose(self._store, tag.canonical if tag else str(image.id), platform)
        target = self._store.target(tag) if tag is not None and not platform else None
        if target is None or not self._take_index(plan, target):
            target = image.manifest
        self._take_manifest(plan, image.manifest)
        if target == image.manifest and all(name.digest != target.digest for name in image.digests):
            plan.index.append(_annotated(self._as_oci(plan, target), tag))
        else:
            plan.index.append(_annotated(target, tag))
        entry = plan.docker.get(image.id) or self._docker_entry(image)
        if tag is not None:
            entry = msgspec.structs.replace(entry, repo_tags=[*(entry.repo_tags or ()), tag.familiar])
        plan.docker[image.id] = entry

    def _as_oci(self, plan: _Plan, target: Descriptor) -> Descriptor:
        """An OCI manifest in the place of Docker's, as Docker's own archives have it: skopeo and podman choose by tag
        among these only. For images whose manifest no registry has ever seen: nobody asks for its digest."""
        if target.media_type != mediatype.DOCKER_MANIFEST:
            return target
        manifest = self._document(target)
        assert isinstance(manifest, Manifest)
        config, *layers = (
            msgspec.structs.replace(part, media_type=mediatype.as_oci(part.media_type))
            for part in (manifest.config, *manifest.layers)
        )
        made = msgspec.structs.replace(
            manifest, media_type=mediatype.OCI_MANIFEST, config=config, layers=tuple(layers)
        ).encode()
        descriptor = Descriptor.of(mediatype.OCI_MANIFEST, made)
        plan.made[blob_path(descriptor.digest)] = made
        return msgspec.structs.replace(descriptor, annotations={ORIGINAL_ANNOTATION: str(target.digest)})

    def _take_index(self, plan: _Plan, target: Descriptor) -> bool:
        """An index and all that it lists, if all of that is here."""
        if not mediatype.is_index(target.media_type) or not self._content.has(target.digest):
            return False
        children = self._children(target)
        for child in children:
            if not self._content.has(child.digest):
                return False
            manifest = self._document(child)
            if not isinstance(manifest, Manifest):
                return False
            if not all(self._content.has(part.digest) for part in (manifest.config, *manifest.layers)):
                return False
        for child in children:
            self._take_manifest(plan, child)
        self._take(plan, target.digest)
        return True

    def _children(self, target: Descriptor) -> Sequence[Descriptor]:
        index = self._document(target)
        return (index.manifests or ()) if isinstance(index, Index) else ()

    def _take_manifest(self, plan: _Plan, descriptor: Descriptor) -> None:
        manifest = self._document(descriptor)
        assert isinstance(manifest, Manifest)
        for digest in (descriptor.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)):
            self._take(plan, digest)
        image = self._store.find(manifest.config.digest)
        if image is not None:
            plan.times[image.id] = max(0, image.created_ns // 10**9)

    def _take(self, plan: _Plan, digest: Digest) -> None:
        if digest not in plan.blobs:
            if not self._content.has(digest):
                raise MissingBlobError(digest)
            plan.blobs[digest] = self._content.size(digest)

    def _document(self, descriptor: Descriptor) -> Manifest | Index:
        return decode_any(self._content.read(descriptor.digest, SIZE_LIMIT), descriptor.media_type)

    def _docker_entry(self, image: Image) -> DockerEntry:
        layers = [blob_path(layer.blob.digest) for layer in self._store.layers(image.id)]
        return DockerEntry(config=blob_path(image.id), repo_tags=None, layers=layers)

    # ── the archive itself ───────────────────────────────────────────────────────────────────────────────────

    async def _stream(self, names: Sequence[str], platform: str, plan: _Plan) -> AsyncGenerator[bytes, None]:
        async with self._leases.lease() as lease:
            await lease.hold(*plan.blobs)
            while not all(map(self._content.has, plan.blobs)):
                # The image was removed just now, or is pushed, and has other blobs.
                plan = await asyncio.to_thread(self._plan, names, platform)
                await lease.hold(*plan.blobs)
            yield b"".join(_member(name, data) for name, data in _documents(plan).items()) + _directories(plan)
            yield b"".join(_member(name, data) for name, data in plan.made.items())
            for digest, size in plan.blobs.items():
                yield _header(blob_path(digest), size, time=plan.times.get(digest, 0))
                chunks = self._content.chunks(digest)
                while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                    yield chunk
                yield bytes(-size % BLOCK)
            yield END


def _documents(plan: _Plan) -> dict[str, bytes]:
    index = Index(schema_version=2, media_type=mediatype.OCI_INDEX, manifests=tuple(plan.index))
    documents = {
        OCI_LAYOUT: LAYOUT_CONTENT,
        INDEX: index.encode(),
        DOCKER_MANIFEST: msgspec.json.encode(list(plan.docker.values())),
    }
    repositories = _repositories(plan.docker.values())
    if repositories:
        documents[LEGACY_REPOSITORIES] = msgspec.json.encode(repositories)
    return documents


def _repositories(entries: Iterable[DockerEntry]) -> dict[str, dict[str, str]]:
    """The top layer by name and tag: Docker's own archives still say it beside the newer documents, for older tools."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        top = (entry.layers or [""])[-1].rpartition("/")[2]
        for text in (entry.repo_tags or ()) if top else ():
            name, _, tag = text.rpartition(":")
            found.setdefault(name, {})[tag] = top
    return found


def _annotated(descriptor: Descriptor, tag: Reference | None) -> Descriptor:
    annotations = dict(descriptor.annotations or {})
    if tag is not None:
        annotations |= {NAME_ANNOTATION: tag.canonical, REF_ANNOTATION: tag.tag or ""}
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, annotations=annotations or None)


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE, *, time: int = 0) -> bytes:
    """Times are those of the images, or zero: the same images give the same archive."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mtime = time
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % BLOCK)


def _directories(plan: _Plan) -> bytes:
    algorithms = sorted({digest.algorithm for digest in plan.blobs})
    names = ["blobs/", *(f"blobs/{algorithm}/" for algorithm in algorithms)]
    return b"".join(_header(name, 0, tarfile.DIRTYPE) for name in names)
