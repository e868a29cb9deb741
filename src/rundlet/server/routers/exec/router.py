"""``/containers/{id}/exec`` and ``/exec/{id}``."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.api import requests
from rundlet.api.exec import ExecCreate, ExecStart
from rundlet.errors import InvalidParameterError
from rundlet.server import answers, detach
from rundlet.server.call import Call
from rundlet.server.hijack import Hijack
from rundlet.server.routers.exec.backend import ExecBackend
from rundlet.server.routers.sizes import terminal_size
from rundlet.server.routing import Route, WhenClientLeaves


class ExecRouter:
    """Parses, calls, encodes; start takes the connection over."""

    def __init__(self, backend: ExecBackend) -> None:
        self._backend = backend

    async def create(self, call: Call) -> web.StreamResponse:
        body = await call.json(ExecCreate)
        if not body.cmd:
            raise InvalidParameterError("No exec command specified")
        detach.parse(body.detach_keys)
        return answers.json(await self._backend.create(call["name"], requests.exec_create(body, call.version)), 201)

    async def start(self, call: Call) -> web.StreamResponse:
        body = requests.exec_start(await call.optional_json(ExecStart, ExecStart()), call.version)
        if body.detach:
            await self._backend.start_detached(call["id"], body)
            return answers.empty(200)
        await self._backend.check_start(call["id"])
        return await Hijack(call).begin(lambda: self._backend.start(call["id"], body), tty=body.tty)

    async def inspect(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.inspect(call["id"]))

    async def resize(self, call: Call) -> web.StreamResponse:
        await self._backend.resize(call["id"], terminal_size(call))
        return answers.empty(200)


def routes(backend: ExecBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = ExecRouter(backend)
    yield Route("POST", "/containers/{name}/exec", router.create)
    yield Route("POST", "/exec/{id}/start", router.start, WhenClientLeaves.CANCEL)
    yield Route("POST", "/exec/{id}/resize", router.resize)
    yield Route("GET", "/exec/{id}/json", router.inspect)
