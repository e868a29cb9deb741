"""Reading one repository: manifests (verified), blobs (size-checked, resumed after a cut), tags.

Servers are asked in order, mirrors first; what one fails to give, the next is asked for (``sources``). What a blob's
bytes come to is known by who takes them: :meth:`Fetcher.blame` says whether somebody else may have the right ones.
Descriptors' foreign URLs are never followed: a manifest must not be able to send the engine, or anyone's credentials,
elsewhere (CVE-2020-15157).
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
from rundlet.registry.extents import SizeMismatchError, WrongRangeError, bytes_to_skip, is_zipped, too_short
from rundlet.registry.pages import next_page
from rundlet.registry.sources import Sources, own_words
from rundlet.transport.errors import TransportError
from rundlet.transport.http import BodyTooLargeError

ACCEPT = {"Accept": ", ".join(mediatype.ACCEPT_MANIFEST)}
GOOD_PROGRESS = 1 << 20
TAG_PAGES = 1000
TAG_PAGE_LIMIT = 8 << 20
REFERRERS_PAGES = 100

T = TypeVar("T")
OnRetry = Callable[[float], None]


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
        self._sources = Sources(connections)
        self._givers: dict[Digest, set[Connection | None]] = {}
        """Whose bytes of a blob were given; None: what an earlier fetcher's left."""
        self._told: dict[Reference, Connection] = {}
        """Who said what a reference means."""
        self._scopes = (f"repository:{name.path}:pull",)

    async def resolve(self, reference: Reference) -> Descriptor:
        """What ``reference`` (a tag or digest of this repository) points at; ``size`` is 0 where the server hides it.

        Raises ManifestUnknownError, PullAccessDeniedError, RegistryUnreachableError and the rest of ``errors``.
        """
        wanted = str(reference.digest) if reference.digest else reference.tag or DEFAULT_TAG

        async def ask(connection: Connection) -> Descriptor:
            path = f"{self._name.path}/manifests/{wanted}"
            # HEAD does not count against a rate limit; its errors have no words, and not all servers know it: then GET.
            found = await self._head(connection, path)
            if found is not None and reference.digest is not None and found.digest != reference.digest:
                raise ManifestMismatchError(reference.digest, found.digest)
            if found is not None:
                return found
            return (await self._manifest(connection, wanted, reference.digest))[0]

        found, server = await self._first(ask, reference)
        self._told[reference] = server
        return found

    async def _head(self, connection: Connection, path: str) -> Descriptor | None:
        try:
            answer = await connection.call(
                "HEAD", path, scopes=self._scopes, headers=ACCEPT, accept=(*range(200, 300), *range(400, 600))
            )
        except TransportError as exc:
            if exc.kind == "protocol":  # an answer with a body, which is taken for the next answer
                return None
            raise
        return _head_descriptor(answer.headers) if answer.status < 300 else None

    def doubt(self, reference: Reference, exc: RundletError) -> bool:
        """What ``reference`` was resolved to can't be had: whether another server may say that it means something else.

        A mirror's word for what a tag means is all that there is; one that has an old or a wrong one must not keep
        from the registry's.
        """
        server = self._told.pop(reference, None)
        return server is not None and reference.digest is None and self._sources.drop(server, exc, reference.familiar)

    async def manifest(self, descriptor: Descriptor) -> tuple[Descriptor, bytes]:
        """The verified bytes of a manifest or index, described with its true media type and size.

        The digest decides, as with Docker, and not the size: proxies count something else when they are asked for the
        head, and there are indexes made by hand whose sizes are another manifest's.
        """

        async def ask(connection: Connection) -> tuple[Descriptor, bytes]:
            return await self._manifest(connection, str(descriptor.digest), descriptor.digest)

        return (await self._first(ask, self._name.with_digest(descriptor.digest)))[0]

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
        while True:
            data = b"".join([chunk async for chunk in self.blob(descriptor)])
            if descriptor.digest.verifies(data):
                return data
            wrong = DigestMismatchError(str(descriptor.digest), str(Digest.of(data, descriptor.digest.algorithm)))
            if not self.blame(descriptor, wrong):
                raise wrong

    async def blob(
        self, descriptor: Descriptor, offset: int = 0, on_retry: OnRetry | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from ``offset`` on, exactly up to its size; the digest is the receiver's to verify.

        A cut is resumed where it happened. Close it (``contextlib.aclosing``) when leaving early. Raises
        SizeMismatchError, and the errors of :meth:`resolve` with Docker's words.
        """
        position = offset
        if offset == 0:
            self._givers[descriptor.digest] = set()
        givers = self._givers.setdefault(descriptor.digest, {None})
        if offset and offset >= descriptor.size:
            return
        refusals: list[tuple[Connection, RundletError]] = []
        for server, connection in self._sources.each():
            failures, mark, ranges = 0, position, True
            while True:
                try:
                    once = self._blob_once(connection, descriptor, position, ranges=ranges)
                    async with aclosing(once) as chunks:
                        async for chunk in chunks:
                            position += len(chunk)
                            givers.add(server)
                            yield chunk
                    if position >= descriptor.size:
                        return
                except RundletError as exc:
                    if ranges and position and _dislikes_ranges(exc):
                        ranges = False
                        continue
                    failures = 1 if position - mark > GOOD_PROGRESS else failures + 1
                    mark = position
                    pause = connection.retry.pause(exc, failures)
                    if pause is None or (isinstance(exc, TransportError) and exc.kind == "unresolved"):
                        refusals.append((server, exc))
                        self._sources.failed(server, exc, str(descriptor.digest))
                        break
                    if on_retry is not None:
                        on_retry(pause)
                    await connection.retry.wait(pause)
        failure = own_words(refusals)
        raise for_pull(failure, self._name, self._name.domain) from failure

    def blame(self, descriptor: Descriptor, exc: RundletError) -> bool:
        """What came of ``descriptor`` is not it (``exc``): whether it is worth asking once more, from its beginning.

        A mirror that gave any of it is not asked again. The registry itself is believed to say the same once more,
        unless the beginning was from an earlier try.
        """
        givers = self._givers.pop(descriptor.digest, set())
        dropped = [self._sources.drop(server, exc, str(descriptor.digest)) for server in givers if server is not None]
        return any(dropped) or None in givers

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
                body = await response.beginning(ERROR_LIMIT)
                raise _no_blob(from_answer(response.status, response.reason, response.headers, body))
            skip = bytes_to_skip(response, descriptor, start)
            position = start - skip
            async for chunk in response.unzipped() if is_zipped(response, descriptor) else response.chunks():
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
                raise too_short(response, descriptor, position)

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

        return (await self._first(ask, self._name))[0]

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

        return (await self._first(ask, self._name))[0]

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

    async def _first(self, ask: Callable[[Connection], Awaitable[T]], reference: Reference) -> tuple[T, Connection]:
        """The first server's answer, and who that was: it is asked first from then on."""
        refusals: list[tuple[Connection, RundletError]] = []
        for server, connection in self._sources.each():
            try:
                result = await ask(connection)
            except RundletError as exc:
                refusals.append((server, exc))
                self._sources.failed(server, exc, reference.familiar)
                continue
            self._sources.prefer(server)
            return result, server
        failure = own_words(refusals)
        raise for_pull(failure, reference, self._name.domain) from failure


def _dislikes_ranges(exc: RundletError) -> bool:
    return isinstance(exc, WrongRangeError) or (isinstance(exc, RegistryError) and exc.answered == 416)


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


def _no_blob(refusal: RegistryError) -> RegistryError:
    """Of a 404 without words (a proxy's) or with others: that a layer is gone must not read as if the image were."""
    if refusal.answered == 404 and refusal.code in ("", "MANIFEST_UNKNOWN"):
        return RegistryError("BLOB_UNKNOWN", "blob unknown to registry", 404)
    return refusal


def _decode_tags(url: str, body: bytes) -> list[str]:
    try:
        return msgspec.json.decode(body, type=_TagList).tags or []
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise BadAnswerError(url, f"not a list of tags: {exc}") from exc
