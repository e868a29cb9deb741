"""Writing: uploads (at once, in chunks, resumed), mounts, manifests; and deleting."""

import re
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT
from rundlet.registry.server.errors import (
    BlobUploadInvalidError,
    DigestInvalidError,
    ManifestTooLargeError,
    RangeInvalidError,
    SizeInvalidError,
)
from rundlet.registry.server.paths import Target, is_name, parse_algorithm, parse_digest, parse_tag
from rundlet.registry.server.store import Store
from rundlet.registry.server.uploads import Upload

_RANGE: Final = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")


class Pushing:
    """Handlers of everything that changes the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """``POST …/uploads/``: a mount, a whole blob (``?digest=``), or a new upload."""
        query = request.query
        if "mount" in query:
            digest, source = parse_digest(query["mount"]), query.get("from", "")
            known = not source or is_name(source)
            if known and await self._store.mount(target.repository, digest, source):
                return _created(target.repository, digest)
        whole = parse_digest(query["digest"]) if "digest" in query and "mount" not in query else None
        algorithm = whole.algorithm if whole is not None else parse_algorithm(query.get("digest-algorithm", "sha256"))
        upload = await self._store.uploads.start(target.repository, algorithm)
        if whole is None:
            return _accepted(upload, 202)
        try:
            async with upload.lock:
                await self._store.uploads.add(upload, body_chunks(request))
                await self._store.commit(upload, whole)
        except BaseException:
            await self._store.uploads.drop(upload)
            raise
        return _created(target.repository, whole)

    async def status(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        return _accepted(self._store.uploads.get(target.repository, target.last), 204)

    async def append(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """``PATCH``: the next chunk, or, without a range, all that is to come."""
        upload = self._store.uploads.get(target.repository, target.last)
        async with upload.lock:
            _check_range(request, upload)
            await self._store.uploads.add(upload, body_chunks(request))
        return _accepted(upload, 202)

    async def finish(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """``PUT``: the last chunk, if any, and the digest of the whole."""
        upload = self._store.uploads.get(target.repository, target.last)
        if "digest" not in request.query:
            raise DigestInvalidError("the digest parameter is missing")
        digest = parse_digest(request.query["digest"])
        async with upload.lock:
            if request.can_read_body:
                _check_range(request, upload)
                await self._store.uploads.add(upload, body_chunks(request))
            await self._store.commit(upload, digest)
        return _created(target.repository, digest)

    async def cancel(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        await self._store.uploads.drop(self._store.uploads.get(target.repository, target.last))
        return web.Response(status=204)

    async def delete_blob(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        await self._store.delete_blob(target.repository, target.digest)
        return web.Response(status=202, headers={"Docker-Content-Digest": target.last})

    # ── manifests ────────────────────────────────────────────────────────────────────────────────────────────

    async def put_manifest(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """By a tag, or by a digest: then ``?tag=`` (as often as one likes) names tags that it gets at the same time."""
        reference = target.reference
        beside = [parse_tag(tag) for tag in request.query.getall("tag", [])]
        data = await _small_body(request)
        tags, algorithm = beside, "sha256"
        if isinstance(reference, str):
            tags = [reference, *beside]
        else:
            algorithm = reference.algorithm
            if not reference.verifies(data):
                raise DigestInvalidError(f"expected {reference}, got {Digest.of(data, algorithm)}")
        content_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
        descriptor, document = await self._store.put_manifest(target.repository, data, content_type, tags, algorithm)
        headers = {
            "Location": f"/v2/{target.repository}/manifests/{descriptor.digest}",
            "Docker-Content-Digest": str(descriptor.digest),
        }
        if document.subject is not None:
            headers["OCI-Subject"] = str(document.subject)
        if beside:
            headers["OCI-Tag"] = ", ".join(beside)
        return web.Response(status=201, headers=headers)

    async def delete_manifest(self, _request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """By a tag, that tag goes; by a digest the manifest, with all its tags."""
        reference = target.reference
        if isinstance(reference, Digest):
            await self._store.delete_manifest(target.repository, reference)
        else:
            await self._store.delete_tag(target.repository, reference)
        return web.Response(status=202)


async def body_chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it comes. Raises BlobUploadInvalidError when the client goes away in the middle."""
    try:
        while chunk := await request.content.readany():
            yield chunk
    except (web.RequestPayloadError, ConnectionError) as exc:
        raise BlobUploadInvalidError(f"the body ended early: {exc}") from exc


async def _small_body(request: web.BaseRequest) -> bytes:
    data = b""
    async for chunk in body_chunks(request):
        data += chunk
        if len(data) > SIZE_LIMIT:
            raise ManifestTooLargeError(f"more than {SIZE_LIMIT} bytes")
    return data


def _check_range(request: web.BaseRequest, upload: Upload) -> None:
    """Where there is a Content-Range, it begins where the upload ends. Raises RangeInvalidError, SizeInvalidError."""
    text = request.headers.get("Content-Range", "")
    if not text:
        return
    match = _RANGE.fullmatch(text.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise RangeInvalidError(f"{text[:100]} is no range", _position(upload))
    if int(match[1]) != upload.offset:
        raise RangeInvalidError(f"{text[:100]} does not begin at {upload.offset}", _position(upload))
    length = request.content_length
    if length is not None and length != int(match[2]) - int(match[1]) + 1:
        raise SizeInvalidError(f"{text[:100]} is not {length} bytes")


def _position(upload: Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.identifier}",
        "Range": f"0-{max(upload.offset - 1, 0)}",
        "Docker-Upload-UUID": upload.identifier,
    }


def _accepted(upload: Upload, status: int) -> web.Response:
    return web.Response(status=status, headers=_position(upload))


def _created(repository: str, digest: Digest) -> web.Response:
    headers = {
        "Location": f"/v2/{repository}/blobs/{digest}",
        "Docker-Content-Digest": str(digest),
    }
    return web.Response(status=201, headers=headers)
