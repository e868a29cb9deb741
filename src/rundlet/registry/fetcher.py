"""Reading one repository: manifests (verified), blobs (size-checked, resumed after a cut), tags.

Servers are asked in order, mirrors first; what one fails to give, the next is asked for. Descriptors' foreign URLs are
never followed: a manifest must not be able to send the engine, or anyone's credentials, elsewhere (CVE-2020-15157).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from rundlet.errors import DigestMismatchError, InvalidParameterError, RundletError
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT, Index, document_type
from rundlet.oci.reference import DEFAULT_TAG, Reference
from rundlet.registry.connection import ERROR_LIMIT, Connection
from rundlet.registry.errors import BadAnswerError, RegistryError, for_pull, from_answer
from rundlet.registry.pages import next_page
from rundlet.transport.errors import TransportError
from rundlet.transport.http import BodyTooLargeError, Response

ACCEPT = {"Accept": ", ".join(mediatype.ACCEPT_MANIFEST)}
GOOD_PROGRESS = 1 << 20
TAG_PAGES = 1000
TAG_PAGE_LIMIT = 8 << 20
REFERRERS_PAGES = 100

T = TypeVar("T")
OnRetry = Callable[[float], None]


class SizeMismatchError(DigestMismatchError):
    """The registry sent more or fewer bytes than the manifest says."""

    def __init__(self, digest: Digest, expected: int, actual: str) -> None:
        super().__init__(f"{digest} of {expected} bytes", f"{actual} bytes")
        self.digest = digest


class ManifestMismatchError(DigestMismatchError):
    """The registry sent another manifest than the one that was asked for."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(str(expected), str(actual))
        self.message = f"manifest verification failed for digest {expected}: got {actual}"


class _TagList(msgspec.Struct):
    tags: list[str] | None = None


