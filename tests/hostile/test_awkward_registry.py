"""Registries that do not lie, and are still not as one would wish: pulls and pushes work all the same."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.hostile.registry_server import Handler, LyingRegistry, says

from rundlet.errors import RundletError
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry import Credentials, Registry
from rundlet.registry.errors import LoginError, ManifestUnknownError, RegistryError
from rundlet.registry.retry import Retry
from rundlet.transport import HttpClient
from rundlet.transport.auth import AuthenticationError
from rundlet.transport.http import BodyTooLargeError

BLOB = bytes(range(256)) * 4096  # one mebibyte
LAYER = Descriptor.of(mediatype.OCI_LAYER, BLOB)
BLOB_PATH = f"app/blobs/{LAYER.digest}"
TAG_PATH = "app/manifests/1"
UPLOADS = "app/blobs/uploads/"
MANIFEST = b'{"schemaVersion":2,"mediaType":"%s","config":{},"layers":[]}' % mediatype.OCI_MANIFEST.encode()


@pytest.fixture
async def server() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async def at_once(_seconds: float) -> None: ...

    http = HttpClient(environment={}, connect_timeout=2)
    yield Registry(http, retry=Retry(sleep=at_once))
    await http.close()


async def fetched(registry: Registry, server: LyingRegistry, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in registry.fetcher(server.name()).blob(LAYER, offset)])


async def pieces(offset: int) -> AsyncIterator[bytes]:
    yield BLOB[offset:]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_range_that_is_refused(registry: Registry, server: LyingRegistry) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await (says(status=416) if "Range" in request.headers else says(BLOB))(request)

    server.answers[BLOB_PATH] = handler
    assert await fetched(registry, server, 1_000_000) == BLOB[1_000_000:]
    assert [asked.range for asked in server.asked if "blobs" in asked.path] == ["bytes=1000000-", None]


async def test_ranges_that_are_never_whole(registry: Registry, server: LyingRegistry) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        part = BLOB[start : start + 300_000]
        return await says(part, 206, Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(BLOB)}")(request)

    server.answers[BLOB_PATH] = handler
    assert await fetched(registry, server, 1000) == BLOB[1000:]


async def test_a_cut_that_nothing_tells_from_the_end(registry: Registry, server: LyingRegistry) -> None:
    """HTTP/1.0 without a length: the connection's end is the body's."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            extent = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
            return await says(BLOB[start:], 206, Content_Range=extent)(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.0 200 OK\r\n\r\n" + BLOB[:100_000])
        transport.close()
        raise ConnectionResetError

    server.answers[BLOB_PATH] = handler
    assert await fetched(registry, server) == BLOB
    assert [asked.range for asked in server.asked if "blobs" in asked.path] == [None, "bytes=100000-"]


async def test_a_layer_that_a_proxy_does_not_find(registry: Registry, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(b"<html>Not Found</html>", 404)
    with pytest.raises(RegistryError, match=r"^blob unknown: blob unknown to registry$"):
        await fetched(registry, server)


@pytest.mark.parametrize("status", [405, 500])
async def test_a_server_without_head(registry: Registry, server: LyingRegistry, status: int) -> None:
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)

    async def head(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    server.answers[f"HEAD {TAG_PATH}"] = head
    assert (await registry.fetcher(server.name()).resolve(server.name())).digest == Digest.of(MANIFEST)
    assert [asked.method for asked in server.asked if "manifests" in asked.path] == ["HEAD", "GET"]


async def test_a_head_that_is_answered_with_a_body(registry: Registry, server: LyingRegistry) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n" % mediatype.OCI_MANIFEST.encode()

    async def head(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.write(answer + b"Content-Length: %d\r\n\r\n" % len(MANIFEST) + MANIFEST)
        transport.close()
        raise ConnectionResetError

    server.answers[f"HEAD {TAG_PATH}"] = head
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    assert (await registry.fetcher(server.name()).resolve(server.name())).digest == Digest.of(MANIFEST)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"schemaVersion": 2}\r\n\r\n', "Bad status line"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "Duplicate Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000 + b"\r\n\r\n", "Got more than 32768 bytes when reading: .{1,90}"),
    ],
)
async def test_what_is_no_answer_is_one_line(
    registry: Registry, server: LyingRegistry, answer: bytes, words: str
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.write(answer)
        transport.close()
        raise ConnectionResetError

    server.answers[TAG_PATH] = handler
    with pytest.raises(
        RundletError, match=f'^Get "http://{server.host}/v2/{TAG_PATH}": malformed HTTP response: {words}$'
    ):
        await registry.fetcher(server.name()).resolve(server.name())


PAGE = b"<html>" + b"please log in to the hotel's network " * 10_000


async def test_refusals_with_long_pages(registry: Registry, server: LyingRegistry) -> None:
    """What counts is what they refuse, and that it is one line."""
    server.answers[""] = says(PAGE, 404)
    server.answers[TAG_PATH] = says(PAGE, 404)
    with pytest.raises(ManifestUnknownError):
        await registry.fetcher(server.name()).resolve(server.name())
    server.answers[TAG_PATH] = says(gzip.compress(PAGE), 403, Content_Encoding="gzip")
    with pytest.raises(RegistryError, match=r"^error parsing HTTP 403 .*<html>please log in") as caught:
        await registry.fetcher(server.name()).resolve(server.name())
    assert len(str(caught.value)) < 1200
    answers = iter([says(PAGE, 500), says(BLOB)])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    server.answers[BLOB_PATH] = handler
    assert await fetched(registry, server) == BLOB
    basic = says(PAGE, 401, WWW_Authenticate='Basic realm="x"')

    async def wants_password(request: web.Request) -> web.StreamResponse:
        right = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
        return await (right if "Authorization" in request.headers else basic)(request)

    server.answers[TAG_PATH] = wants_password
    fetcher = registry.fetcher(server.name(), Credentials("ann", "pass"))
    assert (await fetcher.resolve(server.name())).digest == Digest.of(MANIFEST)


async def test_a_login_at_what_is_no_registry(registry: Registry, server: LyingRegistry) -> None:
    server.answers[""] = says(PAGE, 404)
    with pytest.raises(LoginError, match="failed with status: 404 Not Found"):
        await registry.login(server.host, Credentials("ann", "pass"))


async def test_a_token_server_with_long_pages(registry: Registry, server: LyingRegistry) -> None:
    server.answers[""] = server.answers[TAG_PATH] = wants_token(server)
    server.answers["/token"] = says(PAGE * 10, 403)
    with pytest.raises(AuthenticationError, match=r"error parsing HTTP 403 response body: .*<html>"):
        await registry.fetcher(server.name()).resolve(server.name())


async def test_a_manifest_that_comes_compressed(registry: Registry, server: LyingRegistry) -> None:
    coded = {"Content_Type": mediatype.OCI_MANIFEST, "Content_Encoding": "gzip"}
    server.answers[TAG_PATH] = says(gzip.compress(MANIFEST), **coded)
    fetcher = registry.fetcher(server.name())
    assert (await fetcher.resolve(server.name())).digest == Digest.of(MANIFEST)
    server.answers[TAG_PATH] = says(gzip.compress(bytes(64 << 20)), **coded)
    with pytest.raises(BodyTooLargeError):
        await fetcher.resolve(server.name())


async def test_a_server_that_says_when_it_will_be_back(server: LyingRegistry) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)

    server.answers[TAG_PATH] = says(status=503, Retry_After="9")
    http = HttpClient(environment={}, connect_timeout=2)
    await Registry(http, retry=Retry(sleep=sleep)).fetcher(server.name()).resolve(server.name())
    await http.close()
    assert slept == [9.0]


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


