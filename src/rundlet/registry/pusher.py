"""Writing one repository: blobs (skipped, mounted or uploaded), then manifests. See: distribution-spec, push."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import msgspec
from yarl import URL

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference
from rundlet.registry.connection import ERROR_LIMIT, Answer, Connection
from rundlet.registry.errors import BadAnswerError, RegistryError, for_push, from_answer
from rundlet.transport.errors import TransportError

COMMIT_IDLE = 600.0
"""Seconds of silence that are allowed while a registry moves a finished blob into its place."""
AT_ONCE = 256 << 10
"""Bytes of a blob that goes with the request that ends the upload: one answer less to wait for."""


class BlobSource(Protocol):
    """Where a blob's bytes come from; may be asked several times, from any offset."""

    def __call__(self, offset: int) -> AsyncIterator[bytes]: ...


class Upload(msgspec.Struct, frozen=True):
    """A session that the registry opened; ``mounted`` when it needs no bytes any more."""

    location: str
    mounted: bool = False


class RepositoryPusher:
    """Made by :meth:`Registry.pusher` for one repository and one user."""

    def __init__(self, name: Reference, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._scopes = (f"repository:{name.path}:pull,push",)

    async def has_blob(self, digest: Digest) -> bool:
        """Whether the repository holds the blob already."""
        try:
            answer = await self._connection.call(
                "HEAD", f"{self._name.path}/blobs/{digest}", scopes=self._scopes, accept=(200, 404)
            )
        except RundletError as exc:
            raise for_push(exc, self._name.domain) from exc
        return answer.status == 200

    async def mount(self, digest: Digest, source: str) -> Upload:
        """Take the blob over from repository ``source`` of the same registry, or open an upload where that fails."""
        query = URL.build(query={"mount": str(digest), "from": source}).raw_query_string
        scopes = (*self._scopes, f"repository:{source}:pull")
        return await self._open(f"{self._name.path}/blobs/uploads/?{query}", scopes)

    async def begin(self) -> Upload:
        """Open an upload."""
        return await self._open(f"{self._name.path}/blobs/uploads/", self._scopes)

    async def _open(self, path: str, scopes: tuple[str, ...]) -> Upload:
        try:
            answer = await self._connection.call(
                "POST", path, scopes=scopes, body=b"", accept=(201, 202), idle=COMMIT_IDLE
            )
        except RundletError as exc:
            raise for_push(exc, self._name.domain) from exc
        return Upload("" if answer.status == 201 else _location(answer), mounted=answer.status == 201)

    async def cancel(self, upload: Upload) -> None:
        """Give back an upload that needs no bytes; a registry that keeps it for a while does no harm."""
        try:
            await self._connection.call("DELETE", upload.location, scopes=self._scopes, accept=(200, 202, 204))
        except RundletError:
            return

    async def upload(
        self, digest: Digest, size: int, source: BlobSource, upload: Upload, progress: Callable[[int], None]
    ) -> None:
        """Send the blob. After a cut it goes on where the registry says, or from the start in a new upload.

        ``progress`` is told how many bytes were given to the connection so far. Raises TransportError, RegistryError.
        """
        failures = 0
        while True:
            try:
                offset = await self._offset(upload) if failures and size > AT_ONCE else 0
                if size <= AT_ONCE:
                    await self._commit(upload.location, digest, b"".join([chunk async for chunk in source(0)]))
                    progress(size)
                    return
                location = await self._send(upload, offset, size, source, progress)
                await self._commit(location, digest)
                return
            except RundletError as exc:
                failures += 1
                pause = self._connection.retry.pause(exc, failures)
                lost = isinstance(exc, RegistryError) and exc.answered in (404, 416) and failures < 3
                if pause is None and not lost:
                    raise for_push(exc, self._name.domain) from exc
                await self._connection.retry.wait(pause or 0)
                if lost or not isinstance(exc, TransportError):
                    upload = await self.begin()

    async def _offset(self, upload: Upload) -> int:
        """How many bytes the registry has. Raises RegistryError when it forgot the upload."""
        answer = await self._connection.call("GET", upload.location, scopes=self._scopes, accept=(204,))
        return _received(answer.headers)

    async def _send(
        self, upload: Upload, offset: int, size: int, source: BlobSource, progress: Callable[[int], None]
    ) -> str:
        if offset > size:
            raise BadAnswerError(upload.location, f"it has {offset} of {size} bytes")

        async def body() -> AsyncIterator[bytes]:
            sent = offset
            async for chunk in source(offset):
                yield chunk
                sent += len(chunk)
                progress(sent)

        headers = {"Content-Type": "application/octet-stream"}
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        async with self._connection.stream(
            "PATCH",
            upload.location,
            scopes=self._scopes,
            headers=headers,
            body=body,
            length=size - offset,
            idle=COMMIT_IDLE,
        ) as response:
            content = await response.read(ERROR_LIMIT)
            answer = Answer(response.status, response.reason, response.headers, content, response.url)
        if answer.status not in (200, 201, 202, 204):
            raise from_answer(answer.status, answer.reason, answer.headers, answer.body)
        return _location(answer)

    async def _commit(self, location: str, digest: Digest, body: bytes = b"") -> None:
        url = URL(location, encoded=True)
        query = URL.build(query={"digest": str(digest)}).raw_query_string
        separator = "&" if url.raw_query_string else "?"
        await self._connection.call(
            "PUT",
            f"{location}{separator}{query}",
            scopes=self._scopes,
            headers={"Content-Type": "application/octet-stream"},
            body=body,
            accept=(201, 204),
            idle=COMMIT_IDLE,
            repeat=False,
        )

    async def put_manifest(self, data: bytes, descriptor: Descriptor, tag: str | None) -> None:
        """Store a manifest or index under ``tag``, or under its digest only. Its bytes are sent as they are."""
        target = tag or str(descriptor.digest)
        try:
            answer = await self._connection.call(
                "PUT",
                f"{self._name.path}/manifests/{target}",
                scopes=self._scopes,
                headers={"Content-Type": descriptor.media_type},
                body=data,
                accept=(200, 201, 202, 204),
                idle=COMMIT_IDLE,
            )
        except RundletError as exc:
            raise for_push(exc, self._name.domain) from exc
        stored = answer.headers.get("Docker-Content-Digest", "")
        if stored.startswith("sha256:") and stored != str(descriptor.digest):
            raise DigestMismatchError(str(descriptor.digest), stored)


def _location(answer: Answer) -> str:
    value = answer.headers.get("Location", "")
    if not value:
        raise BadAnswerError(answer.url, "an upload without a Location")
    try:
        target = URL(answer.url, encoded=True).join(URL(value, encoded=True))
    except ValueError as exc:
        raise BadAnswerError(answer.url, f'location "{value}"') from exc
    if target.scheme not in ("http", "https"):
        raise BadAnswerError(answer.url, f'location "{value}"')
    return str(target)


def _received(headers: Mapping[str, str]) -> int:
    """``Range: 0-N`` (or ``bytes=0-N``): N + 1 bytes; ``0-0`` of an empty upload can't be told from one byte: 0."""
    first, _, last = headers.get("Range", "").removeprefix("bytes=").partition("-")
    if first != "0" or not last.isdigit():
        return 0
    return int(last) + 1 if last != "0" else 0
