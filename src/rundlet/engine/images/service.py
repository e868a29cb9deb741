"""Images: what the images router's backend asks, over the image room."""

import fnmatch
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from rundlet.api import jsonstream
from rundlet.api.anatomy import FileChange, LayerAnatomy
from rundlet.api.filters import Filters
from rundlet.api.images import (
    AuthConfig,
    ImageDeleted,
    ImageHistoryItem,
    ImageInspect,
    ImageInspectOptions,
    ImageListOptions,
    ImageRemoveOptions,
    ImageSearchResult,
    ImagesPruned,
    ImageSummary,
    ImportOptions,
    LoadOptions,
    ManifestSummary,
    PullOptions,
    PushOptions,
    SaveOptions,
    SearchOptions,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.streams import SentArchive
from rundlet.engine.context import Context
from rundlet.engine.images import anatomy, pruning, streams, views
from rundlet.engine.times import parse_earliest
from rundlet.errors import ConflictError, ForbiddenError, InvalidParameterError, NotFoundError, RundletError
from rundlet.image import history, variants
from rundlet.image.import_ import Importer, download
from rundlet.image.leases import Leases
from rundlet.image.load import Loader
from rundlet.image.naming import new_name
from rundlet.image.pull import Puller
from rundlet.image.push import Pusher
from rundlet.image.records import Image, OnProgress, Removal
from rundlet.image.removal import Remover
from rundlet.image.save import Saver
from rundlet.image.times import created_ns
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Registry
from rundlet.storage.feed import Source
from rundlet.transport import HttpClient

_NO_IMAGE: Final = "scratch"
"""Where Dockerfiles begin that begin with nothing."""


@dataclass(frozen=True, slots=True)
class ImageRooms:
    """The parts of the image room, made by the wiring."""

    puller: Puller
    pusher: Pusher
    importer: Importer
    remover: Remover
    saver: Saver
    loader: Loader
    leases: Leases
    http: HttpClient
    registry: Registry


class ImageService:
    """Implements the images router's backend."""

    def __init__(self, context: Context, rooms: ImageRooms) -> None:
        self._context = context
        self._rooms = rooms

    # -- reading ----------------------------------------------------------------------------------------------------

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        found = self.summaries(options)
        return [self._with_manifests(item) for item in found] if options.manifests else found

    def _with_manifests(self, item: ImageSummary) -> ImageSummary:
        shown = self._manifests((*item.repo_tags, item.id)[0])
        used = {user for summary in shown if summary.image_data for user in summary.image_data.containers}
        # The sum of what is listed below it, as in a store that keeps content and files: a tree shows both.
        size = sum(summary.size.total for summary in shown)
        return msgspec.structs.replace(item, manifests=shown, containers=len(used), size=size)

    def _manifests(self, ref: str) -> tuple[ManifestSummary, ...]:
        users: dict[str, list[str]] = {}
        for record in self._context.containers:
            users.setdefault(record.image_id, []).append(record.id)
        return tuple(
            views.manifest(variant, users.get(str(variant.image.id), ()) if variant.image is not None else ())
            for variant in variants.variants(self._context.images, ref)
        )

    def summaries(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Newest first, as the filters select."""
        store = self._context.images
        everything = store.images()
        parents = {image.parent for image in everything if image.parent is not None}
        found = _Selection(options.filters, self._context).apply(everything)
        shared = self._shared(everything) if options.shared_size else {}
        users = self._users()
        return [
            views.summary(
                image,
                containers=users.get(str(image.id), 0),
                shared=shared.get(str(image.id), 0) if options.shared_size else -1,
            )
            for image in found
            # An image without a name that others were built upon is an intermediate one.
            if options.all or not image.dangling or image.id not in parents
        ]

    async def inspect(self, ref: str, options: ImageInspectOptions) -> ImageInspect:
        image = variants.choose(self._context.images, ref, options.platform)
        store = self._context.images
        layers = store.layers(image.id)
        directories = [self._context.snapshots.layer(layer.chain).path for layer in reversed(layers)]
        driver = views.graph_driver(directories, self._context.snapshots.driver)
        answer = views.inspect(image, store.config(image.id), layers, driver)
        return msgspec.structs.replace(answer, manifests=self._manifests(ref)) if options.manifests else answer

    async def history(self, ref: str, platform: str) -> Sequence[ImageHistoryItem]:
        image = variants.choose(self._context.images, ref, platform)
        rows = history.history(self._context.images, image)
        return [
            ImageHistoryItem(
                comment=row.comment,
                created=created_ns(row.created) // 10**9,
                created_by=row.created_by,
                id=row.id,
                size=row.size,
                tags=row.tags or None,
            )
            for row in rows
        ]

    async def layers(self, ref: str, *, files: bool) -> Sequence[LayerAnatomy]:
        return await anatomy.layers(self._context, self._rooms.leases, ref, files=files)

    async def differences(self, ref: str, other: str) -> Sequence[FileChange]:
        return await anatomy.differences(self._context, self._rooms.leases, ref, other)

    # -- moving -----------------------------------------------------------------------------------------------------

    async def pull(self, options: PullOptions) -> AsyncIterator[JSONMessage]:
        reference = _joined(options.name, options.tag)
        if reference.familiar_name == _NO_IMAGE:
            raise ForbiddenError(f"'{_NO_IMAGE}' is a reserved name")
        credentials = _credentials(options.auth)
        if options.platform:
            Platform.parse(options.platform)

        async def work(progress: OnProgress) -> None:
            results = await self._rooms.puller.pull(
                reference,
                platform=options.platform,
                credentials=credentials,
                all_tags=options.all_tags or reference.name_only,
                progress=progress,
            )
            for result in results:
                name = result.reference.familiar
                self._publish("pull", name, result.reference.familiar_name)

        return streams.run(work)

    async def push(self, options: PushOptions) -> AsyncIterator[JSONMessage]:
        reference = Reference.parse(options.name)
        if options.tag:
            reference = reference.with_tag(options.tag)
        credentials = _credentials(options.auth)

        async def work(progress: OnProgress) -> None:
            await self._rooms.pusher.push(
                reference,
                all_tags=not options.tag and reference.tag is None,
                platform=options.platform,
                credentials=credentials,
                progress=progress,
            )
            self._publish("push", reference.familiar, reference.familiar_name)

        return streams.run(work)

    async def import_image(self, options: ImportOptions, body: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        reference = new_name(options.repo, options.tag) if options.repo else None

        async def work(progress: OnProgress) -> JSONMessage:
            remote = options.source != "-"
            source = download(self._rooms.http, options.source, progress) if remote else _generator(body)
            async with aclosing(source) as chunks:
                made = await self._rooms.importer.import_image(
                    chunks,
                    reference=reference,
                    message=options.message,
                    origin=options.source,
                    changes=options.changes,
                    platform=options.platform,
                )
                async for _ in chunks:
                    pass  # what is behind the archive's end: who sends must be able to send it all
            self._publish("import", str(made.image.id), reference.familiar if reference else "")
            return jsonstream.status(str(made.image.id))

        return streams.run(work)

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        image = self._context.images.get(ref)
        reference = new_name(repo, tag)
        await self._context.images.tag(image, reference)
        self._publish("tag", str(image.id), reference.familiar)

    async def search(self, options: SearchOptions) -> Sequence[ImageSearchResult]:
        stars, official = options.filters.get("stars"), options.filters.boolean("is-official")
        if any(not value.isdigit() for value in stars):
            raise InvalidParameterError(f"invalid filter 'stars={stars[0]}'")
        wanted = max((int(value) for value in stars), default=0)
        if options.filters.boolean("is-automated"):
            return []  # automated builds ended in 2022: nothing is one any more
        found = await self._rooms.registry.search(options.term, options.limit or 25, _credentials(options.auth))
        return [
            ImageSearchResult(
                star_count=item.star_count, is_official=item.is_official, name=item.name, description=item.description
            )
            for item in found
            if item.star_count >= wanted and (official is None or item.is_official is official)
        ]

    async def save(self, options: SaveOptions) -> AsyncIterator[bytes]:
        if not options.names:
            raise InvalidParameterError("no images to save were named")
        chunks = await self._rooms.saver.save(options.names, _one_platform(options.platforms))
        for name in options.names:
            with suppress(RundletError):
                found = str(self._context.images.get(name).id)
                self._publish("save", found, found)
        return chunks

    async def load(self, options: LoadOptions, archive: SentArchive) -> AsyncIterator[JSONMessage]:
        platform = _one_platform(options.platforms)

        async def work(progress: OnProgress) -> None:
            async with _read(archive) as chunks:
                loaded = await self._rooms.loader.load(chunks, platform=platform, progress=progress)
            for item in loaded:
                self._publish("load", str(item.image.id), item.names[0].familiar if item.names else str(item.image.id))

        return streams.run(work, quiet=options.quiet, text=streams.load_text)

    # -- removing ---------------------------------------------------------------------------------------------------

    async def remove(self, ref: str, options: ImageRemoveOptions) -> Sequence[ImageDeleted]:
        if options.platforms:
            return [item for text in options.platforms for item in await self._remove_platform(ref, text, options)]
        removals = await self._rooms.remover.remove(ref, force=options.force, prune=not options.no_prune)
        return [self._removed(removal) for removal in removals]

    async def _remove_platform(self, ref: str, platform: str, options: ImageRemoveOptions) -> Sequence[ImageDeleted]:
        """One platform of a name; the name goes with its last one."""
        store = self._context.images
        image = variants.choose(store, ref, platform)
        others = [item.image for item in variants.variants(store, ref) if item.image and item.image.id != image.id]
        target = image.id
        name = ref if store.get(ref).id == target and not others else str(target)
        if store.get(ref).id == target and others:
            reference = Reference.parse(ref)
            pointed = store.target(reference)
            assert pointed is not None
            await store.tag(others[0], reference, pointed)
            store.add_digest(others[0], reference.with_digest(pointed.digest))
        removals = await self._rooms.remover.remove(name, force=options.force, prune=not options.no_prune)
        return [self._removed(removal) for removal in removals]

    async def prune(self, filters: Filters) -> ImagesPruned:
        return await pruning.prune(self._context, filters, self.discard)

    async def discard(self, image: Image, names: Sequence[str]) -> Sequence[ImageDeleted]:
        """Remove ``names`` of an image that nobody asked to remove: what is another's by now, or needed, stays. So does
        what somebody is at work with: a build has yet to name what it came to."""
        gone: list[ImageDeleted] = []
        if self._rooms.leases.held(image.id):
            return gone
        for name in names:
            with suppress(ConflictError, NotFoundError):
                removals = await self._rooms.remover.remove(name, still=image)
                gone += [self._removed(removal) for removal in removals]
        return gone

    def layers_size(self) -> int:
        """Bytes of all layers' files, each layer once."""
        return sum(layer.size for layer in self._context.snapshots.layers())

    def _removed(self, removal: Removal) -> ImageDeleted:
        if removal.image is not None:
            action = "untag" if removal.kind == "untagged" else "delete"
            # Docker names the image here, not the name that it lost.
            self._publish(action, str(removal.image), str(removal.image))
        if removal.kind == "untagged":
            return ImageDeleted(untagged=removal.name)
        return ImageDeleted(deleted=removal.name)

    def _users(self) -> dict[str, int]:
        """How many containers use each image, by ID."""
        users: dict[str, int] = {}
        for record in self._context.containers:
            users[record.image_id] = users.get(record.image_id, 0) + 1
        return users

    def _shared(self, images: Sequence[Image]) -> dict[str, int]:
        """Bytes of each image's layers that another image has too."""
        layers = {str(image.id): self._context.images.layers(image.id) for image in images}
        counts: dict[str, int] = {}
        for stack in layers.values():
            for layer in stack:
                counts[str(layer.chain)] = counts.get(str(layer.chain), 0) + 1
        return {
            image_id: sum(layer.size for layer in stack if counts[str(layer.chain)] > 1)
            for image_id, stack in layers.items()
        }

    def _publish(self, action: str, actor: str, name: str) -> None:
        labels: dict[str, str] = {}
        with suppress(RundletError):
            labels = self._context.images.get(actor).labels
        self._context.events.publish("image", action, actor, labels | ({"name": name} if name else {}))


class _Selection:
    """``images --filter``."""

    def __init__(self, filters: Filters, context: Context) -> None:
        self._filters = filters
        self._dangling = filters.boolean("dangling")
        self._before = [context.images.get(name).created_ns for name in filters.get("before")]
        self._since = [context.images.get(name).created_ns for name in filters.get("since")]
        self._until = parse_earliest(filters.get("until"), context.clock)

    def apply(self, images: Sequence[Image]) -> list[Image]:
        return [self._shown(image) for image in images if self._matches(image)]

    def _matches(self, image: Image) -> bool:
        filters = self._filters
        return (
            (self._dangling is None or self._dangling is (not image.tags))
            and filters.labels(image.labels)
            and not (filters.get("label!") and filters.labels(image.labels, "label!"))
            and all(image.created_ns < bound for bound in self._before)
            and all(image.created_ns > bound for bound in self._since)
            and (self._until is None or image.created_ns < self._until)
            and ("reference" not in filters or any(self._named(r) for r in (*image.tags, *image.digests)))
        )

    def _shown(self, image: Image) -> Image:
        """With ``reference``, only the names that match are listed."""
        if "reference" not in self._filters:
            return image
        return msgspec.structs.replace(
            image,
            tags=tuple(r for r in image.tags if self._named(r)),
            digests=tuple(r for r in image.digests if self._named(r)),
        )

    def _named(self, reference: Reference) -> bool:
        names = (reference.familiar, reference.familiar_name, reference.canonical, reference.name)
        return any(_path_match(pattern, name) for pattern in self._filters.get("reference") for name in names)


def _path_match(pattern: str, name: str) -> bool:
    """A shell pattern whose ``*`` stops at slashes."""
    parts, words = pattern.split("/"), name.split("/")
    return len(parts) == len(words) and all(
        fnmatch.fnmatchcase(word, part) for part, word in zip(parts, words, strict=True)
    )


def _joined(name: str, tag: str) -> Reference:
    """A name and a tag or digest, which wins over what the name has. Raises InvalidReferenceError."""
    reference = Reference.parse(name)
    if not tag:
        return reference
    with suppress(InvalidParameterError):
        return reference.with_digest(Digest.parse(tag))
    return reference.with_tag(tag)


def _one_platform(platforms: Sequence[str]) -> str:
    """The only platform asked for, "" when none is. Raises InvalidParameterError."""
    if len(platforms) > 1:
        raise InvalidParameterError("multiple platform parameters not supported")
    for platform in platforms:
        Platform.parse(platform)
    return platforms[0] if platforms else ""


def _credentials(auth: AuthConfig) -> Credentials | None:
    if not (auth.username or auth.identitytoken or auth.registrytoken):
        return None
    return Credentials(auth.username, auth.password, auth.identitytoken, auth.registrytoken)


@asynccontextmanager
async def _read(archive: SentArchive) -> AsyncIterator[Source]:
    if isinstance(archive, AsyncIterator):
        async with aclosing(_generator(archive)) as chunks:
            yield chunks
    else:
        with closing(archive):
            yield archive


async def _generator(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in body:
        yield chunk
