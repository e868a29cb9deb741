"""``GET /distribution/{name}/json``, and Rundlet's own endpoints for manifests of registries."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.api.distribution import ManifestPush
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routers.distribution.backend import DistributionBackend
from rundlet.server.routing import Route, WhenClientLeaves


def routes(backend: DistributionBackend) -> Iterable[Route]:
    """Bind the backend."""

    async def inspect(call: Call) -> web.StreamResponse:
        return answers.json(await backend.inspect(call["name"], call.auth()))

    async def manifest(call: Call) -> web.StreamResponse:
        return answers.json(await backend.manifest(call["name"], call.auth(), insecure=call.flag("insecure")))

    async def push(call: Call) -> web.StreamResponse:
        body = await call.json(ManifestPush)
        return answers.json(
            await backend.push_manifest(call["name"], body, call.auth(), insecure=call.flag("insecure")), 201
        )

    yield Route("GET", "/distribution/{name}/manifest", manifest, WhenClientLeaves.CANCEL)
    yield Route("POST", "/distribution/{name}/manifest", push, WhenClientLeaves.CANCEL)
    yield Route("GET", "/distribution/{name}/json", inspect, WhenClientLeaves.CANCEL)
