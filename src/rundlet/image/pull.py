"""Pulling: name → manifest → config → missing layers → one row. Only what is missing is fetched.

Everything that arrives is verified by digest and size before it is used; nothing is recorded before all of it is there.
Cancelling leaves finished layers, until the engine's next start, and the beginnings of others, which the next pull goes
on with for a day; killing the engine leaves these, and neither leaves an image.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from rundlet.errors import DigestMismatchError, NoSuchImageError, NotFoundError, RundletError
from rundlet.image.errors import (
    BrokenImageError,
    ForeignLayerError,
    NoMatchingManifestError,
    NotAnImageError,
    OtherSystemError,
    PlatformMismatchError,
    TagWithAllTagsError,
    TooDeepError,
)
from rundlet.image.garbage import Garbage
from rundlet.image.layers import LayerImporter, LayerWork
from rundlet.image.leases import Lease, Leases
from rundlet.image.parallel import all_or_none
from rundlet.image.records import Image, Layer, NewImage, OnProgress, Progress
from rundlet.image.store import SMALL, ImageStore
from rundlet.image.times import created_ns
from rundlet.oci import mediatype
from rundlet.oci.config import SIZE_LIMIT, ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import chain_ids
from rundlet.oci.manifest import SIZE_LIMIT as MANIFEST_LIMIT
from rundlet.oci.manifest import Index, Manifest, decode_any
from rundlet.oci.platform import HOST_SYSTEM, Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Fetcher, Registry, RegistryError, RegistryUnreachableError
from rundlet.storage.content import ContentStore
from rundlet.storage.snapshot import Snapshotter
from rundlet.transport import TransportError
from rundlet.transport.auth import AuthenticationError
from rundlet.util.tasks import settled

INDEX_DEPTH = 3

_ELSEWHERE = (
    TransportError,
    RegistryError,
    RegistryUnreachableError,
    AuthenticationError,
    NotFoundError,
    DigestMismatchError,
)
"""What may be another's fault than the registry's: a mirror's, which said what the tag means."""


class PullResult(msgspec.Struct, frozen=True):
    """One reference that was pulled. ``target`` is what it points at in the registry, ``previous`` the image that lost
    the tag, ``changed`` whether anything did."""

    reference: Reference
    image: Image
    target: Descriptor
    changed: bool
    previous: Digest | None = None

    @property
    def digest(self) -> Digest:
        return self.target.digest


class _Found(msgspec.Struct, frozen=True):
    """The chosen manifest and all that led to it."""

    target: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    blobs: tuple[Digest, ...]


class Gate(Protocol):
    """Decides what a reference stands for, and whether it may be pulled."""

    async def resolve(self, fetcher: Fetcher, reference: Reference, credentials: Credentials | None) -> Descriptor: ...


class OpenGate:
    """Whatever the registry says."""

    async def resolve(self, fetcher: Fetcher, reference: Reference, credentials: Credentials | None) -> Descriptor:
        return await fetcher.resolve(reference)


