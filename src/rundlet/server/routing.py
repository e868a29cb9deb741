"""Paths to handlers, with or without a ``/v1.41`` prefix."""

import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import NamedTuple

from aiohttp import web

from rundlet.api.versions import MINIMUM, APIVersion
from rundlet.server.call import Call

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class WhenClientLeaves(Enum):
    """What becomes of a handler whose client closed the connection."""

    FINISH = "finish"
    """A change that was asked for is made; half of it would be worse."""
    CANCEL = "cancel"
    """A stream, or a wait, is of no use to anybody else."""


class Route(NamedTuple):
    """``pattern`` as ``/containers/{name}/json``; a variable takes any text, slashes included, as Docker's do.

    ``oldest`` is the first version of the API that it is answered for.
    """

    method: str
    pattern: str
    handler: Handler
    leaving: WhenClientLeaves = WhenClientLeaves.FINISH
    oldest: APIVersion = MINIMUM


class Match(NamedTuple):
    route: Route
    version: str
    variables: dict[str, str]


_VERSION = re.compile(r"/v([0-9][0-9.]*)(/.*)")
_VARIABLE = re.compile(r"\\{(\w+)\\}")


class RouteTable:
    """All routes. The first that fits wins, exact paths before patterns."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.pattern:
            self._exact[route.method, route.pattern] = route
            return
        expression = _VARIABLE.sub(r"(?P<\1>.+)", re.escape(route.pattern))
        key = (route.method, route.pattern.split("/", 2)[1])
        self._patterns.setdefault(key, []).append((re.compile(expression), route))

    def match(self, method: str, path: str) -> Match | None:
        """The route for a decoded path; None when there is none. ``version`` is empty when the path has no prefix."""
        version = ""
        if prefixed := _VERSION.fullmatch(path):
            version, path = prefixed[1], prefixed[2]
        exact = self._exact.get((method, path))
        if exact is not None:
            return Match(exact, version, {})
        noun = path.split("/", 2)[1] if path.startswith("/") else ""
        for pattern, route in self._patterns.get((method, noun), ()):
            if found := pattern.fullmatch(path):
                return Match(route, version, found.groupdict())
        return None
