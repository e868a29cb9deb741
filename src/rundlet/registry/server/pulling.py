"""Reading: blobs (whole, ranges, conditional) and manifests."""

import asyncio
from typing import Protocol

from aiohttp import web

from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry.server.blobs import CHUNK
from rundlet.registry.server.errors import BlobUnknownError, ManifestUnknownError
from rundlet.registry.server.paths import Target
from rundlet.registry.server.store import Store

OCTETS = "application/octet-stream"


class Upstream(Protocol):
    """Where a pull-through cache gets what it has not."""

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor: ...

    async def blob(self, request: web.BaseRequest, repository: str, digest: Digest) -> web.StreamResponse: ...

    async def tags(self, repository: str) -> list[str]: ...

    async def referrers(self, repository: str, digest: Digest) -> list[Descriptor]: ...


class Pulling:
    """``upstream`` is None for a registry that stands for itself."""

    def __init__(self, store: Store, upstream: Upstream | None = None) -> None:
        self._store = store
        self._upstream = upstream

    async def blob(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        digest = target.digest
        try:
            size = self._store.blob_size(target.repository, digest)
        except BlobUnknownError:
            if self._upstream is None:
                raise
            return await self._upstream.blob(request, target.repository, digest)
        headers = blob_headers(digest)
        if matches(request, digest):
            return web.Response(status=304, headers=headers)
        if request.method == "HEAD":
            size = await self._store.promised(target.repository, digest)
            return web.Response(headers={**headers, "Content-Length": str(size), "Accept-Ranges": "bytes"})
        # Its own validators (time and size) are as good as ours: the file of a digest never changes.
        return web.FileResponse(self._store.files.path(digest), chunk_size=CHUNK, headers=headers)

    async def manifest(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        reference = target.reference
        if self._upstream is not None:
            found = await self._upstream.resolve(target.repository, reference)
        else:
            found = self._store.resolve(target.repository, reference)
        headers = {
            "Content-Type": found.media_type,
            "Docker-Content-Digest": str(found.digest),
            "ETag": f'"{found.digest}"',
        }
        if matches(request, found.digest):
            return web.Response(status=304, headers=headers)
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(found.size)})
        try:
            data = await asyncio.to_thread(self._store.files.read, found.digest)
        except BlobUnknownError as exc:
            raise ManifestUnknownError(exc.detail) from exc
        return web.Response(body=data, headers=headers)


def blob_headers(digest: Digest) -> dict[str, str]:
    return {"Content-Type": OCTETS, "Docker-Content-Digest": str(digest), "Cache-Control": "max-age=31536000"}


def matches(request: web.BaseRequest, digest: Digest) -> bool:
    """Whether the client has this content already, as its If-None-Match says."""
    return any(tag.value in ("*", str(digest)) for tag in request.if_none_match or ())
