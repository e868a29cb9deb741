"""Lists: tags, repositories, referrers, and Docker Hub's search. Long ones come in pages."""

import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from rundlet.oci import mediatype
from rundlet.oci.codec import encode
from rundlet.oci.descriptor import Descriptor
from rundlet.registry.server.errors import NameUnknownError, PageInvalidError, UpstreamError
from rundlet.registry.server.paths import Target
from rundlet.registry.server.pulling import Upstream
from rundlet.registry.server.store import Store

_log = logging.getLogger(__name__)

PAGE: Final = 1000
"""Items of a page where the client names no number, and at most."""
REFERRERS_PAGE: Final = 200
_SEARCH_PAGE: Final = 25
_SEARCH_MOST: Final = 100


class Listing:
    """Handlers that only read the index, and, in a cache, what ``upstream`` lists."""

    def __init__(self, store: Store, upstream: Upstream | None = None) -> None:
        self._index = store.index
        self._upstream = upstream

    async def tags(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        limit = _number(request)
        found = await self._tags(target.repository, request.query.get("last", ""), limit + 1 if limit else 0)
        headers = _next(request, found, limit)
        return _json({"name": target.repository, "tags": found[:limit]}, headers)

    async def catalog(self, request: web.BaseRequest, _target: Target) -> web.StreamResponse:
        limit = _number(request)
        found = self._index.repositories(request.query.get("last", ""), limit + 1) if limit else []
        return _json({"repositories": found[:limit]}, _next(request, found, limit))

    async def referrers(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Never 404: what nobody refers to has an empty list."""
        kind = request.query.get("artifactType", "")
        found = await self._referrers(target, kind, request.query.get("last", ""), REFERRERS_PAGE + 1)
        headers = _next(request, [str(item.digest) for item in found], REFERRERS_PAGE)
        if kind:
            headers["OCI-Filters-Applied"] = "artifactType"
        return _index_document(found[:REFERRERS_PAGE], headers)

    async def _tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Raises NameUnknownError, and UpstreamError when there is nothing of the repository here either."""
        failure: UpstreamError | None = None
        if self._upstream is not None:
            try:
                return [tag for tag in sorted(await self._upstream.tags(repository)) if tag > after][:limit]
            except UpstreamError as exc:
                failure = exc
        if not self._index.known(repository):
            raise failure or NameUnknownError(repository)
        return self._index.tags(repository, after, limit)

    async def _referrers(self, target: Target, kind: str, after: str, limit: int) -> Sequence[Descriptor]:
        """By digest."""
        if self._upstream is not None:
            try:
                found = await self._upstream.referrers(target.repository, target.digest)
            except UpstreamError as exc:
                _log.warning("referrers of %s: %s; what is cached is given", target.last, exc)
            else:
                chosen = (item for item in found if not kind or item.artifact_type == kind)
                return sorted((item for item in chosen if str(item.digest) > after), key=_by_digest)[:limit]
        return self._index.referrers(target.repository, target.digest, kind, after, limit)

    async def ping(self, _request: web.BaseRequest, _target: Target) -> web.StreamResponse:
        """What Docker's search looks for before it searches."""
        return _json({"standalone": True}, {"X-Docker-Registry-Standalone": "true"})

    async def search(self, request: web.BaseRequest, _target: Target) -> web.StreamResponse:
        """As Docker Hub's ``/v1/search?q=…&n=…&page=…``."""
        query = request.query.get("q", "")
        size = min(_integer(request, "n", _SEARCH_PAGE, least=1), _SEARCH_MOST)
        page = _integer(request, "page", 1, least=1)
        total, found = self._index.search(query, (page - 1) * size, size)
        results = [
            {
                "name": item.name,
                "description": item.description,
                "star_count": 0,
                "is_official": False,
                "is_automated": False,
            }
            for item in found
        ]
        return _json(
            {
                "query": query,
                "num_results": total,
                "num_pages": -(-total // size),
                "page": page,
                "page_size": size,
                "results": results,
            }
        )


def _by_digest(item: Descriptor) -> str:
    return str(item.digest)


def _integer(request: web.BaseRequest, name: str, default: int, *, least: int = 0) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
        raise PageInvalidError(f"{name}={text[:50]}")
    return int(text)


def _number(request: web.BaseRequest) -> int:
    return min(_integer(request, "n", PAGE), PAGE)


def _next(request: web.BaseRequest, found: Sequence[str], limit: int) -> dict[str, str]:
    """The Link to the next page, where there is more than ``limit``."""
    if len(found) <= limit or not limit:
        return {}
    query = {key: value for key, value in request.query.items() if key not in ("n", "last")}
    query |= {"n": str(limit), "last": found[limit - 1]}
    return {"Link": f'<{request.rel_url.raw_path}?{urlencode(query)}>; rel="next"'}


def _json(value: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=encode(value), headers={"Content-Type": "application/json", **(headers or {})})


def _index_document(manifests: Sequence[Descriptor], headers: dict[str, str]) -> web.Response:
    document = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": list(manifests)}
    return web.Response(body=encode(document), headers={"Content-Type": mediatype.OCI_INDEX, **headers})
