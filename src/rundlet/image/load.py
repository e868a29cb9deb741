"""``load``: archives of Docker (all its formats), podman, skopeo and Rundlet, and OCI layouts, plain or compressed.

Everything goes into the content store, verified by what names it, and layers are unpacked while they pass; then images
are made of it like pulled ones. What no image needs in the end is deleted again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.image.ahead import Ahead
from rundlet.image.archive import (
    DOCKER_MANIFEST,
    DOCUMENT_LIMIT,
    INDEX,
    LEGACY_REPOSITORIES,
    NAME_ANNOTATION,
    REF_ANNOTATION,
    ArchiveError,
    DockerEntry,
    blob_path,
)
from rundlet.image.garbage import Garbage
from rundlet.image.layers import INTERVAL, LayerImporter, LayerWork
from rundlet.image.leases import Lease, Leases
from rundlet.image.legacy import legacy_images
from rundlet.image.records import Image, Layer, NewImage, OnProgress, Progress
from rundlet.image.store import ImageStore, parse_name
from rundlet.image.times import created_ns
from rundlet.image.unarchive import Part, Parts, Unarchiver
from rundlet.oci import mediatype
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import chain_ids
from rundlet.oci.manifest import Index, Manifest, decode_any
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.feed import run_fed, shielded
from rundlet.storage.snapshot import Snapshotter

INDEX_DEPTH = 3


class Loaded(msgspec.Struct, frozen=True):
    """One image of the archive, with the names that it got."""

    image: Image
    names: tuple[Reference, ...]


class _Candidate(msgspec.Struct, frozen=True):
    """An image found in the archive: where its config and layers are, and what it is called."""

    config: bytes
    layers: tuple[Descriptor, ...]
    names: tuple[Reference, ...]
    manifest: bytes | None = None
    manifest_type: str = ""


class Loader:
    """Made by the wiring."""

    def __init__(
        self, store: ImageStore, snapshots: Snapshotter, layers: LayerImporter, leases: Leases, garbage: Garbage
    ) -> None:
        self._store = store
        self._content = store.content
        self._snapshots = snapshots
        self._layers = layers
        self._leases = leases
        self._garbage = garbage

    async def load(self, source: AsyncIterator[bytes], *, platform: str = "", progress: OnProgress) -> list[Loaded]:
        """Load every image of the archive in ``source``.

        ``platform`` chooses from an index, the host's by default. Raises ArchiveError, DigestMismatchError,
        LayerError, StorageError. Failed or cancelled it leaves no image that is not complete.
        """
        parts = Parts({}, {})
        held: list[Digest] = []
        ahead = self._layers.ahead(self._store.layer_words())
        try:
            async with self._leases.lease(held) as lease:
                await self._read(source, parts, ahead, _Watch(lease, progress))
                candidates = await asyncio.to_thread(self._candidates, parts, platform)
                loaded = []
                for candidate in candidates:
                    image = await self._make(candidate, ahead, held, progress)
                    loaded.append(image)
        finally:
            await shielded(self._tidy(ahead, held))
        return loaded

    async def _tidy(self, ahead: Ahead, held: Sequence[Digest]) -> None:
        await ahead.close()
        await self._garbage.release(held[::-1], held)

    async def _read(self, source: AsyncIterator[bytes], parts: Parts, ahead: Ahead, watch: "_Watch") -> None:
        await run_fed(source, Unarchiver(self._content, parts, ahead, watch).read, ahead.stop)
        await ahead.finish()

    # ── what is in it ────────────────────────────────────────────────────────────────────────────────────────

    def _candidates(self, parts: Parts, platform: str) -> list[_Candidate]:
        wanted = Platform.parse(platform) if platform else Platform.host()
        found = self._from_index(parts, wanted) if INDEX in parts.files else []
        if DOCKER_MANIFEST in parts.files and not (platform and found):
            found = self._from_docker(parts, found)
        elif not found and LEGACY_REPOSITORIES in parts.files:
            repositories = self._text(parts, LEGACY_REPOSITORIES)
            found = [
                _Candidate(image.config, tuple(part.blob for part in image.layers), _references(image.names))
                for image in legacy_images(parts, repositories, self._content)
            ]
        if not found:
            raise ArchiveError("unrecognized image format")
        return found

    def _from_docker(self, parts: Parts, from_index: Sequence[_Candidate]) -> list[_Candidate]:
        try:
            entries = msgspec.json.decode(self._text(parts, DOCKER_MANIFEST), type=list[DockerEntry])
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
            raise ArchiveError(f"invalid manifest.json: {exc}") from exc
        originals = {Digest.of(candidate.config): candidate for candidate in from_index}
        found = []
        for entry in entries:
            config = self._text(parts, entry.config)
            names = _references(entry.repo_tags or ())
            original = originals.get(Digest.of(config))
            if original is not None:
                merged = tuple(dict.fromkeys((*names, *original.names)))
                found.append(msgspec.structs.replace(original, names=merged))
            else:
                layers = tuple(_layer(parts, name) for name in entry.layers or ())
                found.append(_Candidate(config, layers, names))
        return found

    def _from_index(self, parts: Parts, wanted: Platform) -> list[_Candidate]:
        index = Index.decode(self._text(parts, INDEX))
        found: dict[Digest, _Candidate] = {}
        for descriptor in index.manifests or ():
            candidate = self._from_descriptor(parts, descriptor, wanted, INDEX_DEPTH)
            if candidate is None:
                continue
            image_id = Digest.of(candidate.config)
            names = (*_annotated_names(descriptor), *(found[image_id].names if image_id in found else ()))
            found[image_id] = msgspec.structs.replace(candidate, names=tuple(dict.fromkeys(names)))
        return list(found.values())

    def _from_descriptor(self, parts: Parts, descriptor: Descriptor, wanted: Platform, depth: int) -> _Candidate | None:
        part = _blob(parts, descriptor.digest)
        if part is None or not depth:
            return None
        data = self._content.read(part.blob.digest, DOCUMENT_LIMIT)
        document = decode_any(data, descriptor.media_type)
        if isinstance(document, Index):
            chosen = document.choose(wanted)
            return self._from_descriptor(parts, chosen, wanted, depth - 1) if chosen is not None else None
        if document.config.media_type not in mediatype.CONFIGS:
            return None
        described = _blob(parts, document.config.digest)
        layers = [_blob(parts, layer.digest) for layer in document.layers]
        if described is None or not all(layers):
            return None
        config = self._content.read(described.blob.digest, DOCUMENT_LIMIT)
        # A layer that was compressed on the way in is another blob: then the manifest has to be a new one.
        same = all(
            part.blob.digest == layer.digest for part, layer in zip(_parts(layers), document.layers, strict=True)
        )
        return _Candidate(
            config,
            document.layers if same else tuple(part.blob for part in _parts(layers)),
            (),
            data if same else None,
            descriptor.media_type,
        )

    def _text(self, parts: Parts, name: str) -> bytes:
        part = parts.find(name)
        if part is None:
            raise ArchiveError(f"invalid archive: {name} is missing")
        return self._content.read(part.blob.digest, DOCUMENT_LIMIT)

    # ── making images ────────────────────────────────────────────────────────────────────────────────────────

    async def _make(self, candidate: _Candidate, ahead: Ahead, held: list[Digest], progress: OnProgress) -> Loaded:
        if len(candidate.config) > SIZE_LIMIT:
            raise ArchiveError("invalid archive: an image's config is larger than any")
        config = ImageConfig.decode(candidate.config)
        if len(config.diff_ids) != len(candidate.layers):
            raise ArchiveError(
                f"invalid manifest, layers length mismatch: expected {len(config.diff_ids)}, "
                f"got {len(candidate.layers)}"
            )
        chains = chain_ids(config.diff_ids)
        works = [
            LayerWork(chain, parent, diff_id, Descriptor(blob.media_type, blob.digest, blob.size))
            for chain, parent, diff_id, blob in zip(
                chains, (None, *chains[:-1]), config.diff_ids, candidate.layers, strict=True
            )
        ]
        image_id = await asyncio.to_thread(self._content.write, candidate.config)
        manifest = candidate.manifest or _manifest(image_id, len(candidate.config), works)
        kind = candidate.manifest_type if candidate.manifest else mediatype.DOCKER_MANIFEST
        descriptor = Descriptor.of(kind, manifest)
        await asyncio.to_thread(self._content.write, manifest)
        async with self._leases.lease() as lease:
            await lease.hold(image_id, descriptor.digest, *chains)
            held += [image_id, descriptor.digest, *chains]
            for work in works:
                if self._snapshots.has_layer(work.chain) or not await ahead.place(
                    work.chain, work.parent, work.diff_id
                ):
                    await self._layers.ensure(work, None, _loading(work, progress))
            section = config.config
            image = NewImage(
                id=image_id,
                manifest=descriptor,
                created=config.created or "",
                created_ns=created_ns(config.created),
                platform=config.platform,
                labels=dict(section.labels or {}) if section else {},
                layers=tuple(
                    Layer(work.diff_id, work.chain, self._snapshots.layer(work.chain).size, work.blob) for work in works
                ),
                blobs=(image_id, descriptor.digest),
            )
            previous = self._current(candidate.names, image_id)
            await self._store.put(image, [(name, descriptor) for name in candidate.names])
        for name, old in previous:
            text = f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string"
            progress(Progress(text))
        for name in candidate.names:
            progress(Progress(f"Loaded image: {name.familiar}"))
        if not candidate.names:
            progress(Progress(f"Loaded image ID: {image_id}"))
        stored = self._store.find(image_id)
        assert stored is not None
        return Loaded(stored, candidate.names)

    def _current(self, names: Sequence[Reference], image_id: Digest) -> list[tuple[Reference, Digest]]:
        found = []
        for name in names:
            try:
                before = self._store.get(name.canonical).id
            except RundletError:
                continue
            if before != image_id:
                found.append((name, before))
        return found


class _Watch:
    """Holds what is read, and shows it."""

    def __init__(self, lease: Lease, progress: OnProgress) -> None:
        self._loop = asyncio.get_running_loop()
        self._lease = lease
        self._progress = progress
        self._shown = 0.0

    def hold(self, digest: Digest) -> None:
        asyncio.run_coroutine_threadsafe(self._lease.hold(digest), self._loop).result()

    def layer(self, name: str, done: int, total: int) -> None:
        now = self._loop.time()
        if now - self._shown < INTERVAL and done < total:
            return
        self._shown = now
        # Most archives call their layers by a digest.
        word = max(name.removesuffix(".tar").split("/"), key=len)
        self._loop.call_soon_threadsafe(self._progress, Progress("Loading layer", word[:12], done, total))


def _loading(work: LayerWork, progress: OnProgress) -> OnProgress:
    """A layer's states as ``load`` shows them."""

    def report(step: Progress) -> None:
        if step.status == "Extracting":
            progress(Progress("Loading layer", work.diff_id.short, step.current, step.total))

    return report


