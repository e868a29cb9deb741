"""``load``: archives of Docker (all its formats), podman, skopeo and Rundlet, and OCI layouts, plain or compressed.

Everything goes into the content store, verified by what names it, and layers are unpacked while they pass; then images
are made of it like pulled ones. What no image needs in the end is deleted again.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.image.ahead import Ahead
from rundlet.image.archive import ArchiveError
from rundlet.image.contents import FoundImage, found_images
from rundlet.image.garbage import Garbage
from rundlet.image.history import stands_on
from rundlet.image.layers import INTERVAL, LayerImporter, LayerWork
from rundlet.image.leases import Lease, Leases
from rundlet.image.records import Image, Layer, NewImage, OnProgress, Progress
from rundlet.image.store import ImageStore
from rundlet.image.times import created_ns
from rundlet.image.unarchive import Parts, Unarchiver
from rundlet.oci import mediatype
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import chain_ids
from rundlet.oci.manifest import Manifest
from rundlet.oci.platform import HOST_SYSTEM
from rundlet.oci.reference import Reference
from rundlet.storage.content import ContentStore
from rundlet.storage.feed import Source, run_fed, shielded
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.tasks import settled


class Loaded(msgspec.Struct, frozen=True):
    """One image of the archive, with the names that it got."""

    image: Image
    names: tuple[Reference, ...]


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

    async def load(
        self, source: Source, *, platform: str = "", named: bool = True, progress: OnProgress
    ) -> list[Loaded]:
        """Load every image of the archive in ``source``.

        ``platform`` chooses from an index, the host's by default. What is not ``named`` gets none of the names that the
        archive has: what names mean here stays as it is. Raises ArchiveError, DigestMismatchError,
        LayerError, StorageError. Failed or cancelled it leaves no image that is not complete.
        """
        held: list[Digest] = []
        ahead = self._layers.ahead(self._store.layer_words())
        try:
            async with self._leases.lease(held) as lease:
                watch = _Watch(lease, progress)
                parts = Parts(partial(_keep, self._content, watch))
                await self._read(source, parts, ahead, watch)
                candidates = await settled(asyncio.to_thread(found_images, parts, self._content, platform))
                loaded = []
                for candidate in candidates:
                    names = candidate.names if named else ()
                    loaded.append(await self._make(candidate, names, lease, ahead, progress))
                await self._link(candidates)
        finally:
            await shielded(self._tidy(ahead, held))
        return loaded

    async def _link(self, candidates: Sequence[FoundImage]) -> None:
        """Record which images of the archive were made from which. Raises ArchiveError for a link that can't be."""
        by_id = {str(candidate.id): candidate for candidate in candidates}
        for candidate in candidates:
            parent = by_id.get(candidate.parent)
            if parent is None or parent.id == candidate.id:
                continue  # it says nothing, or the other did not come along
            if not stands_on(ImageConfig.decode(candidate.config), ImageConfig.decode(parent.config)):
                raise ArchiveError(f"image {candidate.parent} is not a valid parent for {candidate.id}")
            await self._store.adopt(candidate.id, parent.id)

    async def _tidy(self, ahead: Ahead, held: Sequence[Digest]) -> None:
        await ahead.close()
        await self._garbage.release(held[::-1], held)

    async def _read(self, source: Source, parts: Parts, ahead: Ahead, watch: "_Watch") -> None:
        unarchiver = Unarchiver(self._content, parts, ahead, watch, self._snapshots.layer_limit)

        def stop() -> None:
            unarchiver.stop()
            ahead.stop()

        await run_fed(source, unarchiver.read, stop)
        await ahead.finish()

    # ── making images ────────────────────────────────────────────────────────────────────────────────────────

    async def _make(
        self, candidate: FoundImage, names: tuple[Reference, ...], lease: Lease, ahead: Ahead, progress: OnProgress
    ) -> Loaded:
        config = _config(candidate)
        works = await self._works(candidate, config, lease, ahead)
        image_id = candidate.id
        manifest = candidate.manifest or _manifest(image_id, len(candidate.config), works)
        descriptor = candidate.described or Descriptor.of(mediatype.DOCKER_MANIFEST, manifest)
        await lease.hold(image_id, descriptor.digest, *(work.chain for work in works))
        for digest, document in ((image_id, candidate.config), (descriptor.digest, manifest)):
            await settled(asyncio.to_thread(self._content.write, document, digest))
        for work in works:
            proven = work.diff_id in (work.blob.digest, ahead.diff_id(work.blob.digest))
            if self._snapshots.has_layer(work.chain) or not (
                proven and await ahead.place(work.chain, work.parent, work.diff_id)
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
            blobs=(image_id, descriptor.digest, *candidate.besides),
        )
        previous = self._current(names, image_id)
        # One that was here keeps the blobs that it has, and so its manifest.
        stored = await self._store.put(image, [(name, candidate.index) for name in names])
        _tell(progress, image_id, names, previous)
        return Loaded(stored.image, names)

    async def _works(self, candidate: FoundImage, config: ImageConfig, reading: Lease, ahead: Ahead) -> list[LayerWork]:
        """What makes each layer, bottom first. Raises ArchiveError, DigestMismatchError."""
        works: list[LayerWork] = []
        parent: Digest | None = None
        for found, diff_id, chain in zip(candidate.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True):
            if isinstance(found, str):
                blob = await self._here(chain, reading)
                if blob is None:
                    raise ArchiveError(f"invalid archive: {found} is missing")
            else:
                blob = await self._checked(found, diff_id, chain, candidate, reading, ahead)
            works.append(LayerWork(chain, parent, diff_id, Descriptor(blob.media_type, blob.digest, blob.size)))
            parent = chain
        return works

    async def _checked(
        self, found: Descriptor, diff_id: Digest, chain: Digest, candidate: FoundImage, reading: Lease, ahead: Ahead
    ) -> Descriptor:
        """The blob of a layer, which is what the config says: one that is here already is not unpacked again, so that
        nothing else would notice when the archive has another in its place. Raises DigestMismatchError."""
        plain = ahead.diff_id(found.digest)
        if diff_id in (found.digest, plain) or self._store.is_layer(found.digest, diff_id):
            return found
        if candidate.manifest is None:
            # Docker takes its own, too, and does not look into the archive's.
            return await self._here(chain, reading) or found
        if self._snapshots.has_layer(chain):
            raise DigestMismatchError(str(diff_id), str(plain or found.digest))
        return found

    async def _here(self, chain: Digest, lease: Lease) -> Descriptor | None:
        """The blob of a layer as an image here has it, held. Tools that make an image out of one that is here leave out
        what need not travel, and Docker looks among its own layers first."""
        await lease.hold(chain)
        layer = self._store.layer(chain)
        if layer is not None:
            await lease.hold(layer.blob.digest)
            layer = self._store.layer(chain)  # it may have gone, and come back as another blob, before it was held
        return layer.blob if layer is not None and lease.holds(layer.blob.digest) else None

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


