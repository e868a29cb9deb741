"""``/networks``."""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from rundlet.api import filters, requests
from rundlet.api.networks import (
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkInspectOptions,
    NetworkListOptions,
)
from rundlet.errors import InvalidParameterError
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routers.networks.backend import NetworkBackend
from rundlet.server.routing import Route

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})


class NetworkRouter:
    """Parses, calls, encodes."""

    def __init__(self, backend: NetworkBackend) -> None:
        self._backend = backend

    async def list(self, call: Call) -> web.StreamResponse:
        found = await self._backend.list(NetworkListOptions(filters=call.filters(filters.NETWORKS)))
        if call.version < (1, 28):  # with the containers on each, which are for inspect since
            found = [await self._backend.inspect(network.id, NetworkInspectOptions()) for network in found]
        return answers.json(found)

    async def inspect(self, call: Call) -> web.StreamResponse:
        options = NetworkInspectOptions(verbose=_verbose(call.text("verbose")), scope=call.text("scope"))
        return answers.json(await self._backend.inspect(call["id"], options))

    async def create(self, call: Call) -> web.StreamResponse:
        body = requests.network_create(await call.optional_json(NetworkCreate, NetworkCreate()), call.version)
        return answers.json(await self._backend.create(body), 201)

    async def connect(self, call: Call) -> web.StreamResponse:
        body = await call.optional_json(NetworkConnect, NetworkConnect())
        await self._backend.connect(call["id"], requests.network_connect(body, call.version))
        return answers.empty(200)

    async def disconnect(self, call: Call) -> web.StreamResponse:
        await self._backend.disconnect(call["id"], await call.optional_json(NetworkDisconnect, NetworkDisconnect()))
        return answers.empty(200)

    async def remove(self, call: Call) -> web.StreamResponse:
        await self._backend.remove(call["id"])
        return answers.empty()

    async def prune(self, call: Call) -> web.StreamResponse:
        return answers.json(await self._backend.prune(call.filters(filters.NETWORKS_PRUNE)))


def _verbose(text: str) -> bool:
    """As Go's ``strconv.ParseBool``. Raises InvalidParameterError."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise InvalidParameterError(
        f'invalid value for verbose: {text}: strconv.ParseBool: parsing "{text}": invalid syntax'
    )


def routes(backend: NetworkBackend) -> Iterable[Route]:
    """Bind the backend."""
    router = NetworkRouter(backend)
    yield Route("GET", "/networks", router.list)
    yield Route("GET", "/networks/", router.list)
    yield Route("POST", "/networks/create", router.create)
    yield Route("POST", "/networks/prune", router.prune)
    yield Route("GET", "/networks/{id}", router.inspect)
    yield Route("POST", "/networks/{id}/connect", router.connect)
    yield Route("POST", "/networks/{id}/disconnect", router.disconnect)
    yield Route("DELETE", "/networks/{id}", router.remove)
