"""What becomes of a built image besides being here: pushed, exported, recorded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import quote

from rundlet.api.builds import BuildOptions
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.bases import credentials_for
from rundlet.engine.builds.requests import LOCAL, cache_reference
from rundlet.engine.builds.work import BuildRooms
from rundlet.engine.context import Context
from rundlet.engine.images import streams
from rundlet.errors import InvalidParameterError
from rundlet.image.records import Image, Progress
from rundlet.oci.descriptor import Descriptor
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
        named: Descriptor | None,
        platforms: Sequence[Image],
    ) -> dict[str, Any]:
        """Push what is to be pushed; the answer's ``aux``.

        ``named`` is what the names point at if not the image's own manifest; ``platforms`` are the images of all
        platforms that were built. Raises what pushing raises.
        """
        image = state.image
        assert image is not None
        names = [tag.familiar for tag in request.tags]
        metadata: dict[str, Any] = {
            "containerimage.config.digest": str(image.id),
            "containerimage.digest": str((named or image.manifest).digest),
        }
        if names:
            metadata["image.name"] = ",".join(names)
        outputs: list[dict[str, Any]] = []
        for index, output in enumerate(options.outputs):
            if output.type == "image" and output.attrs.get("push", "false") in ("true", "1"):
                if not names:
                    raise InvalidParameterError("tag is needed when pushing to registry")
                for tag in request.tags:
                    await self._push(tag, options, emit)
            elif output.type in _ARCHIVES:
                chosen = names or [str(image.id)]
                query = "&".join(f"names={quote(name, safe='')}" for name in chosen)
                outputs.append({"index": index, "url": f"{_ARCHIVES[output.type]}?{query}"})
            elif output.type in ("tar", "local"):
                outputs += [_files_of(index, one, several=len(platforms) > 1) for one in platforms]
        for index, target in enumerate(options.cache_to):
            reference = cache_reference(target, "cache-to")
            if reference.startswith(LOCAL):
                # By its ID: whoever loads it gets no name with it.
                outputs.append({"cache": index, "url": f"/images/get?names={image.id}"})
            elif reference:
                await self._cache(image, Reference.parse(reference), options, emit)
        aux: dict[str, Any] = {"ID": str(image.id)}
        if options.rich:
            aux |= {"Metadata": metadata, "Outputs": outputs}
        return aux

    async def _push(self, reference: Reference, options: BuildOptions, emit: Callable[[Any], None]) -> None:
        def progress(state: Progress) -> None:
            if not options.rich:
                emit(streams.message(state))

        await self._rooms.pusher.push(
            reference, credentials=credentials_for(options.auth, reference), progress=progress
        )
        self._context.events.publish("image", "push", reference.familiar, {"name": reference.familiar_name})

    async def _cache(
        self, image: Image, reference: Reference, options: BuildOptions, emit: Callable[[Any], None]
    ) -> None:
        """An image whose history and layers are the cache, under a name that it has only meanwhile."""
        before = self._context.images.target(reference)
        await self._context.images.tag(image, reference)
        try:
            await self._push(reference, options, emit)
        finally:
            if before is None:
                current = self._context.images.find(image.id)
                gone = [name for name in (current.digests if current else ()) if name.name == reference.name]
                await self._context.images.untag([reference, *gone])

    async def root_files(self, name: str) -> AsyncIterator[bytes]:
        """Raises NoSuchImageError."""
        image = self._context.images.get(name)
        return self._files(image)

    async def _files(self, image: Image) -> AsyncIterator[bytes]:
        workspace = Workspace(self._context.layout, self._context.snapshots, self._context.launcher)

        async with self._rooms.leases.lease() as lease:
            stack = self._context.images.layers(image.id)
            await lease.hold(*(layer.chain for layer in stack))
            await asyncio.to_thread(workspace.make)
            access = workspace.read_stack(stack)
            try:
                await access.open_root()
                async for chunk in access.chunks():
                    yield chunk
            finally:
                await access.close()
                await asyncio.shield(asyncio.to_thread(workspace.remove))


def _files_of(index: int, image: Image, *, several: bool) -> dict[str, Any]:
    """Where an output's files are; those of several platforms go to a directory each (``linux_arm64``)."""
    found: dict[str, Any] = {"index": index, "url": f"/rundlet/images/{image.id}/root"}
    if several:
        found["directory"] = str(image.platform).replace("/", "_")
    return found
