"""Swarm: Rundlet answers as an engine that is not part of one."""

from collections.abc import Iterable

from aiohttp import web

from rundlet.errors import NotSwarmManagerError, UnavailableError
from rundlet.server.call import Call
from rundlet.server.routers.refusal import refused
from rundlet.server.routing import Route


class NotInSwarmError(UnavailableError):
    reason = "not-in-swarm"

    def __init__(self) -> None:
        super().__init__("This node is not part of a swarm")


async def _not_manager(call: Call) -> web.StreamResponse:
    raise NotSwarmManagerError


async def _not_part(call: Call) -> web.StreamResponse:
    raise NotInSwarmError


def routes() -> Iterable[Route]:
    """Joining is refused by name; all else needs a swarm."""
    yield Route("POST", "/swarm/init", refused("swarm init"))
    yield Route("POST", "/swarm/join", refused("swarm join"))
    yield Route("POST", "/swarm/leave", _not_part)
    yield Route("GET", "/swarm", _not_manager)
    yield Route("GET", "/swarm/unlockkey", _not_manager)
    yield Route("POST", "/swarm/update", _not_manager)
    yield Route("POST", "/swarm/unlock", _not_manager)
    for noun in ("services", "tasks", "nodes", "secrets", "configs"):
        yield Route("GET", f"/{noun}", _not_manager)
        yield Route("GET", f"/{noun}/{{id}}", _not_manager)
        yield Route("POST", f"/{noun}/create", _not_manager)
        yield Route("POST", f"/{noun}/{{id}}/update", _not_manager)
        yield Route("DELETE", f"/{noun}/{{id}}", _not_manager)
