"""Builds are not there yet: every endpoint says so."""

from collections.abc import Iterable

from rundlet.server.routers.refusal import refused
from rundlet.server.routing import Route


def routes() -> Iterable[Route]:
    """``docker build`` and what BuildKit's clients open first."""
    yield Route("POST", "/build", refused("build"))
    yield Route("POST", "/build/prune", refused("build prune"))
    yield Route("POST", "/build/cancel", refused("build cancel"))
    yield Route("POST", "/session", refused("build session"))
    yield Route("POST", "/grpc", refused("build session"))
