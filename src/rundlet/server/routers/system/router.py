"""``/_ping``, ``/version``, ``/info``, ``/system/df``, ``/events``, ``/auth``."""

from collections.abc import AsyncIterator, Iterable
from typing import Final, get_args

from aiohttp import web

from rundlet.api import filters, versions
from rundlet.api.events import Event, EventsOptions
from rundlet.api.images import AuthConfig
from rundlet.api.system import DiskUsageKind, DiskUsageOptions
from rundlet.errors import InvalidParameterError
from rundlet.server import answers, timestamps
from rundlet.server.call import Call
from rundlet.server.routers.system.backend import SystemBackend
from rundlet.server.routing import Route, WhenClientLeaves

_PING_HEADERS: Final = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}
_KINDS: Final[dict[str, DiskUsageKind]] = {kind: kind for kind in get_args(DiskUsageKind)}


class SystemRouter:
    """Parses, calls, encodes."""

    def __init__(self, backend: SystemBackend) -> None:
        self._backend = backend

    async def ping(self, call: Call) -> web.StreamResponse:
        headers = {
            "Builder-Version": self._backend.builder_version,
            "Docker-Experimental": str(self._backend.experimental).lower(),
            **_PING_HEADERS,
        }
        return answers.text("" if call.request.method == "HEAD" else "OK", headers)

    async def version(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.version())

    async def info(self, call: Call) -> web.StreamResponse:
        found = await self._backend.info()
        return answers.json(versions.adapted(found, call.version, versions.info, versions.INFO_SINCE))

    async def disk_usage(self, call: Call) -> web.StreamResponse:
        kinds = call.texts("type") if call.version >= (1, 42) else ()
        found = await self._backend.disk_usage(DiskUsageOptions(kinds=frozenset(map(_kind, kinds))))
        return answers.json(versions.adapted(found, call.version, versions.disk_usage, versions.DISK_USAGE_SINCE))

    async def events(self, call: Call) -> web.StreamResponse:
        options = EventsOptions(
            since=timestamps.parse(call.text("since")),
            until=timestamps.parse(call.text("until")),
            filters=call.filters(filters.EVENTS),
        )
        if options.since is not None and options.until is not None and options.since > options.until:
            raise InvalidParameterError(
                f"`since` time ({call.text('since')}) cannot be after `until` time ({call.text('until')})"
            )
        found = await self._backend.events(options)
        if call.version < (1, 46):
            found = _without_made_images(found)
        return await answers.follow_stream(call, answers.encoded(found), answers.JSON)

    async def login(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.login(await call.json(AuthConfig)))


async def _without_made_images(found: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """Since 1.46 events tell of an image that was built, also of one without a name."""
    try:
        async for event in found:
            if (event.type, event.action) != ("image", "create"):
                yield event
    finally:
        await answers.close(found)


def _kind(text: str) -> DiskUsageKind:
    kind = _KINDS.get(text)
    if kind is None:
        raise InvalidParameterError(f"unknown object type: {text}")
    return kind


def routes(backend: SystemBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = SystemRouter(backend)
    yield Route("GET", "/_ping", router.ping, WhenClientLeaves.CANCEL)
    yield Route("HEAD", "/_ping", router.ping, WhenClientLeaves.CANCEL)
    yield Route("GET", "/version", router.version, WhenClientLeaves.CANCEL)
    yield Route("GET", "/info", router.info, WhenClientLeaves.CANCEL)
    yield Route("GET", "/system/df", router.disk_usage, WhenClientLeaves.CANCEL)
    yield Route("GET", "/events", router.events, WhenClientLeaves.CANCEL)
    yield Route("POST", "/auth", router.login, WhenClientLeaves.CANCEL)
