"""What a registry may say and what must come of it: a clear error, no credentials elsewhere, no endless anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.hostile.registry_server import Handler, LyingRegistry, says

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.oci import mediatype
from rundlet.oci.codec import InvalidDocumentError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import UnsupportedManifestError
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, HostsConfig, Registry
from rundlet.registry.errors import (
    BadAnswerError,
    ManifestUnknownError,
    PullAccessDeniedError,
    RateLimitError,
    RegistryError,
    RegistryUnreachableError,
    RepositoryUnknownError,
)
from rundlet.registry.fetcher import SizeMismatchError
from rundlet.registry.retry import Retry
from rundlet.transport import HttpClient, TransportError
from rundlet.transport.auth import AuthenticationError
from rundlet.transport.http import BodyTooLargeError

SECRET = Credentials("ann", "pass")
BLOB = bytes(range(256)) * 4096  # one mebibyte
LAYER = Descriptor.of(mediatype.OCI_LAYER, BLOB)
BLOB_PATH = f"app/blobs/{LAYER.digest}"
TAG_PATH = "app/manifests/1"
MANIFEST = b'{"schemaVersion":2,"mediaType":"%s","config":{},"layers":[]}' % mediatype.OCI_MANIFEST.encode()


class Client:
    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def registry(self, hosts: HostsConfig | None = None) -> Registry:
        return Registry(self.http, hosts, retry=Retry(sleep=self.sleep))

    async def blob(self, server: LyingRegistry, credentials: Credentials | None = None) -> bytes:
        fetcher = self.registry().fetcher(server.name(), credentials)
        return b"".join([chunk async for chunk in fetcher.blob(LAYER)])

    async def resolve(self, server: LyingRegistry, credentials: Credentials | None = None) -> Descriptor:
        return await self.registry().fetcher(server.name(), credentials).resolve(server.name())


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    http = HttpClient(environment={}, connect_timeout=2)
    yield Client(http)
    await http.close()


@pytest.fixture
async def server() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        yield running


@pytest.fixture
async def elsewhere() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        yield running


def cut_after(count: int, times: int) -> Handler:
    """Breaks the connection after ``count`` bytes, ``times`` times; honours ranges."""
    left = [times]

    async def handler(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = BLOB[start:]
        headers = {"Content-Length": str(len(body)), "Content-Range": f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        if left[0]:
            left[0] -= 1
            await response.write(body[:count])
            await asyncio.sleep(0.01)
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write(body)
        return response

    return handler


# ── digests and sizes ────────────────────────────────────────────────────────────────────────────────────────


async def test_manifest_with_another_digest(client: Client, server: LyingRegistry) -> None:
    wanted = Digest.of(b"what was asked for")
    server.answers[f"app/manifests/{wanted}"] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    name = server.name().with_digest(wanted)
    with pytest.raises(DigestMismatchError, match=f"manifest verification failed for digest {wanted}: got sha256:"):
        await client.registry().fetcher(name).resolve(name)
    with pytest.raises(DigestMismatchError):
        await client.registry().fetcher(name).manifest(Descriptor(mediatype.OCI_MANIFEST, wanted, 0))


async def test_manifest_whose_size_an_index_has_wrong(client: Client, server: LyingRegistry) -> None:
    """The digest decides: Docker takes such images, and its own tests have one."""
    server.answers[f"app/manifests/{Digest.of(MANIFEST)}"] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    wrong = Descriptor(mediatype.OCI_MANIFEST, Digest.of(MANIFEST), 3253)
    found, data = await client.registry().fetcher(server.name()).manifest(wrong)
    assert (found.size, data) == (len(MANIFEST), MANIFEST)


async def test_head_that_names_another_digest(client: Client, server: LyingRegistry) -> None:
    wanted = Digest.of(b"what was asked for")

    async def head(_request: web.Request) -> web.Response:
        other = str(Digest.of(b"something else"))
        return web.Response(headers={"Docker-Content-Digest": other, "Content-Type": mediatype.OCI_MANIFEST})

    server.answers[f"app/manifests/{wanted}"] = head
    name = server.name().with_digest(wanted)
    with pytest.raises(DigestMismatchError):
        await client.registry().fetcher(name).resolve(name)


@pytest.mark.parametrize("body", [BLOB[:-1], BLOB + b"x", b""])
async def test_blob_of_another_size(client: Client, server: LyingRegistry, body: bytes) -> None:
    server.answers[BLOB_PATH] = says(body)
    with pytest.raises(SizeMismatchError):
        await client.blob(server)
    assert len([a for a in server.asked if "blobs" in a.path]) == 1


async def test_blob_without_end(client: Client, server: LyingRegistry) -> None:
    written = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
                written += 65536
        except ConnectionError:
            return response

    server.answers[BLOB_PATH] = endless
    with pytest.raises(SizeMismatchError):
        await client.blob(server)
    assert written < 64 << 20


async def test_config_with_another_digest(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(BLOB[:-1] + b"x")
    with pytest.raises(DigestMismatchError):
        await client.registry().fetcher(server.name()).small(LAYER, 2 << 20)
    with pytest.raises(BodyTooLargeError):
        await client.registry().fetcher(server.name()).small(LAYER, 1000)


# ── cuts ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_cut_blob_is_resumed_where_it_ended(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = cut_after(300_000, times=3)
    assert await client.blob(server) == BLOB
    ranges = [asked.range for asked in server.asked if "blobs" in asked.path]
    assert ranges[0] is None
    assert ranges[1:] == ["bytes=300000-", "bytes=600000-", "bytes=900000-"]


async def test_blob_that_never_comes_through(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = cut_after(10, times=1000)
    with pytest.raises(TransportError, match="unexpected EOF"):
        await client.blob(server)
    assert len(server.asked) < 10


async def test_server_that_ignores_ranges(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(BLOB)
    fetcher = client.registry().fetcher(server.name())
    assert b"".join([c async for c in fetcher.blob(LAYER, 1_000_000)]) == BLOB[1_000_000:]


async def test_range_from_somewhere_else(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(BLOB[5:], 206, Content_Range=f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}")
    fetcher = client.registry().fetcher(server.name())
    with pytest.raises(BadAnswerError, match="range"):
        [c async for c in fetcher.blob(LAYER, 1000)]


async def test_errors_for_a_moment_are_tried_again(client: Client, server: LyingRegistry) -> None:
    answers = iter([says(status=503), says(status=502), says(BLOB)])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    server.answers[BLOB_PATH] = handler
    assert await client.blob(server) == BLOB
    assert len(client.slept) == 2
    assert client.slept[1] > client.slept[0]


async def test_internal_error_that_stays(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(b"<html>", 500)
    with pytest.raises(RegistryError, match="received unexpected HTTP status: 500 Internal Server Error"):
        await client.resolve(server)


# ── rate limits ──────────────────────────────────────────────────────────────────────────────────────────────

LIMITED = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'


async def test_rate_limit_is_waited_for(client: Client, server: LyingRegistry) -> None:
    manifest = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    answers = iter([says(LIMITED, 429, Retry_After="7"), manifest])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await (next(answers) if request.method == "GET" else manifest)(request)

    server.answers[TAG_PATH] = handler
    assert (await client.resolve(server)).digest == Digest.of(MANIFEST)
    assert client.slept == [7.0]


async def test_rate_limit_that_lasts(client: Client, server: LyingRegistry) -> None:
    headers = {"RateLimit_Limit": "100;w=21600", "RateLimit_Remaining": "0;w=21600", "Retry_After": "3600"}
    server.answers[TAG_PATH] = says(LIMITED, 429, **headers)
    with pytest.raises(RateLimitError) as caught:
        await client.resolve(server)
    assert str(caught.value) == (
        "toomanyrequests: You have reached your pull rate limit. "
        "(limit 100 per 21600 s, remaining 0 per 21600 s, try again in 3600 s)"
    )
    assert client.slept == []


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not JSON", InvalidDocumentError),
        (b"[" * 100_000, InvalidDocumentError),
        (b'{"schemaVersion":1,"fsLayers":[]}', UnsupportedManifestError),
        (b'{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}', InvalidDocumentError),
        (b'{"schemaVersion":2,"mediaType":"text/html"}', UnsupportedManifestError),
    ],
)
async def test_manifest_that_is_none(
    client: Client, server: LyingRegistry, body: bytes, error: type[RundletError]
) -> None:
    server.answers[TAG_PATH] = says(body, Content_Type=mediatype.OCI_MANIFEST)
    with pytest.raises(error):
        await client.resolve(server)


async def test_manifest_larger_than_any(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(b" " * (5 << 20))
    with pytest.raises(BodyTooLargeError):
        await client.resolve(server)


async def test_error_words_cannot_reach_the_terminal_raw(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(b'{"errors":[{"code":"DENIED","message":"\\u001b[31mred\\u0007"}]}', 403)
    with pytest.raises(PullAccessDeniedError) as caught:
        await client.resolve(server)
    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)


async def test_words_of_refusals(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(b'{"errors":[{"code":"NAME_UNKNOWN"}]}', 404)
    with pytest.raises(RepositoryUnknownError, match="not found: name unknown: repository name not known to registry"):
        await client.resolve(server)
    server.answers[TAG_PATH] = says(b"gone", 404)
    with pytest.raises(ManifestUnknownError, match="app:1 not found: manifest unknown: manifest unknown"):
        await client.resolve(server)


async def test_refusals_of_what_stands_between(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(b"<html>Forbidden</html>", 403)
    with pytest.raises(RegistryError, match=r"^error parsing HTTP 403 response body: .*<html>Forbidden</html>"):
        await client.resolve(server)
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{server.host}/token")
    server.answers["/token"] = says(b"no way", 403)
    with pytest.raises(AuthenticationError, match=r"error parsing HTTP 403 response body: .*no way"):
        await client.resolve(server)
    server.answers["/token"] = says(b'{"error": "unauthorized"}', 401)
    with pytest.raises(AuthenticationError, match=r"unauthorized: authentication required$"):
        await client.resolve(server)


async def test_a_layer_that_is_gone_is_no_missing_manifest(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}', 404)
    with pytest.raises(RegistryError, match=r"^blob unknown: blob unknown to registry$"):
        await client.blob(server)


async def test_tags_that_never_end(client: Client, server: LyingRegistry) -> None:
    server.answers["app/tags/list"] = says(b'{"tags":["a"]}', Link='</v2/app/tags/list?n=1&last=a>; rel="next"')
    with pytest.raises(BadAnswerError, match="does not end"):
        await client.registry().fetcher(server.name()).tags()


async def test_referrers_that_never_end(client: Client, server: LyingRegistry) -> None:
    subject = Digest.of(b"subject")
    page = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % mediatype.OCI_INDEX.encode()
    server.answers[f"app/referrers/{subject}"] = says(page, Link=f'</v2/app/referrers/{subject}?last=a>; rel="next"')
    with pytest.raises(BadAnswerError, match="does not end"):
        await client.registry().fetcher(server.name()).referrers(subject)


async def test_tags_that_go_on_elsewhere(client: Client, server: LyingRegistry, elsewhere: LyingRegistry) -> None:
    link = f'<http://{elsewhere.host}/v2/app/tags/list>; rel="next"'
    server.answers["app/tags/list"] = says(b'{"tags":["a"]}', Link=link)
    with pytest.raises(BadAnswerError, match="at another server"):
        await client.registry().fetcher(server.name(), SECRET).tags()
    assert elsewhere.asked == []


# ── credentials ──────────────────────────────────────────────────────────────────────────────────────────────


def wants_password(answer: Handler) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            return await answer(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})

    return handler


async def test_redirect_takes_no_credentials_along(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry
) -> None:
    server.answers[""] = wants_password(says())
    redirect = says(status=307, Location=f"http://{elsewhere.host}/v2/{BLOB_PATH}?X-Sig=a%2Fb%3D")
    server.answers[BLOB_PATH] = wants_password(redirect)
    elsewhere.answers[BLOB_PATH] = says(BLOB)
    assert await client.blob(server, SECRET) == BLOB
    assert server.authorizations() == ["Basic YW5uOnBhc3M="]
    assert elsewhere.authorizations() == []
    assert elsewhere.asked[0].path.endswith("?X-Sig=a%2Fb%3D")


async def test_redirect_target_that_asks_for_credentials(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry
) -> None:
    server.answers[BLOB_PATH] = says(status=302, Location=f"http://{elsewhere.host}/v2/{BLOB_PATH}")
    elsewhere.answers[BLOB_PATH] = wants_password(says(BLOB))
    with pytest.raises(RegistryError, match="unauthorized"):
        await client.blob(server, SECRET)
    assert elsewhere.authorizations() == []


async def test_upload_location_that_asks_for_credentials(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry
) -> None:
    server.answers["app/blobs/uploads/"] = says(status=202, Location=f"http://{elsewhere.host}/v2/steal")
    elsewhere.answers["steal"] = wants_password(says(status=202))
    pusher = client.registry().pusher(server.name(), SECRET)

    async def source(offset: int) -> AsyncIterator[bytes]:
        yield BLOB[offset:]

    with pytest.raises(RundletError):
        await pusher.upload(LAYER.digest, LAYER.size, source, await pusher.begin(), lambda _sent: None)
    assert elsewhere.authorizations() == []


async def test_redirects_without_end(client: Client, server: LyingRegistry) -> None:
    server.answers[BLOB_PATH] = says(status=302, Location=f"/v2/{BLOB_PATH}")
    with pytest.raises(TransportError, match="stopped after 10 redirects"):
        await client.blob(server)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://", "//[", "gopher://x/", "http://\u202e/"])
async def test_redirect_to_nowhere(client: Client, server: LyingRegistry, location: str) -> None:
    server.answers[BLOB_PATH] = says(status=302, Location=location)
    with pytest.raises(TransportError):
        await client.blob(server)


def bearer(realm: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Bearer good":
            return await says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)(request)
        challenge = f'Bearer realm="{realm}",service="svc",scope="repository:app:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    return handler


async def test_token_is_fetched_once_and_kept(client: Client, server: LyingRegistry) -> None:
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{server.host}/token")
    server.answers["/token"] = says(b'{"token":"good","expires_in":300}')
    registry = client.registry()
    for _ in range(3):
        await registry.fetcher(server.name(), SECRET).resolve(server.name())
    tokens = [asked for asked in server.asked if asked.path.startswith("/token")]
    assert [(t.path, t.authorization) for t in tokens] == [
        ("/token?service=svc&scope=repository%3Aapp%3Apull&account=ann", "Basic YW5uOnBhc3M=")
    ]


@pytest.mark.parametrize("old", [None, says(b"gone", 404), says(b"{}", 401)])
async def test_a_token_server_that_moved(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry, old: Handler | None
) -> None:
    """What is remembered of a registry is asked for again where it leads nowhere; once, whatever it says."""
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{elsewhere.host}/token")
    elsewhere.answers["/token"] = says(b'{"token":"good"}')
    registry = client.registry()
    await registry.fetcher(server.name(), SECRET).resolve(server.name())
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{server.host}/token")
    server.answers["/token"] = says(b'{"token":"good"}')
    if old is None:
        await elsewhere.__aexit__()
    else:
        elsewhere.answers["/token"] = old
    await registry.fetcher(server.name(), Credentials("bob", "pass")).resolve(server.name())
    await registry.login(server.host, Credentials("eve", "pass"))

    server.answers["/token"] = says(b"{}", 401)
    asked = len(server.asked)
    with pytest.raises(AuthenticationError, match="unauthorized"):
        await registry.fetcher(server.name(), Credentials("joe", "pass")).resolve(server.name())
    assert [one.path.partition("?")[0] for one in server.asked[asked:]] == ["/token", "/v2/"]


async def test_a_registry_that_asks_for_no_token_any_more(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry
) -> None:
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{elsewhere.host}/token")
    elsewhere.answers["/token"] = says(b'{"token":"good"}')
    registry = client.registry()
    await registry.fetcher(server.name()).resolve(server.name())
    await elsewhere.__aexit__()
    server.answers[""] = says(b"{}")
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    assert await registry.login(server.host, SECRET) == ""
    assert (await registry.fetcher(server.name(), SECRET).resolve(server.name())).digest == Digest.of(MANIFEST)


@pytest.mark.parametrize("realm", ["ftp://x/token", "file:///etc/passwd", "", "token", "http:///x"])
async def test_token_server_that_is_none(client: Client, server: LyingRegistry, realm: str) -> None:
    server.answers[""] = server.answers[TAG_PATH] = bearer(realm)
    with pytest.raises(AuthenticationError, match="token server"):
        await client.resolve(server, SECRET)


async def test_token_server_that_redirects(client: Client, server: LyingRegistry, elsewhere: LyingRegistry) -> None:
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{server.host}/token")
    server.answers["/token"] = says(status=307, Location=f"http://{elsewhere.host}/token")
    with pytest.raises(AuthenticationError, match="redirects"):
        await client.resolve(server, SECRET)
    assert elsewhere.asked == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token":"a\\r\\nX-Evil: 1"}', b'{"token":"\xc3\xa9"}'])
async def test_token_that_is_none(client: Client, server: LyingRegistry, body: bytes) -> None:
    server.answers[""] = server.answers[TAG_PATH] = bearer(f"http://{server.host}/token")
    server.answers["/token"] = says(body)
    with pytest.raises(AuthenticationError, match="token"):
        await client.resolve(server)


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="http://{host}/token",service="x"'])
async def test_what_one_repository_asks_for_is_not_asked_of_another(
    client: Client, server: LyingRegistry, challenge: str
) -> None:
    asks = challenge.format(host=server.host)
    server.answers["private/manifests/1"] = says(b"{}", 401, WWW_Authenticate=asks)
    server.answers["/token"] = says(b"", 500)
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    registry = client.registry()
    for _ in range(2):
        with pytest.raises(RundletError):
            await registry.fetcher(server.name("private:1")).resolve(server.name("private:1"))
        found = await registry.fetcher(server.name()).resolve(server.name())
        assert found.digest == Digest.of(MANIFEST)


async def test_public_repository_of_a_registry_with_a_password(client: Client, server: LyingRegistry) -> None:
    server.answers[""] = says(b"{}", 401, WWW_Authenticate='Basic realm="x"')
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    assert (await client.resolve(server)).digest == Digest.of(MANIFEST)
    await client.resolve(server, SECRET)
    assert set(server.authorizations()) == {"Basic YW5uOnBhc3M="}


async def test_insufficient_scope_is_access_denied(client: Client, server: LyingRegistry) -> None:
    async def handler(_request: web.Request) -> web.Response:
        challenge = f'Bearer realm="http://{server.host}/token",service="s",error="insufficient_scope"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.answers[""] = server.answers[TAG_PATH] = handler
    server.answers["/token"] = says(b'{"token":"weak"}')
    with pytest.raises(PullAccessDeniedError) as caught:
        await client.resolve(server)
    assert str(caught.value) == (
        f"pull access denied for {server.host}/app, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )


# ── mirrors ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_mirror_gets_no_credentials_and_its_lies_do_no_harm(
    client: Client, server: LyingRegistry, elsewhere: LyingRegistry
) -> None:
    server.answers[BLOB_PATH] = says(BLOB)
    elsewhere.answers[BLOB_PATH] = says(b"short")
    elsewhere.answers[""] = wants_password(says())
    hosts = HostsConfig(registry_mirrors={server.host: (f"http://{elsewhere.host}",)})
    fetcher = client.registry(hosts).fetcher(server.name(), SECRET)
    assert b"".join([chunk async for chunk in fetcher.blob(LAYER)]) == BLOB
    assert elsewhere.authorizations() == []


async def test_mirror_that_is_down(client: Client, server: LyingRegistry) -> None:
    server.answers[TAG_PATH] = says(MANIFEST, Content_Type=mediatype.OCI_MANIFEST)
    hosts = HostsConfig(registry_mirrors={server.host: ("http://127.0.0.1:1",)})
    assert (await client.registry(hosts).fetcher(server.name()).resolve(server.name())).digest == Digest.of(MANIFEST)


async def test_registry_that_has_no_address(client: Client) -> None:
    name = Reference.parse("registry.invalid/app")
    with pytest.raises(RegistryUnreachableError, match=r'Get "https://registry\.invalid/v2/": dial tcp') as caught:
        await client.registry().fetcher(name).resolve(name)
    assert caught.value.registry == "registry.invalid"


async def test_registry_whose_name_can_be_none(client: Client) -> None:
    with pytest.raises(RegistryUnreachableError, match="no such host"):
        await client.registry().login("\u202e", Credentials("me", "secret"))


# ── search ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_search(client: Client, server: LyingRegistry) -> None:
    server.answers["/v1/search"] = says(
        b'{"results":[{"name":"library/deb","description":"a\\u001b[1mb\\n","star_count":7,"is_official":true}]}'
    )
    found = await client.registry().search(f"{server.host}/deb", 10)
    assert [(r.name, r.description, r.star_count, r.is_official) for r in found] == [("library/deb", "a [1mb", 7, True)]
    assert server.asked[-1].path == "/v1/search?q=deb&n=10"
    with pytest.raises(RundletError, match=r"Limit 101 is outside the range of \[1, 100\]"):
        await client.registry().search(f"{server.host}/deb", 101)


async def test_search_in_a_catalog(client: Client, server: LyingRegistry) -> None:
    async def catalog(request: web.Request) -> web.Response:
        if "last" in request.query:
            return web.json_response({"repositories": ["x/Debug", "z"]})
        link = '</v2/_catalog?n=1000&last=b>; rel="next"'
        return web.json_response({"repositories": ["a/deb", "b"]}, headers={"Link": link})

    server.answers["_catalog"] = catalog
    found = await client.registry().search(f"{server.host}/deb")
    assert [result.name for result in found] == ["a/deb", "x/Debug"]


async def test_search_answer_that_is_none(client: Client, server: LyingRegistry) -> None:
    server.answers["/v1/search"] = says(b"<html>")
    with pytest.raises(BadAnswerError):
        await client.registry().search(f"{server.host}/deb")
