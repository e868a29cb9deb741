"""Managed plugins: there are none, and none can be installed."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.api import filters
from rundlet.errors import NotFoundError
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routers.refusal import refused
from rundlet.server.routing import Route


class NoSuchPluginError(NotFoundError):
    reason = "no-such-plugin"

    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name}" not found')
        self.name = name


async def _list(call: Call) -> web.StreamResponse:
    call.filters(filters.PLUGINS).boolean("enabled")
    return answers.json([])


async def _inspect(call: Call) -> web.StreamResponse:
    raise NoSuchPluginError(call["name"])


def routes() -> Iterable[Route]:
    """Reading works, as with no plugins installed; changing is refused by name."""
    yield Route("GET", "/plugins", _list)
    yield Route("GET", "/plugins/{name}/json", _inspect)
    yield Route("GET", "/plugins/privileges", refused("plugin privileges"))
    for verb in ("pull", "create"):
        yield Route("POST", f"/plugins/{verb}", refused(f"plugin {verb}"))
    for verb in ("enable", "disable", "push", "upgrade", "set"):
        yield Route("POST", f"/plugins/{{name}}/{verb}", _inspect)
    yield Route("DELETE", "/plugins/{name}", _inspect)