def _layer(parts: Parts, name: str) -> Descriptor:
    part = parts.find(name)
    if part is None:
        raise ArchiveError(f"invalid archive: {name} is missing")
    return part.blob


def _blob(parts: Parts, digest: Digest) -> Part | None:
    """The file that an OCI layout keeps under ``digest``. Raises DigestMismatchError when it is another."""
    part = parts.find(blob_path(digest))
    if part is not None and part.digest != digest:
        raise DigestMismatchError(str(digest), str(part.digest))
    return part


def _parts(found: Sequence[Part | None]) -> list[Part]:
    return [part for part in found if part is not None]


def _manifest(image_id: Digest, config_size: int, works: Sequence[LayerWork]) -> bytes:
    """A new manifest: the archive had none, or one of layers that were not compressed yet."""
    layers = tuple(
        work.blob
        if mediatype.is_layer(work.blob.media_type)
        else msgspec.structs.replace(work.blob, media_type=mediatype.DOCKER_LAYER)
        for work in works
    )
    return Manifest(
        schema_version=2,
        media_type=mediatype.DOCKER_MANIFEST,
        config=Descriptor(mediatype.DOCKER_CONFIG, image_id, config_size),
        layers=layers,
    ).encode()


def _references(names: Sequence[str]) -> tuple[Reference, ...]:
    found = []
    for name in names:
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