def wants_token(server: LyingRegistry) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Bearer good":
            return await says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)(request)
        challenge = f'Negotiate oYG2MIGz==, Bearer realm="http://{server.host}/token",service="s"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    return handler


async def test_a_token_server_that_fails_for_a_moment(registry: Registry, server: LyingRegistry) -> None:
    server.answers[""] = server.answers[TAG_PATH] = wants_token(server)
    answers = iter([says(status=503), says(b"{}", 429), says(b'{"token":"good"}')])

    async def token(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    server.answers["/token"] = token
    assert (await registry.fetcher(server.name()).resolve(server.name())).digest == Digest.of(MANIFEST)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, {"errors": [{"code": "DENIED", "message": "nope\u001b[1m"}]}, r"denied: nope \[1m"),
        (401, {"details": "incorrect username or password"}, "unauthorized: incorrect username or password"),
        (429, {}, "toomanyrequests: too many requests"),
        (500, "boom", "received unexpected HTTP status: 500 Internal Server Error"),
    ],
)
async def test_a_token_server_s_words(
    registry: Registry, server: LyingRegistry, status: int, body: object, words: str
) -> None:
    """Docker names the request that could not be made, and the code that the token server gave."""
    server.answers[""] = server.answers[TAG_PATH] = wants_token(server)
    server.answers["/token"] = says(json.dumps(body).encode(), status)
    with pytest.raises(AuthenticationError, match=f'^Head "http://{server.host}/v2/app/manifests/1": {words}$'):
        await registry.fetcher(server.name()).resolve(server.name())