class Puller:
    """Made by the wiring."""

    def __init__(
        self,
        store: ImageStore,
        snapshots: Snapshotter,
        layers: LayerImporter,
        registry: Registry,
        leases: Leases,
        garbage: Garbage,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate or OpenGate()
        self._store = store
        self._content: ContentStore = store.content
        self._snapshots = snapshots
        self._layers = layers
        self._registry = registry
        self._leases = leases
        self._garbage = garbage

    async def pull(
        self,
        reference: Reference,
        *,
        platform: str = "",
        credentials: Credentials | None = None,
        all_tags: bool = False,
        named: bool = True,
        progress: OnProgress,
    ) -> list[PullResult]:
        """Bring in ``reference`` (``latest`` by default), or every tag of its repository.

        ``platform`` is a specifier such as ``linux/arm64/v8``, empty for the host's. What is not ``named`` is known by
        its manifest's digest alone: what names mean here stays as it is. ``progress`` gets the lines that Docker
        prints. Raises the errors of ``registry.errors``, NoMatchingManifestError, NotAnImageError,
        ForeignLayerError, BrokenImageError, DigestMismatchError, StorageError, LayerError.
        """
        fetcher = self._registry.fetcher(reference, credentials)
        if not all_tags:
            meant = reference if reference.digest else reference.with_default_tag()
            result = await self._one(fetcher, meant, credentials, platform, progress, named=named)
            _say_status(progress, meant, changed=result.changed)
            return [result]
        if not reference.name_only:
            raise TagWithAllTagsError
        tags = await fetcher.tags()
        results = [await self._one(fetcher, reference.with_tag(tag), credentials, platform, progress) for tag in tags]
        _say_status(progress, reference, changed=any(result.changed for result in results))
        return results

    async def _one(
        self,
        fetcher: Fetcher,
        reference: Reference,
        credentials: Credentials | None,
        platform: str,
        progress: OnProgress,
        *,
        named: bool = True,
    ) -> PullResult:
        wanted = Platform.parse(platform) if platform else Platform.host()
        held: list[Digest] = []
        try:
            shown = platform or str(wanted)
            while True:
                try:
                    result, config = await self._all(
                        fetcher, reference, credentials, wanted, shown, held, progress, named=named
                    )
                    break
                except _ELSEWHERE as exc:
                    if not fetcher.doubt(reference, exc):
                        raise
        except (TransportError, RegistryError, RegistryUnreachableError, AuthenticationError):
            raise  # what is here is good, and the next try goes on with it
        except RundletError:
            await self._garbage.release(held[::-1], held)
            raise
        progress(Progress(f"Digest: {result.digest}"))
        if platform and not wanted.suits(config.platform):
            mismatch = PlatformMismatchError(reference.familiar, wanted, config.platform)
            progress(Progress(f"WARNING: {mismatch}"))
        return result

    async def _all(
        self,
        fetcher: Fetcher,
        reference: Reference,
        credentials: Credentials | None,
        wanted: Platform,
        shown: str,
        held: list[Digest],
        progress: OnProgress,
        *,
        named: bool,
    ) -> tuple[PullResult, ImageConfig]:
        """Everything of one reference; ``held`` gets the digests of what was brought in for it."""
        async with self._leases.lease(held) as lease:
            target = await self._gate.resolve(fetcher, reference, credentials)
            # Said only now: an error before it becomes the whole answer, with its own status.
            label = f"{reference.name}@{reference.digest}" if reference.digest else reference.tag or ""
            progress(Progress(f"Pulling from {reference.path}", label))
            found = await self._find(fetcher, target, wanted, shown, lease)
            config = await self._config(fetcher, found.manifest, lease)
            if config.platform.os != HOST_SYSTEM:
                raise OtherSystemError(config.platform.os)
            works = _works(found.manifest, config)
            await lease.hold(*(work.chain for work in works), *(work.blob.digest for work in works))
            known = self._store.find(found.manifest.config.digest) is not None
            if known and all(self._snapshots.has_layer(work.chain) for work in works[-1:]):
                # Its blobs need not be those of this manifest: when it is removed just now, these are still to come.
                with suppress(NoSuchImageError):
                    return await self._record(reference, found, config, works, named=named, new=False), config
            await self._bring(works, fetcher, progress)
            return await self._record(reference, found, config, works, named=named), config

    # ── manifest and config ──────────────────────────────────────────────────────────────────────────────────

    async def _find(self, fetcher: Fetcher, target: Descriptor, wanted: Platform, shown: str, lease: Lease) -> _Found:
        descriptor, blobs = target, []
        for depth in range(INDEX_DEPTH):
            await lease.hold(descriptor.digest)
            descriptor, data = await self._document(fetcher, descriptor)
            blobs.append(descriptor.digest)
            if not depth:
                target = descriptor
            document = decode_any(data, descriptor.media_type)
            if isinstance(document, Manifest):
                return _Found(target, descriptor, document, tuple(blobs))
            descriptor = _choose(document, wanted, shown)
        raise TooDeepError

    async def _document(self, fetcher: Fetcher, descriptor: Descriptor) -> tuple[Descriptor, bytes]:
        """A manifest or index: from the content store, else from the registry into it."""
        if self._content.has(descriptor.digest):
            data = await self._store.document(descriptor.digest, MANIFEST_LIMIT)
            return msgspec.structs.replace(descriptor, size=len(data)), data
        found, data = await fetcher.manifest(descriptor)
        await settled(asyncio.to_thread(self._content.write, data, found.digest))
        return found, data

    async def _config(self, fetcher: Fetcher, manifest: Manifest, lease: Lease) -> ImageConfig:
        descriptor = manifest.config
        if descriptor.media_type not in mediatype.CONFIGS:
            raise NotAnImageError(descriptor.media_type)
        await lease.hold(descriptor.digest)
        if self._content.has(descriptor.digest):
            if self._content.size(descriptor.digest) <= SMALL:
                return self._store.config(descriptor.digest)
            return await asyncio.to_thread(self._store.config, descriptor.digest)
        data = await fetcher.small(descriptor, SIZE_LIMIT)
        await settled(asyncio.to_thread(self._content.write, data, descriptor.digest))
        return await asyncio.to_thread(ImageConfig.decode, data)

    # ── layers and record ────────────────────────────────────────────────────────────────────────────────────

    async def _bring(self, works: Sequence[LayerWork], fetcher: Fetcher, progress: OnProgress) -> None:
        await all_or_none(self._layers.ensure(work, fetcher, progress) for work in works)

    async def _record(
        self,
        reference: Reference,
        found: _Found,
        config: ImageConfig,
        works: Sequence[LayerWork],
        *,
        named: bool,
        new: bool = True,
    ) -> PullResult:
        image_id = found.manifest.config.digest
        layers = tuple(
            Layer(work.diff_id, work.chain, self._snapshots.layer(work.chain).size, work.blob) for work in works
        )
        section = config.config
        image = NewImage(
            id=image_id,
            manifest=found.descriptor,
            created=config.created or "",
            created_ns=created_ns(config.created),
            platform=config.platform,
            labels=dict(section.labels or {}) if section else {},
            layers=layers,
            blobs=(*found.blobs, image_id),
        )
        # Of an index only one platform's image can have the digest as its name: another one has its manifest's.
        canonical = reference.with_digest((found.target if named else found.descriptor).digest)
        names = [reference, canonical] if named and not reference.digest else [canonical]
        before = self._known(names[0])
        stored = await self._store.put(image, [(name, found.target) for name in names], new=new)
        return PullResult(reference, stored.image, found.target, before != image_id, stored.previous)

    def _known(self, reference: Reference) -> Digest | None:
        try:
            return self._store.get(reference.canonical).id
        except RundletError:
            return None


def _choose(index: Index, wanted: Platform, shown: str) -> Descriptor:
    chosen = index.choose(wanted)
    if chosen is None:
        raise NoMatchingManifestError(shown)
    if not (mediatype.is_manifest(chosen.media_type) or mediatype.is_index(chosen.media_type)):
        raise NotAnImageError(chosen.media_type)
    return chosen


def _works(manifest: Manifest, config: ImageConfig) -> list[LayerWork]:
    """The layers that manifest and config agree on. Raises for what is no image, or would come from elsewhere."""
    for layer in manifest.layers:
        if not mediatype.is_layer(layer.media_type):
            raise NotAnImageError(layer.media_type)
        if mediatype.is_foreign_layer(layer.media_type):
            raise ForeignLayerError(layer.digest)
    if len(manifest.layers) != len(config.diff_ids):
        raise BrokenImageError(f"{len(manifest.layers)} layers in the manifest, {len(config.diff_ids)} in the config")
    chains = chain_ids(config.diff_ids)
    parents = (None, *chains)[: len(chains)]  # an image may have no layers
    return [
        LayerWork(chain, parent, diff_id, msgspec.structs.replace(blob, urls=None, annotations=None, data=None))
        for chain, parent, diff_id, blob in zip(chains, parents, config.diff_ids, manifest.layers, strict=True)
    ]


def _say_status(progress: OnProgress, reference: Reference, *, changed: bool) -> None:
    what = "Downloaded newer image for" if changed else "Image is up to date for"
    progress(Progress(f"Status: {what} {reference.familiar}"))
