"""``/volumes``."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.api import filters
from rundlet.api.filters import Filters
from rundlet.api.versions import APIVersion
from rundlet.api.volumes import VolumeCreate, VolumeListOptions, VolumeRemoveOptions
from rundlet.errors import UnavailableError
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routers.volumes.backend import VolumeBackend
from rundlet.server.routing import Route


class ClusterVolumeError(UnavailableError):
    """An update changes volumes of a cluster, which there is none of."""

    reason = "cluster-volume"

    def __init__(self, name: str) -> None:
        super().__init__("volume update only valid for cluster volumes, but swarm is unavailable")
        self.name = name


class VolumeRouter:
    """Parses, calls, encodes."""

    def __init__(self, backend: VolumeBackend) -> None:
        self._backend = backend

    async def list(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.list(VolumeListOptions(filters=call.filters(filters.VOLUMES))))

    async def inspect(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.inspect(call["name"]))

    async def create(self, call: Call) -> web.StreamResponse:
        body = await call.optional_json(VolumeCreate, VolumeCreate())
        return answers.json(await self._backend.create(body), 201)

    async def remove(self, call: Call) -> web.StreamResponse:
        await self._backend.remove(call["name"], VolumeRemoveOptions(force=call.flag("force")))
        return answers.empty()

    async def update(self, call: Call) -> web.StreamResponse:
        raise ClusterVolumeError(call["name"])

    async def prune(self, call: Call) -> web.StreamResponse:
        chosen = call.filters(filters.VOLUMES_PRUNE)
        if call.version < APIVersion(1, 42) and "all" not in chosen:
            # Until 1.41 named volumes were pruned as well.
            chosen = Filters({**chosen.values, "all": ("true",)})
        return answers.json(await self._backend.prune(chosen))


def routes(backend: VolumeBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = VolumeRouter(backend)
    yield Route("GET", "/volumes", router.list)
    yield Route("POST", "/volumes/create", router.create)
    yield Route("POST", "/volumes/prune", router.prune)
    yield Route("GET", "/volumes/{name}", router.inspect)
    yield Route("PUT", "/volumes/{name}", router.update)
    yield Route("DELETE", "/volumes/{name}", router.remove)
