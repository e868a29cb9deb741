"""What becomes of a built image besides being here: pushed, exported, recorded."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import msgspec

from rundlet.api.builds import BuildOptions
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.bases import credentials_for
from rundlet.engine.builds.caches import CacheExporter
from rundlet.engine.builds.requests import LOCAL, SPLIT, cache_reference, is_true, is_whole
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
        stages: Sequence[Image],
    ) -> dict[str, Any]:
        """Push what is to be pushed; the answer's ``aux``.

        ``named`` is what the names point at if not the image's own manifest; ``platforms`` are the images of all
        platforms that were built, ``stages`` the last ones of all stages. Raises what pushing raises.
        """
        image = state.image
        assert image is not None
        names = [tag.familiar for tag in request.tags]
        metadata: dict[str, Any] = {
            "containerimage.config.digest": str(image.id),
            "containerimage.digest": str((named or image.manifest).digest),
        }
        result = named or image.manifest
        described = {"mediaType": result.media_type, "digest": str(result.digest), "size": result.size}
        metadata["containerimage.descriptor"] = base64.b64encode(msgspec.json.encode(described)).decode()
        if names:
            metadata["image.name"] = ",".join(tag.canonical for tag in request.tags)
        outputs: list[dict[str, Any]] = []
        for index, output in enumerate(options.outputs):
            if output.type == "image" and output.attrs.get("push", "false") in ("true", "1"):
                if not names:
                    raise InvalidParameterError("tag is needed when pushing to registry")
                for tag in request.tags:
                    await self._push(tag, options, emit)
            elif output.type in _ARCHIVES:
                # Without a name several platforms are one index all the same.
                chosen = names or [str(named.digest if named is not None and len(platforms) > 1 else image.id)]
                query = "&".join(f"names={quote(name, safe='')}" for name in chosen)
                outputs.append({"index": index, "url": f"{_ARCHIVES[output.type]}?{query}"})
            elif output.type in ("tar", "local"):
                outputs.append({"index": index, "url": _files_of(platforms, output.attrs)})
        for index, target in enumerate(options.cache_to):
            reference = cache_reference(target, "cache-to")
            others = [stage for stage in stages if stage.id != image.id] if is_whole(target) else []
            if reference.startswith(LOCAL):
                # By its ID: whoever loads it gets no name with it.
                query = "&".join(f"names={one.id}" for one in (image, *others))
                outputs.append({"cache": index, "url": f"/images/get?{query}"})
            elif reference:

                async def push(name: Reference) -> None:
                    await self._push(name, options, emit)

                exporter = CacheExporter(self._context, self._rooms.leases, push)
                await exporter.export(image, others, Reference.parse(reference))
        aux: dict[str, Any] = {"ID": str(image.id)}
        if options.rich:
            built = {str(one.platform): str(one.id) for one in platforms}
            aux |= {"Metadata": metadata, "Outputs": outputs, "Platforms": built}
        return aux

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
        workspace = Workspace(self._context.layout, self._context.snapshots, self._context.launcher)

        async with self._rooms.leases.lease() as lease:
            stack = self._context.images.layers(image.id)
            await lease.hold(*(layer.chain for layer in stack))
            await asyncio.to_thread(workspace.make)
            access = workspace.read_stack(stack)
            try:
                await access.open_root(directory, more=more)
                async for chunk in access.chunks():
                    yield chunk
            finally:
                await access.close()
                await asyncio.shield(asyncio.to_thread(workspace.remove))


def _files_of(images: Sequence[Image], attributes: Mapping[str, str]) -> str:
    """Where the files of an output are."""
    split = attributes.get(SPLIT, "true" if len(images) > 1 else "false")
    names = "".join(f"{image.id}," for image in images) if is_true(split) else str(images[0].id)
    return f"/rundlet/images/{names}/root"
