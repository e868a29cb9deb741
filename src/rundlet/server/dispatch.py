"""From a raw request to a handler and back: the path's version, the client that leaves, the errors."""

import asyncio
import logging
from typing import Final

from aiohttp import hdrs, web

from rundlet.api import versions
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.routing import Handler, RouteTable, WhenClientLeaves
from rundlet.transport.agents import CLIENT

log = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Dispatcher:
    """Called by aiohttp for every request; the only one that sees all of them."""

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes
        self._unfinished: set[asyncio.Task[web.StreamResponse]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._dispatch(request)
        except asyncio.CancelledError:
            raise
        except ConnectionError as exc:
            if request.transport is not None and not request.transport.is_closing():
                return self._failure(request, exc)
            log.debug("%s %s: the client left: %s", request.method, request.path, exc)
            return answers.empty(400)  # for nobody
        except Exception as exc:
            return self._failure(request, exc)

    def _failure(self, request: web.BaseRequest, error: Exception) -> web.Response:
        match = self._routes.match(request.method, request.path)
        return answers.failure(error, plain=match is not None and versions.reads_errors_as_text(match.version))

    async def finish(self) -> None:
        """Wait for the changes whose clients left before they were made."""
        if self._unfinished:
            await asyncio.wait(self._unfinished)

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == hdrs.METH_OPTIONS:
            return answers.empty(200)  # as Docker, whatever the path
        match = self._routes.match(request.method, request.path)
        if match is None:
            return answers.json({"message": "page not found"}, 404)
        call = Call(request, versions.parse(match.version, match.route.oldest), match.variables)
        CLIENT.set(call.header(hdrs.USER_AGENT))
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(_CONTINUE)
        if match.route.leaving is WhenClientLeaves.CANCEL:
            return await match.route.handler(call)
        return await self._finish_anyway(match.route.handler, call)

    async def _finish_anyway(self, handler: Handler, call: Call) -> web.StreamResponse:
        task = asyncio.ensure_future(handler(call))
        self._unfinished.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("request failed: %s", error)
