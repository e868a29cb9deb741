"""Pushing: blobs that the registry lacks, then manifests, byte for byte as they are stored: digests stay.

What is sent is what the name meant when the sending began, whatever becomes of the name or the image meanwhile. A blob
is skipped when the repository has it, mounted when another repository of the registry is known to have it, else
uploaded from the content store: once, however many pushes into the repository need it. An index goes whole when all it
lists is here; otherwise the image's own manifest, as where a pull fetched no layers because they were here, compressed
otherwise.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec

from rundlet.errors import InvalidParameterError, NoSuchImageError, NotFoundError
from rundlet.image.compressing import LayerCompressor
from rundlet.image.errors import (
    MissingBlobError,
    NoLocalImageError,
    NoMatchingManifestError,
    NoSuchTagError,
    TagWithAllTagsError,
)
from rundlet.image.holding import hold_image
from rundlet.image.leases import Lease, Leases
from rundlet.image.parallel import all_or_none
from rundlet.image.records import Image, OnProgress, Progress, ignore_progress
from rundlet.image.store import SMALL, ImageStore
from rundlet.oci.config import SIZE_LIMIT as CONFIG_LIMIT
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT, Index, Manifest, decode_any
from rundlet.oci.mediatype import is_index
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Registry, RepositoryPusher

PARALLEL = 5
"""Blobs of one push that are on their way at once (Docker's max-concurrent-uploads)."""
INTERVAL = 0.1


class PushResult(msgspec.Struct, frozen=True):
    """One tag that was pushed, and what the registry holds under it now."""

    reference: Reference
    image: Image
    descriptor: Descriptor


class PushByDigestError(InvalidParameterError):
    reason = "push-by-digest"

    def __init__(self) -> None:
        super().__init__("cannot push a digest reference")


class NothingForPlatformError(NotFoundError):
    reason = "no-platform-to-push"

    def __init__(self, reference: str, platform: str) -> None:
        super().__init__(f"image with reference {reference} was found but does not provide the platform ({platform})")


class _Blob(msgspec.Struct, frozen=True):
    """``shown`` is the short name of a layer in the progress, "" for what is pushed silently."""

    descriptor: Descriptor
    shown: str


class _Plan(msgspec.Struct, frozen=True):
    """What to push: blobs, manifests by digest, and at last ``top`` under the tag."""

    blobs: tuple[_Blob, ...]
    manifests: tuple[Descriptor, ...]
    top: Descriptor


class _Say(Protocol):
    """Tells the progress of one layer."""

    def __call__(self, status: str, current: int = 0, total: int = 0) -> None: ...


class Pusher:
    """Made by the wiring."""

    def __init__(
        self,
        store: ImageStore,
        registry: Registry,
        leases: Leases,
        compressor: LayerCompressor,
        parallel: int = PARALLEL,
    ) -> None:
        self._parallel = parallel
        self._compressor = compressor
        self._store = store
        self._content = store.content
        self._registry = registry
        self._leases = leases
        self._turns: WeakValueDictionary[tuple[str, Digest], asyncio.Lock] = WeakValueDictionary()

    def limit(self, parallel: int) -> None:
        """For pushes that begin from now on."""
        self._parallel = parallel

    async def push(
        self,
        reference: Reference,
        *,
        credentials: Credentials | None = None,
        all_tags: bool = False,
        platform: str = "",
        progress: OnProgress,
    ) -> list[PushResult]:
        """Push a tag (``latest`` by default), or every tag of the repository that is here.

        Raises NoLocalImageError, NoSuchTagError, MissingBlobError and the errors of ``registry``.
        """
        if reference.digest is not None:
            raise PushByDigestError
        if all_tags and reference.tag is not None:
            raise TagWithAllTagsError
        if platform:
            Platform.parse(platform)  # said before anything else is: an error then is the whole answer
        progress(Progress(f"The push refers to repository [{reference.name}]"))
        tagged = self._store.repository(reference)
        if not tagged:
            raise NoLocalImageError(reference.familiar_name)
        if not all_tags:
            tagged = [reference.with_default_tag()]
        pusher = self._registry.pusher(reference, credentials)
        return [await self._one(pusher, tag, platform, progress) for tag in tagged]

    async def prepare(self, image: Image) -> Image:
        """``image`` as a push of it would leave it: see ``compressing``. Not to be called under a lease on it."""
        return await self._compressor.compressed(image, ignore_progress)

    async def push_content(
        self, reference: Reference, image: Image, target: Descriptor, *, credentials: Credentials | None = None
    ) -> None:
        """Push ``target``, a manifest of ``image`` or an index that has it; with a tag only if ``reference`` has one.

        What the name means here counts for nothing, and stays as it is. Raises NoSuchImageError, MissingBlobError and
        the errors of ``registry``.
        """
        pusher = self._registry.pusher(reference, credentials)
        async with self._leases.lease() as lease:
            await lease.hold(target.digest)
            image = (await hold_image(self._store, lease, image.id)).image
            plan = await self._planned(reference, image, target, "", lease)
            await self._send_blobs(pusher, reference, plan.blobs, ignore_progress)
            for descriptor, tag in (*((each, None) for each in plan.manifests), (plan.top, reference.tag)):
                data = await self._store.document(descriptor.digest, SIZE_LIMIT)
                await pusher.put_manifest(data, descriptor, tag)

    async def _one(
        self, pusher: RepositoryPusher, reference: Reference, platform: str, progress: OnProgress
    ) -> PushResult:
        image, target = self._meant(reference)
        if not is_index(target.media_type):
            await self._compressor.compressed(image, progress)
        async with self._leases.lease() as lease:
            image, target = await self._held(reference, lease)
            plan = await self._planned(reference, image, target, platform, lease)
            try:
                await self._send_blobs(pusher, reference, plan.blobs, progress)
            except MissingBlobError:
                if plan.top.digest == image.manifest.digest or is_index(target.media_type):
                    raise
                # It was pulled when its layers were here already, compressed otherwise: those are sent.
                plan = await asyncio.to_thread(self._own, image)
                await self._send_blobs(pusher, reference, plan.blobs, progress)
            for descriptor in plan.manifests:
                data = await self._store.document(descriptor.digest, SIZE_LIMIT)
                await pusher.put_manifest(data, descriptor, None)
            data = await self._store.document(plan.top.digest, SIZE_LIMIT)
            await pusher.put_manifest(data, plan.top, reference.tag)
            self._store.add_digest(image, reference.with_digest(plan.top.digest))
        tag, digest, size = reference.tag, str(plan.top.digest), len(data)
        if is_index(target.media_type) and target.digest != plan.top.digest and not platform:
            progress(Progress("", aux=_instead(target, plan.top)))
        progress(Progress(f"{tag}: digest: {digest} size: {size}"))
        progress(Progress("", aux={"Tag": tag, "Digest": digest, "Size": size}))
        return PushResult(reference, image, plan.top)

    def _meant(self, reference: Reference) -> tuple[Image, Descriptor]:
        """Raises NoSuchTagError."""
        with self._store.database.reading():
            target = self._store.target(reference)
            if target is None:
                raise NoSuchTagError(reference.familiar)
            return self._store.get(reference.canonical), target

    async def _held(self, reference: Reference, lease: Lease) -> tuple[Image, Descriptor]:
        """What ``reference`` means, with all of it held: until then it may become something else."""
        while True:
            image, target = self._meant(reference)
            await lease.hold(target.digest)
            try:
                whole = await hold_image(self._store, lease, image.id)
            except NoSuchImageError:
                continue  # its names have gone, too
            image, now = self._meant(reference)
            if (image.id, image.manifest, now) == (whole.image.id, whole.image.manifest, target):
                return image, target

    # ── what to push ─────────────────────────────────────────────────────────────────────────────────────────

    async def _planned(
        self, reference: Reference, image: Image, target: Descriptor, platform: str, lease: Lease
    ) -> _Plan:
        """What to push, with all of it held: an index may have what other images brought, which may be removed."""
        while True:
            plan = await self._looked(reference, image, target, platform)
            wanted = (*(blob.descriptor for blob in plan.blobs), *plan.manifests, plan.top)
            missing = [descriptor.digest for descriptor in wanted if not lease.holds(descriptor.digest)]
            if not missing:
                return plan
            await lease.hold(*missing)

    async def _looked(self, reference: Reference, image: Image, target: Descriptor, platform: str) -> _Plan:
        """In a thread where there is much to read: an index, or a long document."""
        documents = (target.digest, image.id)
        if not is_index(target.media_type) and all(self._content.size(each) <= SMALL for each in documents):
            return self._plan(reference, image, target, platform)
        return await asyncio.to_thread(self._plan, reference, image, target, platform)

    def _plan(self, reference: Reference, image: Image, target: Descriptor, platform: str) -> _Plan:
        document = self._document(target)
        if isinstance(document, Manifest):
            if platform and not Platform.parse(platform).suits(image.platform):
                raise NothingForPlatformError(reference.familiar, platform)
            return _Plan(self._blobs(document), (), target)
        if platform:
            chosen = document.choose(Platform.parse(platform))
            if chosen is None:
                raise NoMatchingManifestError(platform)
            manifest = self._document(chosen) if self._content.has(chosen.digest) else None
            if not isinstance(manifest, Manifest):
                raise NothingForPlatformError(reference.familiar, platform)
            return _Plan(self._blobs(manifest), (), _bare(chosen))
        whole = self._whole(document)
        if whole is not None:
            return msgspec.structs.replace(whole, top=target)
        return self._own(image)

    def _own(self, image: Image) -> _Plan:
        """The image by the manifest that it was first made or pulled with: what that lists is here."""
        manifest = self._document(image.manifest)
        assert isinstance(manifest, Manifest)
        return _Plan(self._blobs(manifest), (), image.manifest)

    def _whole(self, index: Index) -> _Plan | None:
        """All of an index, when every manifest and blob of it is here."""
        blobs: list[_Blob] = []
        manifests: list[Descriptor] = []
        for child in index.manifests or ():
            if not self._content.has(child.digest):
                return None
            document = self._document(child)
            if isinstance(document, Index):
                return None
            if not all(self._content.has(d.digest) for d in (document.config, *document.layers)):
                return None
            blobs += [blob for blob in self._blobs(document) if blob not in blobs]
            manifests.append(_bare(child))
        return _Plan(tuple(blobs), tuple(manifests), manifests[0]) if manifests else None

    def _document(self, descriptor: Descriptor) -> Manifest | Index:
        return decode_any(self._content.read(descriptor.digest, SIZE_LIMIT), descriptor.media_type)

    def _blobs(self, manifest: Manifest) -> tuple[_Blob, ...]:
        """Layers, top first as Docker shows them (by diff ID), and the config."""
        diff_ids = ImageConfig.decode(self._content.read(manifest.config.digest, CONFIG_LIMIT)).diff_ids
        names = [diff_id.short for diff_id in diff_ids]
        if len(names) != len(manifest.layers):
            names = [layer.digest.short for layer in manifest.layers]
        layers = [_Blob(_bare(layer), name) for layer, name in zip(manifest.layers, names, strict=True)]
        return (*reversed(layers), _Blob(_bare(manifest.config), ""))

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_blobs(
        self, pusher: RepositoryPusher, reference: Reference, blobs: Sequence[_Blob], progress: OnProgress
    ) -> None:
        for blob in blobs:
            if blob.shown:
                progress(Progress("Preparing", blob.shown))
        slots = asyncio.Semaphore(self._parallel)
        # A layer that is in the image twice is sent once.
        unique = {blob.descriptor.digest: blob for blob in blobs}
        await all_or_none(self._send_blob(slots, pusher, reference, blob, progress) for blob in unique.values())

    async def _send_blob(
        self,
        slots: asyncio.Semaphore,
        pusher: RepositoryPusher,
        reference: Reference,
        blob: _Blob,
        progress: OnProgress,
    ) -> None:
        def say(status: str, current: int = 0, total: int = 0) -> None:
            if blob.shown:
                progress(Progress(status, blob.shown, current, total))

        turn = self._turns.setdefault((reference.name, blob.descriptor.digest), asyncio.Lock())
        if slots.locked() or turn.locked():
            say("Waiting")
        async with slots:
            # Of two uploads of one blob one would be for nothing; and a registry that stores the second may at that
            # moment not find the blob for the first one's manifest.
            waited = turn.locked()
            async with turn:
                await self._place(pusher, reference, blob.descriptor, say, expected=waited)

    async def _place(
        self, pusher: RepositoryPusher, reference: Reference, blob: Descriptor, say: _Say, *, expected: bool
    ) -> None:
        """See that the repository has ``blob``; ``expected``: another push has just seen to it, if it went well."""
        digest, size = blob.digest, blob.size
        holders = self._store.holders(digest, reference.domain)
        others = [path for path in holders if path != reference.path][:1]
        # Where it can only be mounted that is asked for first: it does no harm when the blob is there after all.
        asked = expected or not others or reference.path in holders
        if asked and await pusher.has_blob(digest):
            say("Layer already exists")
            return
        upload = None
        for path in others:
            upload = await pusher.mount(digest, path)
            if upload is not None and upload.mounted:
                say(f"Mounted from {path}")
                return
        if not asked and await pusher.has_blob(digest):
            if upload is not None:
                await pusher.cancel(upload)
            say("Layer already exists")
            return
        if not await asyncio.to_thread(self._content.has, digest):
            raise MissingBlobError(digest)
        reported = 0.0

        def sent(count: int) -> None:
            nonlocal reported
            now = asyncio.get_running_loop().time()
            if now - reported >= INTERVAL:
                reported = now
                say("Pushing", count, size)

        await pusher.upload(digest, size, _Reader(self._store, digest), upload or await pusher.begin(), sent)
        say("Pushed")


class _Reader:
    """A blob of the content store, as ``registry`` wants to read it."""

    def __init__(self, store: ImageStore, digest: Digest) -> None:
        self._store = store
        self._digest = digest

    async def __call__(self, offset: int) -> AsyncGenerator[bytes, None]:
        chunks = self._store.content.chunks(self._digest, offset)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk


def _instead(index: Descriptor, manifest: Descriptor) -> dict[str, object]:
    """What the docker CLI turns into a note: the other platforms are not here, so this one alone was pushed."""

    def wire(descriptor: Descriptor) -> dict[str, object]:
        return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}

    return {"manifestPushedInsteadOfIndex": True, "originalIndex": wire(index), "selectedManifest": wire(manifest)}


def _bare(descriptor: Descriptor) -> Descriptor:
    """Type, digest and size only."""
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
