"""Endpoints that exist in Docker and are refused by name."""

from aiohttp import web

from rundlet.errors import NotSupportedError
from rundlet.server.call import Call
from rundlet.server.routing import Handler


def refused(what: str) -> Handler:
    """A handler that answers 501: ``what`` is not supported by Rundlet."""

    async def handler(call: Call) -> web.StreamResponse:
        raise NotSupportedError(what)

    return handler
