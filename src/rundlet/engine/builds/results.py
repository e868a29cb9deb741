"""What becomes of a built image besides being here: pushed, exported, recorded."""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import msgspec

from rundlet.api.builds import BuildOptions, Output
from rundlet.builder.dockerfile.arguments import MULTI_PLATFORM
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState
from rundlet.engine.builds.bases import credentials_for
from rundlet.engine.builds.caches import CacheExporter
from rundlet.engine.builds.packing import MAIN, by_digest, is_stored, is_true
from rundlet.engine.builds.requests import (
    LOCAL,
    SPLIT,
    cache_reference,
    flag_of,
    is_whole,
    may_fail,
    names_by,
    names_here,
    names_of,
)
from rundlet.engine.builds.rich import RichReporter
from rundlet.engine.builds.work import BuildRooms
from rundlet.engine.builds.workspaces import workspace_of
from rundlet.engine.context import Context
from rundlet.engine.images import streams
from rundlet.errors import InvalidParameterError, RundletError
from rundlet.image.holding import hold_image
from rundlet.image.records import Image, Progress
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.mediatype import is_index
from rundlet.oci.reference import Reference

_ARCHIVES = {"docker": "/images/get", "oci": "/images/get"}


class Results:
    """One per engine."""

    def __init__(self, context: Context, rooms: BuildRooms) -> None:
        self._context = context
        self._rooms = rooms

    async def finish(
        self,
        state: StageState,
        request: BuildRequest,
        options: BuildOptions,
        emit: Callable[[Any], None],
        targets: Mapping[int, Descriptor],
        platforms: Sequence[Image],
        stages: Sequence[Image],
    ) -> dict[str, Any]:
        """Push what is to be pushed; the answer's ``aux``.

        ``targets`` are what the names (MAIN) and the outputs point at if not the image's own manifest; ``platforms``
        the images of all platforms that were built, ``stages`` the last ones of all stages. Raises what pushing raises.
        """
        image = state.image
        assert image is not None
        outputs = await self._outputs(image, request, options, emit, targets, platforms)
        outputs += await self._caches(image, options, emit, stages)
        aux: dict[str, Any] = {"ID": str(image.id)}
        if options.rich:
            built = {str(one.platform): str(one.id) for one in platforms}
            metadata = _metadata(image, targets.get(_shown(options.outputs), image.manifest), request, options)
            aux |= {"Metadata": metadata, "Outputs": outputs, "Platforms": built}
        return aux

    async def _outputs(
        self,
        image: Image,
        request: BuildRequest,
        options: BuildOptions,
        emit: Callable[[Any], None],
        targets: Mapping[int, Descriptor],
        platforms: Sequence[Image],
    ) -> list[dict[str, Any]]:
        """Where the client fetches each output that is its own; what goes to registries goes."""
        outputs: list[dict[str, Any]] = []
        for index, output in enumerate(options.outputs):
            if output.type == "image":
                named = targets.get(MAIN, image.manifest)
                await self._published(output, targets.get(index, image.manifest), named, image, options, emit)
            elif output.type in _ARCHIVES:
                chosen = _archived(names_here(options), image, targets.get(index), targets.get(MAIN))
                query = "&".join(f"names={quote(name, safe='')}" for name in chosen)
                outputs.append({"index": index, "url": f"{_ARCHIVES[output.type]}?{query}"})
            elif output.type in ("tar", "local"):
                outputs.append({"index": index, "url": _files_of(platforms, output.attrs, options)})
        return outputs

    async def _caches(
        self, image: Image, options: BuildOptions, emit: Callable[[Any], None], stages: Sequence[Image]
    ) -> list[dict[str, Any]]:
        """The same of ``--cache-to``."""

        async def push(name: Reference, image: Image, target: Descriptor) -> None:
            credentials = credentials_for(options.auth, name)
            await self._rooms.pusher.push_content(name, image, target, credentials=credentials)

        outputs: list[dict[str, Any]] = []
        for index, target in enumerate(options.cache_to):
            reference = cache_reference(target, "cache-to")
            others = [stage for stage in stages if stage.id != image.id] if is_whole(target) else []
            if reference.startswith(LOCAL):
                # By its ID: whoever loads it gets no name with it.
                query = "&".join(f"names={one.id}" for one in (image, *others))
                outputs.append({"cache": index, "url": f"/images/get?{query}"})
            elif reference:
                exporter = CacheExporter(self._context, self._rooms.leases, push)
                try:
                    await exporter.export(image, others, Reference.parse(reference))
                except RundletError as exc:
                    if not may_fail(target):
                        raise
                    RichReporter(emit, self._context.clock).warning(f"failed to export cache: {exc}")
        return outputs

    async def _published(
        self,
        output: Output,
        target: Descriptor,
        named: Descriptor,
        image: Image,
        options: BuildOptions,
        emit: Callable[[Any], None],
    ) -> None:
        """An image goes to its registries as ``target``, and gets the names that have its digest in them. ``named``:
        what its names here point at."""
        untagged = _digest_names(output)
        names = untagged or names_by(options, [output])
        if is_true(output.attrs.get("push", "false")):
            if not names:
                raise InvalidParameterError("tag is needed when pushing to registry")
            for name in names:
                if is_stored(output) and not untagged and target == named:
                    await self._push(name, options, emit)
                    continue
                # What has no name here, or is not what the name means, is pushed as what it is.
                credentials = credentials_for(options.auth, name)
                await self._rooms.pusher.push_content(name, image, target, credentials=credentials)
        if is_stored(output) and is_true(output.attrs.get("name-canonical", "false")):
            for name in names:
                self._context.images.add_digest(image, name.trimmed().with_digest(target.digest))

    async def _push(self, reference: Reference, options: BuildOptions, emit: Callable[[Any], None]) -> None:
        def progress(state: Progress) -> None:
            if not options.rich:
                emit(streams.message(state))

        await self._rooms.pusher.push(
            reference, credentials=credentials_for(options.auth, reference), progress=progress
        )
        self._context.events.publish("image", "push", reference.familiar, {"name": reference.familiar_name})

    async def root_files(self, name: str) -> AsyncIterator[bytes]:
        """The files of the image ``name``. Of several, with a comma after each, every one's are in a directory with the
        name of its platform (``linux_arm64``). Raises NoSuchImageError."""
        if not name.endswith(","):
            return self._files(self._context.images.get(name), "", more=False)
        return self._directories([self._context.images.get(one) for one in name.split(",")[:-1]])

    async def _directories(self, images: Sequence[Image]) -> AsyncIterator[bytes]:
        for image in images:
            directory = str(image.platform).replace("/", "_")
            async with aclosing(self._files(image, directory, more=image is not images[-1])) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _files(self, image: Image, directory: str, *, more: bool) -> AsyncGenerator[bytes, None]:
        async with self._rooms.leases.lease() as lease, workspace_of(self._context) as workspace:
            stack = (await hold_image(self._context.images, lease, image.id)).layers
            access = workspace.read_stack(stack)
            try:
                await access.open_root(directory, more=more)
                async for chunk in access.chunks():
                    yield chunk
            finally:
                await access.close()


