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
from rundlet.transport.http import Body

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

    async def mount(self, digest: Digest, source: str) -> Upload | None:
        """Take the blob over from repository ``source`` of the same registry.

        An upload that the registry opened instead, or None where it wants neither: a shortcut that is refused (the user
        may not read the source, the registry knows no mounts) is no reason to fail.
        """
        query = URL.build(query={"mount": str(digest), "from": source}).raw_query_string
        scopes = (*self._scopes, f"repository:{source}:pull")
        for _ in range(2):
            try:
                return await self._open(f"{self._name.path}/blobs/uploads/?{query}", scopes, repeat=False)
            except TransportError:
                continue  # perhaps a connection that was kept for too long
            except RundletError:
                break
        return None

    async def begin(self) -> Upload:
        """Open an upload."""
        return await self._open(f"{self._name.path}/blobs/uploads/", self._scopes)

    async def _open(self, path: str, scopes: tuple[str, ...], *, repeat: bool = True) -> Upload:
        try:
            answer = await self._connection.call(
                "POST", path, scopes=scopes, body=b"", accept=(201, 202), idle=COMMIT_IDLE, repeat=repeat
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
        pieces = True
        while True:
            try:
                if size <= AT_ONCE or not pieces:
                    await self._commit(upload.location, digest, _Body(source, 0, size, progress))
                    progress(size)
                    return
                offset = 0
                if failures:
                    upload, offset = await self._resumed(upload)
                location = await self._send(upload, _Body(source, offset, size, progress))
                await self._commit(location, digest)
                return
            except RundletError as exc:
                failures += 1
                refused = exc.answered if isinstance(exc, RegistryError) else 0
                if pieces and refused in (405, 501):  # it takes a blob with the request that ends the upload only
                    pieces, failures = False, 0
                    upload = await self.begin()
                    continue
                pause = self._connection.retry.pause(exc, failures)
                lost = refused in (404, 416) and failures < 3
                if pause is None and not lost:
                    raise for_push(exc, self._name.domain) from exc
                await self._connection.retry.wait(pause or 0)
                if lost or not isinstance(exc, TransportError):
                    upload = await self.begin()

    async def _resumed(self, upload: Upload) -> tuple[Upload, int]:
        """Where to go on, and how many bytes the registry has. Raises RegistryError when it forgot the upload."""
        answer = await self._connection.call("GET", upload.location, scopes=self._scopes, accept=(204,))
        # The location may hold the registry's own note of how far it has come: the old one would be refused.
        location = _location(answer) if answer.headers.get("Location") else upload.location
        return Upload(location), _received(answer.headers)

    async def _send(self, upload: Upload, body: "_Body") -> str:
        if body.offset > body.size:
            raise BadAnswerError(upload.location, f"it has {body.offset} of {body.size} bytes")
        headers = {"Content-Type": "application/octet-stream"}
        if body.offset:
            headers["Content-Range"] = f"{body.offset}-{body.size - 1}"
        return _location(await self._stream("PATCH", upload.location, headers, body, (200, 201, 202, 204)))

    async def _commit(self, location: str, digest: Digest, body: "_Body | None" = None) -> None:
        url = URL(location, encoded=True)
        query = URL.build(query={"digest": str(digest)}).raw_query_string
        separator = "&" if url.raw_query_string else "?"
        headers = {"Content-Type": "application/octet-stream"}
        await self._stream("PUT", f"{location}{separator}{query}", headers, body, (201, 204))

    async def _stream(
        self, method: str, url: str, headers: Mapping[str, str], body: "_Body | None", accept: tuple[int, ...]
    ) -> Answer:
        """A request whose failure is the whole upload's to think about: not repeated."""
        async with self._connection.stream(
            method,
            url,
            scopes=self._scopes,
            headers=headers,
            body=b"" if body is None else await body.ready(),
            length=0 if body is None else body.length,
            idle=COMMIT_IDLE,
        ) as response:
            content = await response.beginning(ERROR_LIMIT)
            answer = Answer(response.status, response.reason, response.headers, content, response.url)
        if answer.status not in accept:
            raise from_answer(answer.status, answer.reason, answer.headers, answer.body)
        return answer

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


class _Body(msgspec.Struct, frozen=True):
    """What is left of a blob to send; a factory, so that a request can be repeated to authenticate."""

    source: BlobSource
    offset: int
    size: int
    progress: Callable[[int], None]

    @property
    def length(self) -> int:
        return self.size - self.offset

    async def ready(self) -> Body:
        """As a request wants it: the bytes themselves where they are worth no stream."""
        return self if self.size > AT_ONCE else b"".join([chunk async for chunk in self.source(self.offset)])

    async def __call__(self) -> AsyncIterator[bytes]:
        sent = self.offset
        async for chunk in self.source(self.offset):
            yield chunk
            sent += len(chunk)
            self.progress(sent)


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
