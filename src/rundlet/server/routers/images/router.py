"""``/images``."""

from collections.abc import AsyncIterator, Iterable
from typing import Final

from aiohttp import web

from rundlet.api import filters, versions
from rundlet.api.filters import Filters
from rundlet.api.images import (
    ImageInspectOptions,
    ImageListOptions,
    ImageRemoveOptions,
    ImportOptions,
    LoadOptions,
    PullOptions,
    PushOptions,
    SaveOptions,
    SearchOptions,
)
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError
from rundlet.server import answers, lent
from rundlet.server.call import Call, platform, platforms
from rundlet.server.routers.images.backend import ImageBackend
from rundlet.server.routing import Route, WhenClientLeaves

_COMPOSE_KNOWS: Final = APIVersion(1, 44)


class ImageRouter:
    """Parses, calls, encodes."""

    def __init__(self, backend: ImageBackend) -> None:
        self._backend = backend

    async def list(self, call: Call) -> web.StreamResponse:
        options = ImageListOptions(
            all=call.flag("all"),
            digests=call.flag("digests"),
            shared_size=call.version >= APIVersion(1, 42) and call.flag("shared-size"),
            manifests=call.version >= APIVersion(1, 47) and call.flag("manifests"),
            filters=_list_filters(call),
        )
        found = await self._backend.list(options)
        adapt, since = versions.image_summary, versions.IMAGE_SUMMARY_SINCE
        return answers.json(versions.adapted(found, call.version, adapt, since))

    async def inspect(self, call: Call) -> web.StreamResponse:
        manifests = call.version >= APIVersion(1, 48) and call.flag("manifests")
        chosen = platform(call) if call.version >= APIVersion(1, 49) else ""
        if manifests and chosen:
            raise InvalidParameterError("conflicting options: manifests and platform options cannot both be set")
        options = ImageInspectOptions(manifests=manifests, platform=chosen)
        found = await self._backend.inspect(call["name"], options)
        return answers.json(versions.adapted(found, _inspected_as(call), versions.image_inspect, versions.IMAGE_SINCE))

    async def history(self, call: Call) -> web.StreamResponse:
        chosen = platform(call) if call.version >= APIVersion(1, 48) else ""
        return answers.json(await self._backend.history(call["name"], chosen))

    async def layers(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: what each layer does to the files below it."""
        return answers.json(await self._backend.layers(call["name"], files=call.flag("files")))

    async def differences(self, call: Call) -> web.StreamResponse:
        """Rundlet's own: from this image's files to those of another."""
        return answers.json(await self._backend.differences(call["name"], call.text("with")))

    async def create(self, call: Call) -> web.StreamResponse:
        """Pull (``fromImage``) or import (``fromSrc``)."""
        if call.text("fromImage"):
            return await answers.progress_stream(call, await self._backend.pull(_pull_options(call)))
        if not call.text("fromSrc"):
            raise InvalidParameterError("one of fromImage and fromSrc is required")
        options = ImportOptions(
            source=call.text("fromSrc"),
            repo=call.text("repo"),
            tag=call.text("tag"),
            message=call.text("message"),
            changes=call.texts("changes"),
            platform=platform(call),
        )
        return await answers.progress_stream(call, await self._backend.import_image(options, call.body()))

    async def push(self, call: Call) -> web.StreamResponse:
        chosen = platform(call) if call.version >= APIVersion(1, 46) else ""
        options = PushOptions(name=call["name"], tag=call.text("tag"), platform=chosen, auth=call.auth())
        return await answers.progress_stream(call, await self._backend.push(options))

    async def tag(self, call: Call) -> web.StreamResponse:
        await self._backend.tag(call["name"], call.text("repo"), call.text("tag"))
        return answers.empty(201)

    async def remove(self, call: Call) -> web.StreamResponse:
        name = call["name"]
        if not name.strip():
            raise InvalidParameterError("image name cannot be blank")
        options = ImageRemoveOptions(
            force=call.flag("force"), no_prune=call.flag("noprune"), platforms=_many_platforms(call, APIVersion(1, 50))
        )
        return answers.json(await self._backend.remove(name, options))

    async def prune(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.prune(call.filters(filters.IMAGES_PRUNE)))

    async def search(self, call: Call) -> web.StreamResponse:
        limit = call.integer("limit") or 0
        if not 0 <= limit <= 100:
            raise InvalidParameterError(f"limit {limit} is outside the range of [1, 100]")
        options = SearchOptions(
            term=call.text("term"), limit=limit, filters=call.filters(filters.IMAGES_SEARCH), auth=call.auth()
        )
        return answers.json(await self._backend.search(options))

    async def save(self, call: Call) -> web.StreamResponse:
        names = (call["name"],) if "name" in call.variables else call.texts("names")
        chunks = await self._backend.save(SaveOptions(names=names, platforms=_many_platforms(call, APIVersion(1, 48))))
        return await answers.bytes_stream(call, chunks, answers.TAR)

    async def load(self, call: Call) -> web.StreamResponse:
        return await _loaded(call, await self._backend.load(_load_options(call), call.body()))

    async def load_lent(self, call: Call) -> web.StreamResponse:
        options = _load_options(call)
        return await _loaded(call, await self._backend.load(options, await lent.borrow(call)))


def _load_options(call: Call) -> LoadOptions:
    return LoadOptions(quiet=call.flag("quiet", default=True), platforms=_many_platforms(call, APIVersion(1, 48)))


async def _loaded(call: Call, messages: AsyncIterator[JSONMessage]) -> web.StreamResponse:
    # Docker's clients look for what is wrong with an archive in the answer, never at its status.
    return await answers.progress_stream(call, messages, refuse=False)


def _pull_options(call: Call) -> PullOptions:
    return PullOptions(
        name=call.text("fromImage").removesuffix(":"),  # as ``pull -a`` may send it
        tag=call.text("tag"),
        all_tags=call.flag("allTags"),
        platform=platform(call) if call.version >= APIVersion(1, 32) else "",
        auth=call.auth(),
    )


def _list_filters(call: Call) -> Filters:
    chosen = call.filters(filters.IMAGES)
    legacy = call.text("filter")
    if legacy and call.version < APIVersion(1, 41):
        return Filters({**chosen.values, "reference": (*chosen.get("reference"), legacy)})
    return chosen


def _many_platforms(call: Call, since: APIVersion) -> tuple[str, ...]:
    """None before ``since``: older clients sent what no engine looked at."""
    return (platforms(call) or platforms(call, "platforms")) if call.version >= since else ()


def _inspected_as(call: Call) -> APIVersion:
    """docker-compose 1.x takes the newest version that there is, and reads a field that ended with 1.44."""
    if call.header("User-Agent").startswith("docker-compose/1."):
        return min(call.version, _COMPOSE_KNOWS)
    return call.version


def routes(backend: ImageBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = ImageRouter(backend)
    yield Route("GET", "/images/json", router.list, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/search", router.search, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/get", router.save, WhenClientLeaves.CANCEL, versions.ARCHIVES_MINIMUM)
    yield Route("POST", "/rundlet/images/load", router.load_lent, WhenClientLeaves.CANCEL, versions.ARCHIVES_MINIMUM)
    yield Route("POST", "/images/load", router.load, WhenClientLeaves.CANCEL, versions.ARCHIVES_MINIMUM)
    yield Route("POST", "/images/create", router.create, WhenClientLeaves.CANCEL)
    yield Route("POST", "/images/prune", router.prune)
    yield Route("GET", "/images/{name}/get", router.save, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/{name}/layers", router.layers, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/{name}/diff", router.differences, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/{name}/history", router.history, WhenClientLeaves.CANCEL)
    yield Route("GET", "/images/{name}/json", router.inspect, WhenClientLeaves.CANCEL)
    yield Route("POST", "/images/{name}/push", router.push, WhenClientLeaves.CANCEL)
    yield Route("POST", "/images/{name}/tag", router.tag)
    yield Route("DELETE", "/images/{name}", router.remove)