def _keep(content: ContentStore, watch: _Watch, digest: Digest, data: bytes) -> None:
    watch.hold(digest)
    content.write(data, digest)


def _config(candidate: FoundImage) -> ImageConfig:
    """Raises ArchiveError; what a config that is none raises."""
    if len(candidate.config) > SIZE_LIMIT:
        raise ArchiveError("invalid archive: an image's config is larger than any")
    config = ImageConfig.decode(candidate.config)
    if config.platform.os != HOST_SYSTEM:
        raise ArchiveError(f"cannot load {config.platform.os} image on {HOST_SYSTEM}")
    if len(config.diff_ids) != len(candidate.layers):
        raise ArchiveError(
            f"invalid manifest, layers length mismatch: expected {len(config.diff_ids)}, got {len(candidate.layers)}"
        )
    return config


def _tell(
    progress: OnProgress, image_id: Digest, names: Sequence[Reference], previous: Sequence[tuple[Reference, Digest]]
) -> None:
    for name, old in previous:
        text = f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string"
        progress(Progress(text))
    for name in names:
        progress(Progress(f"Loaded image: {name.familiar}"))
    if not names:
        progress(Progress(f"Loaded image ID: {image_id}"))


def _loading(work: LayerWork, progress: OnProgress) -> OnProgress:
    """A layer's states as ``load`` shows them."""

    def report(step: Progress) -> None:
        if step.status == "Extracting":
            progress(Progress("Loading layer", work.diff_id.short, step.current, step.total))

    return report


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
