"""How long requests take, for who measures it, and the socket where measurements are asked for.

Nothing else is served there: whoever reaches the address learns the numbers and changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aiohttp import web

from rundlet.server.call import Call
from rundlet.server.routing import Handler, Route

_CUT: Final = 0.05
"""Seconds for answers that are under way at the end."""
Observe = Callable[[str, str, float], None]
_ACTIONS: Final = {
    ("POST", "/containers/create"): ("container", "create"),
    ("POST", "/containers/{name}/start"): ("container", "start"),
    ("GET", "/containers/{name}/changes"): ("container", "changes"),
    ("DELETE", "/containers/{name}"): ("container", "delete"),
    ("POST", "/commit"): ("container", "commit"),
    ("POST", "/networks/create"): ("network", "create"),
    ("POST", "/networks/{id}/connect"): ("network", "connect"),
    ("POST", "/networks/{id}/disconnect"): ("network", "disconnect"),
    ("DELETE", "/networks/{id}"): ("network", "delete"),
}


def timed(routes: Iterable[Route], observe: Observe) -> Iterator[Route]:
    """The same routes; what succeeds is told to ``observe``: noun, action, seconds."""
    for route in routes:
        action = _ACTIONS.get((route.method, route.pattern))
        yield route if action is None else route._replace(handler=_timed(route.handler, observe, *action))


def _timed(handler: Handler, observe: Observe, noun: str, action: str) -> Handler:
    async def measured(call: Call) -> web.StreamResponse:
        began = time.monotonic()
        answer = await handler(call)
        observe(noun, action, time.monotonic() - began)
        return answer

    return measured


class MetricsServer:
    """Answers ``GET /metrics`` on an address."""

    def __init__(self, render: Callable[[], str], content_type: str) -> None:
        self._render = render
        self._content_type = content_type
        self._server = web.Server(self._answer, access_log=None)
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError."""
        self._listener = await asyncio.get_running_loop().create_server(self._server, host, port)

    async def run(self) -> None:
        """Until it is cancelled: then the address is free again."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._listener is not None:
                self._listener.close()
            await self._server.shutdown(_CUT)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics":
            return web.Response(status=404, text="404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="method not allowed\n")
        return web.Response(body=self._render().encode(), headers={"Content-Type": self._content_type})