async def test_a_login_while_the_token_server_is_down(registry: Registry, server: LyingRegistry) -> None:
    """401 makes the docker CLI ask for another password: only for one that is wrong."""
    server.answers[""] = wants_token(server)
    server.answers["/token"] = says(status=503)
    with pytest.raises(AuthenticationError, match="503 Service Unavailable") as caught:
        await registry.login(server.host, Credentials("ann", "pass"))
    assert caught.value.status == 500
    server.answers["/token"] = says(status=401)
    with pytest.raises(LoginError, match=f'^Get "http://{server.host}/v2/": unauthorized: '):
        await registry.login(server.host, Credentials("ann", "pass"))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500])
async def test_a_mount_that_is_refused(registry: Registry, server: LyingRegistry, status: int) -> None:
    server.answers[f"POST {UPLOADS}"] = says(status=status)
    assert await registry.pusher(server.name()).mount(LAYER.digest, "other") is None
    assert len([asked for asked in server.asked if asked.method == "POST"]) == 1


async def test_a_mount_that_there_is_no_token_for(registry: Registry, server: LyingRegistry) -> None:
    server.answers[""] = server.answers[f"POST {UPLOADS}"] = wants_token(server)
    server.answers["/token"] = says(status=401)
    assert await registry.pusher(server.name()).mount(LAYER.digest, "other") is None


class Uploads:
    """Keeps what arrives, and how far it came in the session's own address, as docker's registry does."""

    def __init__(self, server: LyingRegistry, *, cut: int = 0, patch: bool = True) -> None:
        self.data = b""
        self._cut = cut
        self._patch = patch
        server.answers[f"POST {UPLOADS}"] = self._answer(202)
        server.answers["app/blobs/uploads/one"] = self._handle

    def _answer(self, status: int) -> Handler:
        async def handler(_request: web.Request) -> web.StreamResponse:
            headers = {"Location": f"one?at={len(self.data)}", "Range": f"0-{max(0, len(self.data) - 1)}"}
            return web.Response(status=status, headers=headers)

        return handler

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return await self._answer(204)(request)
        if request.query["at"] != str(len(self.data)):
            return web.Response(status=416)
        if request.method == "PATCH" and not self._patch:
            return web.Response(status=405)
        while chunk := await request.content.read(65536):
            self.data += chunk
            if self._cut and len(self.data) >= self._cut:
                self._cut = 0
                assert request.transport is not None
                request.transport.abort()
        return await self._answer(202 if request.method == "PATCH" else 201)(request)


async def test_an_upload_goes_on_at_the_address_that_it_has_now(registry: Registry, server: LyingRegistry) -> None:
    uploads = Uploads(server, cut=300_000)
    pusher = registry.pusher(server.name())
    await pusher.upload(LAYER.digest, LAYER.size, pieces, await pusher.begin(), lambda _sent: None)
    assert uploads.data == BLOB
    assert [asked.method for asked in server.asked[1:]] == ["POST", "PATCH", "GET", "PATCH", "PUT"]


async def test_a_registry_that_takes_no_pieces(registry: Registry, server: LyingRegistry) -> None:
    uploads = Uploads(server, patch=False)
    pusher = registry.pusher(server.name())
    told: list[int] = []
    await pusher.upload(LAYER.digest, LAYER.size, pieces, await pusher.begin(), told.append)
    assert uploads.data == BLOB
    assert told[-1] == LAYER.size
    assert [asked.method for asked in server.asked[1:]] == ["POST", "PATCH", "POST", "PUT"]