class Fetcher:
    """Made by :meth:`Registry.fetcher` for one repository and one user."""

    def __init__(self, name: Reference, connections: Sequence[Connection]) -> None:
        self._name = name
        self._connections = list(connections)
        self._scopes = (f"repository:{name.path}:pull",)

    async def resolve(self, reference: Reference) -> Descriptor:
        """What ``reference`` (a tag or digest of this repository) points at; ``size`` is 0 where the server hides it.

        Raises ManifestUnknownError, PullAccessDeniedError, RegistryUnreachableError and the rest of ``errors``.
        """
        wanted = str(reference.digest) if reference.digest else reference.tag or DEFAULT_TAG

        async def ask(connection: Connection) -> Descriptor:
            path = f"{self._name.path}/manifests/{wanted}"
            # HEAD does not count against a rate limit; its errors have no words, and not all servers know it: then GET.
            answer = await connection.call(
                "HEAD", path, scopes=self._scopes, headers=ACCEPT, accept=(*range(200, 300), *range(400, 600))
            )
            found = _head_descriptor(answer.headers) if answer.status < 300 else None
            if found is not None and reference.digest is not None and found.digest != reference.digest:
                raise ManifestMismatchError(reference.digest, found.digest)
            if found is not None:
                return found
            return (await self._manifest(connection, wanted, reference.digest))[0]

        return await self._first(ask, reference)

    async def manifest(self, descriptor: Descriptor) -> tuple[Descriptor, bytes]:
        """The verified bytes of a manifest or index, described with its true media type and size."""

        async def ask(connection: Connection) -> tuple[Descriptor, bytes]:
            found, data = await self._manifest(connection, str(descriptor.digest), descriptor.digest)
            if descriptor.size and descriptor.size != found.size:
                raise SizeMismatchError(descriptor.digest, descriptor.size, str(found.size))
            return found, data

        return await self._first(ask, self._name.with_digest(descriptor.digest))

    async def _manifest(self, connection: Connection, wanted: str, digest: Digest | None) -> tuple[Descriptor, bytes]:
        path = f"{self._name.path}/manifests/{wanted}"
        answer = await connection.call("GET", path, scopes=self._scopes, headers=ACCEPT, limit=SIZE_LIMIT)
        expected = digest or _announced(answer.headers)
        actual = Digest.of(answer.body, expected.algorithm if expected else "sha256")
        if expected is not None and actual != expected:
            raise ManifestMismatchError(expected, actual)
        announced = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return Descriptor(document_type(answer.body, announced), actual, len(answer.body)), answer.body

    async def small(self, descriptor: Descriptor, limit: int) -> bytes:
        """A whole, verified blob, for configs. Raises DigestMismatchError, BodyTooLargeError."""
        if descriptor.size > limit:
            raise BodyTooLargeError(str(descriptor.digest), limit)
        parts = [chunk async for chunk in self.blob(descriptor)]
        data = b"".join(parts)
        if not descriptor.digest.verifies(data):
            raise DigestMismatchError(str(descriptor.digest), str(Digest.of(data, descriptor.digest.algorithm)))
        return data

    async def blob(
        self, descriptor: Descriptor, offset: int = 0, on_retry: OnRetry | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from ``offset`` on, exactly up to its size; the digest is the receiver's to verify.

        A cut is resumed where it happened. Close it (``contextlib.aclosing``) when leaving early. Raises
        SizeMismatchError, and the errors of :meth:`resolve` with Docker's words.
        """
        position = offset
        failures = 0
        mark = offset
        connections = list(self._connections)
        ranges = True
        while position < descriptor.size or position == offset == 0:
            try:
                once = self._blob_once(connections[0], descriptor, position, ranges=ranges)
                async with aclosing(once) as chunks:
                    async for chunk in chunks:
                        position += len(chunk)
                        yield chunk
                if position >= descriptor.size:
                    return
            except RundletError as exc:
                if ranges and position and isinstance(exc, RegistryError) and exc.answered == 416:
                    ranges = False
                    continue
                failures = 1 if position - mark > GOOD_PROGRESS else failures + 1
                mark = position
                pause = connections[0].retry.pause(exc, failures)
                if pause is None or (isinstance(exc, TransportError) and exc.kind == "unresolved"):
                    if len(connections) == 1:
                        raise for_pull(exc, self._name, self._name.domain) from exc
                    connections.pop(0)
                    failures, ranges = 0, True
                    continue
                if on_retry is not None:
                    on_retry(pause)
                await connections[0].retry.wait(pause)

    async def _blob_once(
        self, connection: Connection, descriptor: Descriptor, start: int, *, ranges: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Bytes from ``start`` on: to the end, or to where the range ends that the server thought fit.

        ``ranges``: false for a server that refused one; what is there already is skipped.
        """
        path = f"{self._name.path}/blobs/{descriptor.digest}"
        headers = {"Range": f"bytes={start}-"} if start and ranges else {}
        async with connection.stream("GET", path, scopes=self._scopes, headers=headers) as response:
            if response.status not in (200, 206):
                body = await response.read(ERROR_LIMIT)
                raise _no_blob(from_answer(response.status, response.reason, response.headers, body))
            skip = _check_extent(response, descriptor, start)
            position = start - skip
            async for chunk in response.chunks():
                position += len(chunk)
                if position > descriptor.size:
                    raise SizeMismatchError(descriptor.digest, descriptor.size, f"at least {position}")
                if skip:
                    skipped = min(skip, len(chunk))
                    skip -= skipped
                    chunk = chunk[skipped:]  # noqa: PLW2901
                if chunk:
                    yield chunk
            if position < descriptor.size and not (response.status == 206 and position > start):
                raise _too_short(response, descriptor, position)

    async def tags(self) -> list[str]:
        """Every tag, in the registry's order."""

        async def ask(connection: Connection) -> list[str]:
            found: list[str] = []
            path = f"{self._name.path}/tags/list?n=1000"
            for _ in range(TAG_PAGES):
                answer = await connection.call("GET", path, scopes=self._scopes, limit=TAG_PAGE_LIMIT)
                found += _decode_tags(answer.url, answer.body)
                following = next_page(answer.url, answer.headers)
                if following is None:
                    return found
                path = following
            raise BadAnswerError(answer.url, "the list of tags does not end")

        return await self._first(ask, self._name)

    async def referrers(self, digest: Digest) -> list[Descriptor]:
        """The manifests whose subject is ``digest``, by the API or, where a registry has none, by the tag that stands
        for it. See: distribution-spec v1.1, "Listing Referrers".
        """

        async def ask(connection: Connection) -> list[Descriptor]:
            for path in (f"referrers/{digest}", f"manifests/{str(digest).replace(':', '-')}"):
                found = await self._index_pages(connection, f"{self._name.path}/{path}")
                if found is not None:
                    return found
            return []

        return await self._first(ask, self._name)

    async def _index_pages(self, connection: Connection, path: str) -> list[Descriptor] | None:
        """What an index lists that comes in pages; None where there is none. Raises BadAnswerError for endless ones."""
        found: list[Descriptor] = []
        for _ in range(REFERRERS_PAGES):
            answer = await connection.call(
                "GET",
                path,
                scopes=self._scopes,
                headers={"Accept": mediatype.OCI_INDEX},
                limit=SIZE_LIMIT,
                accept=(200, 400, 404, 405),
            )
            if answer.status != 200:
                return None
            found += Index.decode(answer.body).manifests or ()
            following = next_page(answer.url, answer.headers)
            if following is None:
                return found
            path = following
        raise BadAnswerError(answer.url, "the list of referrers does not end")

    async def _first(self, ask: Callable[[Connection], Awaitable[T]], reference: Reference) -> T:
        """The first server's answer; the one that gave it is asked first from then on."""
        failure: RundletError | None = None
        for connection in list(self._connections):
            try:
                result = await ask(connection)
            except RundletError as exc:
                failure = exc
                continue
            self._connections.remove(connection)
            self._connections.insert(0, connection)
            return result
        assert failure is not None
        raise for_pull(failure, reference, self._name.domain) from failure


def _announced(headers: Mapping[str, str]) -> Digest | None:
    value = headers.get("Docker-Content-Digest", "")
    try:
        return Digest.parse(value) if value else None
    except InvalidParameterError:
        return None


def _head_descriptor(headers: Mapping[str, str]) -> Descriptor | None:
    digest = _announced(headers)
    media_type = headers.get("Content-Type", "").partition(";")[0].strip()
    if digest is None or not (mediatype.is_manifest(media_type) or mediatype.is_index(media_type)):
        return None
    size = headers.get("Content-Length", "")
    known = size.isdigit() and len(size) < 12 and "Content-Encoding" not in headers
    return Descriptor(media_type, digest, int(size) if known else 0)


def _check_extent(response: Response, descriptor: Descriptor, start: int) -> int:
    """How many bytes to skip because the server ignored the range. Raises when it announces another size."""
    length = response.headers.get("Content-Length", "")
    announced = int(length) if length.isdigit() and len(length) < 20 else None
    if response.status == 200:
        if announced is not None and announced != descriptor.size:
            raise SizeMismatchError(descriptor.digest, descriptor.size, str(announced))
        return start
    extent = response.headers.get("Content-Range", "")
    if not extent.startswith(f"bytes {start}-"):
        raise BadAnswerError(response.url, f'range "{extent}" instead of one from {start}')
    if announced is not None and announced > descriptor.size - start:
        raise SizeMismatchError(descriptor.digest, descriptor.size, str(start + announced))
    return 0


def _no_blob(refusal: RegistryError) -> RegistryError:
    """Of a 404 without words (a proxy's): that a layer is gone must not read as if the image were."""
    if refusal.answered == 404 and not refusal.code:
        return RegistryError("BLOB_UNKNOWN", "blob unknown to registry", 404)
    return refusal


def _too_short(response: Response, descriptor: Descriptor, position: int) -> RundletError:
    """An answer whose end nobody announced (HTTP/1.0) can't be told from a cut: it is one, and resumed."""
    if "Content-Length" in response.headers or "Transfer-Encoding" in response.headers:
        return SizeMismatchError(descriptor.digest, descriptor.size, str(position))
    return TransportError(response.method, response.url, "cut", "unexpected EOF")


def _decode_tags(url: str, body: bytes) -> list[str]:
    try:
        return msgspec.json.decode(body, type=_TagList).tags or []
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise BadAnswerError(url, f"not a list of tags: {exc}") from exc