def _metadata(image: Image, result: Descriptor, request: BuildRequest, options: BuildOptions) -> dict[str, Any]:
    """What ``--metadata-file`` gets."""
    described = {"mediaType": result.media_type, "digest": str(result.digest), "size": result.size}
    metadata: dict[str, Any] = {
        "containerimage.config.digest": str(image.id),
        "containerimage.digest": str(result.digest),
        "containerimage.descriptor": base64.b64encode(msgspec.json.encode(described)).decode(),
    }
    known = [*request.tags, *(name for output in options.outputs for name in _digest_names(output))]
    if known:
        metadata["image.name"] = ",".join(dict.fromkeys(name.canonical for name in known))
    return metadata


def _shown(outputs: Sequence[Output]) -> int:
    """The output that the answer describes: an archive only where no image stays here."""
    kinds = {index: output.type for index, output in enumerate(outputs)}
    if not kinds or "image" in kinds.values():
        return MAIN
    return next((index for index, kind in kinds.items() if kind in _ARCHIVES), MAIN)


def _digest_names(output: Output) -> list[Reference]:
    """What an image is pushed as without a tag. Raises InvalidReferenceError."""
    return [Reference.parse(name) for name in names_of(output)] if by_digest(output) else []


def _archived(
    tags: Sequence[Reference], image: Image, target: Descriptor | None, named: Descriptor | None
) -> list[str]:
    """What an archive of ``target`` is asked for by: ``tags`` are its names here, ``named`` what they point at."""
    index = target is not None and is_index(target.media_type)
    if target is None or target.digest == image.manifest.digest or (index and target == named):
        # Without a name several platforms are one index all the same.
        return [tag.familiar for tag in tags] or [str(target.digest if target is not None and index else image.id)]
    return [f"{tag.canonical}@{target.digest}" for tag in tags] or [str(target.digest)]


def _files_of(images: Sequence[Image], attributes: Mapping[str, str], options: BuildOptions) -> str:
    """Where the files of an output are."""
    split = attributes.get(SPLIT, "true" if len(images) > 1 or flag_of(options, MULTI_PLATFORM) else "false")
    names = "".join(f"{image.id}," for image in images) if is_true(split) else str(images[0].id)
    return f"/rundlet/images/{names}/root"
