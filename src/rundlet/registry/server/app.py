"""Requests to handlers, errors to answers, and who may ask."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from rundlet.registry.server.auth import Htpasswd
from rundlet.registry.server.errors import DeniedError, FullDiskError, ServerError, UnsupportedError
from rundlet.registry.server.listing import Listing
from rundlet.registry.server.paths import Target, parse_path
from rundlet.registry.server.pulling import Pulling, Upstream
from rundlet.registry.server.pushing import Pushing
from rundlet.registry.server.store import Store
from rundlet.registry.server.trust import Trust
from rundlet.registry.server.uploads import FULL
from rundlet.util.database import StateError

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest, Target], Awaitable[web.StreamResponse]]
VERSION: Final = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
READS: Final = frozenset(("GET", "HEAD"))


class Registry:
    """Answers every request."""

    def __init__(
        self,
        store: Store,
        *,
        users: Htpasswd | None = None,
        upstream: Upstream | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._users = users
        pulling, listing = Pulling(store, upstream), Listing(store, upstream)
        self._handlers = _table(pulling, Pushing(store) if upstream is None else None, listing, trust)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises nothing but what ends the connection."""
        try:
            answer = await self._answer(request)
        except ServerError as exc:
            answer = _failure(exc)
        except StateError as exc:
            _log.error("%s %s: %s", request.method, request.path, exc)
            answer = _failure(FullDiskError() if exc.full else ServerError(str(exc)))
        except OSError as exc:
            full = exc.errno in FULL
            _log.error("%s %s: %s", request.method, request.path, exc)
            answer = _failure(FullDiskError() if full else ServerError(exc.strerror or ""))
        if not answer.prepared:
            answer.headers.update(VERSION)
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._users is not None:
            await self._users.require(request.headers.get("Authorization", ""))
        _check_origin(request)
        target = parse_path(request.path)
        methods = self._handlers[target.kind]
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise UnsupportedError(f"{request.method} of this endpoint", {"Allow": allowed})
        return await handler(request, target)


async def _base(_request: web.BaseRequest, _target: Target) -> web.StreamResponse:
    return web.Response(body=b"{}", headers={"Content-Type": "application/json"})


def _table(
    pulling: Pulling, pushing: Pushing | None, listing: Listing, trust: Trust | None
) -> Mapping[str, dict[str, Handler]]:
    """By endpoint and method; without ``pushing`` (a pull-through cache) nothing can be written."""
    table: dict[str, dict[str, Handler]] = {
        "base": {"GET": _base},
        "catalog": {"GET": listing.catalog},
        "ping": {"GET": listing.ping},
        "search": {"GET": listing.search},
        "tags": {"GET": listing.tags},
        "referrers": {"GET": listing.referrers},
        "uploads": {},
        "upload": {},
        "blob": {"GET": pulling.blob},
        "manifest": {"GET": pulling.manifest},
        "trust": {"GET": trust.read, "POST": trust.write, "DELETE": trust.delete} if trust is not None else {},
    }
    if pushing is not None:
        table["uploads"] = {"POST": pushing.start}
        table["upload"] = {
            "GET": pushing.status,
            "PATCH": pushing.append,
            "PUT": pushing.finish,
            "DELETE": pushing.cancel,
        }
        table["blob"]["DELETE"] = pushing.delete_blob
        table["manifest"] |= {"PUT": pushing.put_manifest, "DELETE": pushing.delete_manifest}
    return table


def _check_origin(request: web.BaseRequest) -> None:
    """A page in a browser on this machine must not write to a registry that trusts loopback. Raises DeniedError."""
    origin = request.headers.get("Origin")
    if origin is not None and request.method not in READS and urlsplit(origin).netloc != request.host:
        raise DeniedError("requests of web pages from elsewhere are refused")


def _failure(error: ServerError) -> web.Response:
    return web.Response(
        status=error.status, body=error.body(), headers={"Content-Type": "application/json", **error.headers}
    )
