"""``--cache-to`` and ``--cache-from``: images whose history and layers are the cache.

With ``mode=max`` it is an index (in a directory: an archive of several images) of the last images of all stages, the
build's own first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from rundlet.api.images import AuthConfig
from rundlet.builder.namedcontexts import IMAGE
from rundlet.builder.report import Reporter
from rundlet.builder.steps import CacheSource
from rundlet.engine.builds import indexes
from rundlet.engine.builds.bases import credentials_for
from rundlet.engine.builds.lendings import Lent
from rundlet.engine.builds.packing import Repacker
from rundlet.engine.builds.requests import LOCAL
from rundlet.engine.context import Context
from rundlet.errors import NoSuchImageError, NotFoundError, RundletError
from rundlet.image import variants
from rundlet.image.errors import NoMatchingManifestError
from rundlet.image.holding import hold_image
from rundlet.image.leases import Lease, Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller, PullResult
from rundlet.image.records import Image, Progress
from rundlet.image.removal import Remover
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT, Index, decode_any
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.storage.files.access import PickRequest, Source

LAYOUT: Final = "oci-layout:"
"""What a context is called that is an image in a directory that the client has sent."""


class CacheImporter:
    """Of one build, all its platforms: :meth:`find`, then :attr:`found`; at its end :meth:`forget`, before what it came
    to is named."""

    def __init__(
        self,
        context: Context,
        puller: Puller,
        loader: Loader,
        remover: Remover,
        lease: Lease,
        reporter: Reporter,
        lent: Lent,
        auth: Mapping[str, AuthConfig],
        platforms: Sequence[Platform],
        *,
        remote: bool,
    ) -> None:
        """``remote``: what isn't here is pulled."""
        self._platforms = platforms
        self._remote = remote
        self._context = context
        self._puller = puller
        self._loader = loader
        self._remover = remover
        self._lease = lease
        self._reporter = reporter
        self._lent = lent
        self._auth = auth
        self._brought: dict[Digest, Image] = {}
        """Images that were not here before."""
        self._noted: dict[Digest, list[Reference]] = {}
        """Names that images have got that were here."""
        self._settling = asyncio.Lock()
        self._layouts: dict[str, list[Image]] = {}
        self.found: list[CacheSource] = []

    async def find(self, names: Sequence[str]) -> None:
        """What ``names`` have; one that can't be had is no error, as in Docker."""
        for name in names:
            try:
                images = await self._images(name)
            except RundletError as exc:
                self._reporter.warning(f"[Warning] cache source {name}: {exc}")
                continue
            for image in images:
                try:
                    whole = await hold_image(self._context.images, self._lease, image.id)
                except NoSuchImageError:
                    continue  # somebody has just removed it
                config = self._context.images.config(image.id)
                history = tuple(config.history or ())
                self.found.append(CacheSource(whole.image, history, tuple(whole.layers), config.steps or {}))

    async def settled(self, contexts: Mapping[str, str], platform: Platform) -> dict[str, str]:
        """``contexts`` with what lies in an OCI layout of the client's as an image that is here. Raises NotFoundError
        and what loading raises."""
        found = dict(contexts)
        for name, value in contexts.items():
            if value.startswith(LAYOUT):
                async with self._settling:
                    if value not in self._layouts:
                        self._layouts[value] = await self._loaded(value.removeprefix(LAYOUT))
                images = self._layouts[value]
                fitting = [image for image in images if platform.matches(image.platform)] or images
                found[name] = f"{IMAGE}{fitting[0].id}"
        return found

    async def forget(self, results: Collection[Digest]) -> None:
        """Remove what came only to be looked at; of what is among the ``results``, or below one of them, its names."""
        kept = dict(self._noted)
        for image in self._brought.values():
            try:
                if image.id not in results:
                    # One that got a name meanwhile has become somebody's.
                    await self._remover.remove(str(image.id), prune=False, still=image)
                    continue
            except RundletError:
                pass  # another image stands on it
            kept[image.id] = [*kept.get(image.id, ()), *image.digests]
        for identifier, names in kept.items():
            await self._context.images.untag(names, still=identifier)

    async def _images(self, name: str) -> list[Image]:
        """Raises NotFoundError, and what loading and pulling raise."""
        if name.startswith(LOCAL):
            return await self._loaded(name)
        try:
            self._context.images.get(name)
        except NotFoundError:
            return await self._pulled(Reference.parse(name)) if self._remote else []
        found = []
        for platform in self._platforms:
            with suppress(NotFoundError):
                found.append(variants.choose(self._context.images, name, str(platform)))
        return list({image.id: image for image in found}.values()) or [self._context.images.get(name)]

    async def _loaded(self, name: str) -> list[Image]:
        lent = self._lent.contexts.get(name.removeprefix(LOCAL))
        if lent is None:
            raise NotFoundError("the directory was not sent")
        known = {image.id for image in self._context.images.images()}
        access = lent.read_directory(lent.context)
        try:
            await access.pick(PickRequest(sources=[Source(())]))
            loaded = await self._loader.load(access.chunks(), named=False, progress=_ignore)
        finally:
            await access.close()
        if not loaded:
            raise NotFoundError("there is no image in the directory")
        self._brought |= {one.image.id: one.image for one in loaded if one.image.id not in known}
        return list({one.image.id: one.image for one in loaded}.values())

    async def _pulled(self, reference: Reference) -> list[Image]:
        """All that the registry has under the name for the build's platforms. Raises what pulling raises."""
        found: list[Image] = []
        for platform in self._platforms:
            try:
                main = await self._unnamed(reference, platform)
            except NoMatchingManifestError:
                if platform == self._platforms[-1] and not found:
                    raise
                continue
            found.append(main.image)
            for entry in await self._beside(main.target, main.image):
                found.append((await self._unnamed(reference.with_digest(entry), platform)).image)
        return list({image.id: image for image in found}.values())

    async def _unnamed(self, reference: Reference, platform: Platform) -> PullResult:
        """``reference``, without its name: it is only looked at."""
        known = {image.id: image.digests for image in self._context.images.images()}
        credentials = credentials_for(self._auth, reference)
        pulled = await self._puller.pull(
            reference, platform=str(platform), credentials=credentials, named=False, progress=_ignore
        )
        image = pulled[0].image
        if image.id not in known:
            self._brought[image.id] = image
        else:
            new = [name for name in image.digests if name not in known[image.id]]
            self._noted[image.id] = [*self._noted.get(image.id, ()), *new]
        return pulled[0]

    async def _beside(self, target: Descriptor, image: Image) -> list[Digest]:
        """Digests of the other manifests for the platform of ``image`` in the index that is ``target``."""
        if target.digest == image.manifest.digest:
            return []
        content = self._context.images.content
        document = decode_any(await asyncio.to_thread(content.read, target.digest, SIZE_LIMIT), target.media_type)
        if not isinstance(document, Index):
            return []
        return [
            entry.digest
            for entry in document.manifests or ()
            if entry.digest != image.manifest.digest
            and entry.platform is not None
            and entry.platform.matches(image.platform)
        ]


class CacheExporter:
    """``push`` sends to a registry what is to have a name there, a manifest or an index of an image."""

    def __init__(
        self, context: Context, leases: Leases, push: Callable[[Reference, Image, Descriptor], Awaitable[None]]
    ) -> None:
        self._context = context
        self._leases = leases
        self._push = push

    async def export(self, image: Image, others: Sequence[Image], reference: Reference) -> None:
        """``image``, and with it ``others`` (mode=max). Here the name goes on meaning what it means."""
        async with self._leases.lease() as lease:
            target = image.manifest
            if others:
                maker = indexes.IndexMaker(self._context, lease, Repacker(self._context, lease, frozenset()))
                parts = [indexes.Part(one, one.manifest) for one in (image, *others)]
                target = await maker.finish(parts, indexes.Annotations())
            await self._push(reference, image, target)


def _ignore(progress: Progress) -> None:
    del progress
