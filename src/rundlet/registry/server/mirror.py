"""A pull-through cache: what is not here is fetched from another registry, passed on while it arrives, and kept.

Tags are asked for upstream each time, by a request that counts against no rate limit, and so are the lists of tags and
of referrers: a list of what happens to be here would tell a client that there is no signature. When upstream can't be
reached, what the tag meant last is given, and what is known of the lists. A blob is fetched once however many clients
want it, and only when a cached manifest names it, with the size that it says; its last byte is passed on after its
digest was found right.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from rundlet.errors import InvalidParameterError, NotFoundError, RundletError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference
from rundlet.registry.client import Registry
from rundlet.registry.fetcher import Fetcher
from rundlet.registry.hosts import HostsConfig
from rundlet.registry.server.blobs import CHUNK
from rundlet.registry.server.errors import (
    BlobUnknownError,
    ManifestUnknownError,
    NameUnknownError,
    RangeInvalidError,
    ServerError,
    UpstreamError,
)
from rundlet.registry.server.pulling import blob_headers
from rundlet.registry.server.store import Store
from rundlet.registry.server.uploads import Upload
from rundlet.transport import HttpClient

_log = logging.getLogger(__name__)

OCTETS: Final = "application/octet-stream"


class MirrorUrlError(InvalidParameterError):
    reason = "bad-mirror-url"

    def __init__(self, url: str) -> None:
        super().__init__(f'--mirror-of: "{url}" is not the URL of a registry (https://HOST[:PORT])')


class _Download:
    """One blob on its way here, and how far it is."""

    def __init__(self, upload: Upload, size: int) -> None:
        self.upload = upload
        self.size = size
        self.task: asyncio.Task[None] | None = None
        self.failure: RundletError | OSError | None = None
        self._changed = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def available(self) -> int:
        """Bytes that may be passed on: all but the last until all of them were verified."""
        return self.size if self.done and self.failure is None else min(self.upload.offset, self.size - 1)

    def tick(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        await self._changed.wait()


class Mirror:
    """Implements :class:`~rundlet.registry.server.pulling.Upstream` for one registry."""

    def __init__(self, store: Store, url: str) -> None:
        """Raises MirrorUrlError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc or parts.path.strip("/"):
            raise MirrorUrlError(url)
        self._domain = parts.netloc
        self._store = store
        self._http = HttpClient()
        insecure = (parts.netloc,) if parts.scheme == "http" else ()
        self._registry = Registry(self._http, HostsConfig(insecure=insecure))
        self._downloads: dict[tuple[str, Digest], _Download] = {}

    async def close(self) -> None:
        """End what is under way; what has arrived of it is not kept."""
        tasks = [download.task for download in self._downloads.values() if download.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close()

    # ── manifests ────────────────────────────────────────────────────────────────────────────────────────────

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor:
        """What ``reference`` means upstream, with its manifest here. Raises ManifestUnknownError, UpstreamError."""
        cached = self._cached(repository, reference)
        if cached is not None and isinstance(reference, Digest):
            return cached
        fetcher = self._fetcher(repository)
        name = Reference(self._domain, repository)
        wanted = name.with_digest(reference) if isinstance(reference, Digest) else name.with_tag(reference)
        tag = None if isinstance(reference, Digest) else reference
        try:
            found = await fetcher.resolve(wanted)
            if tag is not None and self._cached(repository, found.digest) is not None:
                if cached is None or cached.digest != found.digest:
                    await self._store.cache_tag(repository, found, tag)
            else:
                found, data = await fetcher.manifest(found)
                await self._store.cache_manifest(repository, found, data, tag)
        except ServerError:
            raise
        except NotFoundError as exc:
            raise ManifestUnknownError(str(exc)) from exc
        except RundletError as exc:
            if cached is not None:
                _log.warning("%s: %s; what is cached is given", wanted.familiar, exc)
                return cached
            raise UpstreamError(str(exc)) from exc
        return self._store.resolve(repository, found.digest)

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────

    async def tags(self, repository: str) -> list[str]:
        """Every tag that upstream has. Raises NameUnknownError, UpstreamError."""
        try:
            return await self._fetcher(repository).tags()
        except NotFoundError as exc:
            raise NameUnknownError(repository) from exc
        except RundletError as exc:
            raise UpstreamError(str(exc)) from exc

    async def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """What refers to ``digest`` upstream, by its API or by the tag that stands for it. Raises UpstreamError."""
        try:
            return await self._fetcher(repository).referrers(digest)
        except NotFoundError:
            return []
        except RundletError as exc:
            raise UpstreamError(str(exc)) from exc

    def _cached(self, repository: str, reference: str | Digest) -> Descriptor | None:
        try:
            found = self._store.resolve(repository, reference)
        except ServerError:
            return None
        return found if self._store.files.size(found.digest) is not None else None

    def _fetcher(self, repository: str) -> Fetcher:
        return self._registry.fetcher(Reference(self._domain, repository))

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────

    async def blob(self, request: web.BaseRequest, repository: str, digest: Digest) -> web.StreamResponse:
        """A blob that is not here yet. Raises BlobUnknownError."""
        size = self._store.index.referenced_size(repository, digest)
        if size is None:
            raise BlobUnknownError(f"{digest} is in no manifest that was asked for")
        headers = blob_headers(digest)
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(size), "Accept-Ranges": "bytes"})
        if await self._store.mount(repository, digest, ""):
            return web.FileResponse(self._store.files.path(digest), chunk_size=CHUNK, headers=headers)
        start, stop = _extent(request, size)
        download = self._downloads.get((repository, digest)) or await self._begin(repository, digest, size)
        return await _follow(request, download, self._open(download, digest), headers, start, stop)

    def _open(self, download: _Download, digest: Digest) -> int:
        """The growing file, which may have become the blob just now."""
        try:
            return os.open(download.upload.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(self._store.files.path(digest), os.O_RDONLY | os.O_CLOEXEC)

    async def _begin(self, repository: str, digest: Digest, size: int) -> _Download:
        upload = await self._store.uploads.start(repository, digest.algorithm)
        other = self._downloads.get((repository, digest))
        if other is not None:
            await self._store.uploads.drop(upload)
            return other
        download = _Download(upload, size)
        self._downloads[(repository, digest)] = download
        download.task = asyncio.create_task(self._run(download, repository, digest))
        return download

    async def _run(self, download: _Download, repository: str, digest: Digest) -> None:
        upload = download.upload
        descriptor = Descriptor(OCTETS, digest, download.size)
        try:
            async with upload.lock, aclosing(self._fetched(download, repository, descriptor)) as chunks:
                await upload.append(chunks)
                await self._store.commit(upload, digest)
        except (RundletError, OSError) as exc:
            _log.warning("%s of %s: %s", digest, repository, exc)
            download.failure = exc
            await self._store.uploads.drop(upload)
        except asyncio.CancelledError:
            download.failure = UpstreamError("the cache is ending")
            raise
        finally:
            del self._downloads[(repository, digest)]
            asyncio.get_running_loop().call_soon(download.tick)

    async def _fetched(
        self, download: _Download, repository: str, descriptor: Descriptor
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._fetcher(repository).blob(descriptor)) as chunks:
            async for chunk in chunks:
                yield chunk
                download.tick()


def _extent(request: web.BaseRequest, size: int) -> tuple[int, int]:
    """First byte, and the one behind the last. Raises RangeInvalidError."""
    try:
        wanted = request.http_range
    except ValueError as exc:
        raise RangeInvalidError(str(exc), {"Content-Range": f"bytes */{size}"}) from exc
    start, stop, _ = wanted.indices(size)
    if (wanted.start or wanted.stop) and start >= stop:
        raise RangeInvalidError(request.headers.get("Range", ""), {"Content-Range": f"bytes */{size}"})
    return start, stop


async def _follow(
    request: web.BaseRequest, download: _Download, fd: int, headers: dict[str, str], start: int, stop: int
) -> web.StreamResponse:
    """Pass on what arrives; a download that fails cuts the connection, so that nobody takes a part for the whole."""
    try:
        chunks = _arriving(fd, download, start, stop)
        first = await anext(chunks, b"")
        if not first and download.failure is not None:
            raise UpstreamError(str(download.failure))
        part = (start, stop) != (0, download.size)
        response = web.StreamResponse(status=206 if part else 200, headers=headers)
        response.content_length = stop - start
        if part:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{download.size}"
        await response.prepare(request)
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        if download.failure is not None and request.transport is not None:
            request.transport.abort()
        return response
    finally:
        os.close(fd)


async def _arriving(fd: int, download: _Download, start: int, stop: int) -> AsyncIterator[bytes]:
    position = start
    while position < stop:
        end = min(download.available, stop)
        if position < end:
            chunk = await asyncio.to_thread(os.pread, fd, min(CHUNK, end - position), position)
            position += len(chunk)
            yield chunk
        elif download.done and download.failure is not None:
            return
        else:
            await download.changed()
