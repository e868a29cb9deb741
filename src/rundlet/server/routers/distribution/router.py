"""``GET /distribution/{name}/json``."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routers.distribution.backend import DistributionBackend
from rundlet.server.routing import Route, WhenClientLeaves


def routes(backend: DistributionBackend) -> Iterable[Route]:
    """Bind the backend."""

    async def inspect(call: Call) -> web.StreamResponse:
        return answers.json(await backend.inspect(call["name"], call.auth()))

    yield Route("GET", "/distribution/{name}/json", inspect, WhenClientLeaves.CANCEL)
