"""Mirrors that are wrong, slow or gone: the pull goes on at the next one or the registry, and the log says why."""

import asyncio
import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.hostile.registry_server import Handler, LyingRegistry, says
from tests.integration.registry.room import Room, tar

from rundlet.errors import RundletError
from rundlet.image.errors import LayerMismatchError
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import HostsConfig, Registry
from rundlet.registry.errors import ManifestUnknownError
from rundlet.registry.retry import Retry
from rundlet.storage.errors import LayerError
from rundlet.transport import HttpClient
from rundlet.transport.auth import AuthenticationError

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

LAYERS = [tar({f"file{number}": bytes(hashlib.shake_256(bytes([number])).digest(700_000))}) for number in range(3)]
BLOBS = [gzip.compress(layer, 1, mtime=0) for layer in LAYERS]
NAMES = [f"app/blobs/{Digest.of(blob)}" for blob in BLOBS]
TAG = "app/manifests/1"
FIRST = Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOBS[0])


def manifest_of(diff_ids: list[Digest], blobs: list[bytes]) -> tuple[bytes, bytes]:
    host = Platform.host()
    config = ImageConfig(
        architecture=host.architecture,
        os=host.os,
        variant=host.variant,
        rootfs=RootFS(diff_ids=tuple(diff_ids)),
    ).encode()
    manifest = Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor.of(mediatype.OCI_CONFIG, config),
        layers=tuple(Descriptor.of(mediatype.OCI_LAYER_GZIP, blob) for blob in blobs),
    )
    return config, manifest.encode()


CONFIG, MANIFEST = manifest_of([Digest.of(layer) for layer in LAYERS], BLOBS)


def offer(server: LyingRegistry, config: bytes = CONFIG, manifest: bytes = MANIFEST) -> None:
    """All of the image, truthfully."""
    offer_manifest(server, manifest)
    server.answers[f"app/blobs/{Digest.of(config)}"] = blob(config)
    for name, data in zip(NAMES, BLOBS, strict=True):
        server.answers[name] = blob(data)


def offer_manifest(server: LyingRegistry, manifest: bytes, announced: Digest | None = None) -> None:
    digest = announced or Digest.of(manifest)

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": mediatype.OCI_MANIFEST, "Docker-Content-Digest": str(digest)}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(manifest))})
        return web.Response(body=manifest, headers=headers)

    server.answers[TAG] = server.answers[f"app/manifests/{digest}"] = answer


def blob(data: bytes, cut: int | None = None) -> Handler:
    """Honours ranges; ``cut``: breaks the connection there, each time."""

    async def answer(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = data[start:]
        headers = {"Content-Length": str(len(rest)), "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        if cut is None:
            await response.write(rest)
            return response
        await response.write(data[start:cut])
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


def blobs_asked(server: LyingRegistry) -> list[str]:
    return [asked.path.rpartition("/")[2] for asked in server.asked if "/blobs/sha256" in asked.path]


@pytest.fixture
async def server() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        offer(running)
        yield running


@pytest.fixture
async def mirror() -> AsyncIterator[LyingRegistry]:
    async with LyingRegistry() as running:
        offer(running)
        yield running


@pytest.fixture
async def room(tmp_path: Path, server: LyingRegistry, mirror: LyingRegistry) -> AsyncIterator[Room]:
    hosts = HostsConfig(registry_mirrors={server.host: (f"http://{mirror.host}",)})
    room = await Room.open(str(tmp_path / "a"), hosts)
    yield room
    await room.close()


async def pull(room: Room, server: LyingRegistry) -> None:
    await room.puller.pull(server.name(), progress=room.hear)
    room.verify()
    ingests = Path(room.layout.content, "ingest")
    assert not any(found.stat().st_size for found in ingests.iterdir())


# ── wrong content ────────────────────────────────────────────────────────────────────────────────────────────


def other_gzip(size: int) -> bytes:
    """Of ``size`` bytes, and good until nearly its end."""
    data = gzip.compress(tar({"poison": os.urandom(size - 500)}), 0)
    return (data + bytes(size))[:size]


LIES = {
    "another layer": other_gzip(len(BLOBS[1])),
    "no gzip": os.urandom(len(BLOBS[1])),
    "broken in the middle": BLOBS[1][:400_000] + os.urandom(len(BLOBS[1]) - 400_000),
    "another last byte": BLOBS[1][:-1] + bytes([BLOBS[1][-1] ^ 1]),
    "too short": BLOBS[1][:-1000],
    "too long": BLOBS[1] + b"x",
    "nothing": b"",
}


@root
@pytest.mark.root
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_mirror_with_a_wrong_layer(
    room: Room, server: LyingRegistry, mirror: LyingRegistry, lie: str, chunked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrong(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(LIES[lie])
        await response.prepare(request)
        await response.write(LIES[lie])
        return response

    mirror.answers[NAMES[1]] = wrong
    await pull(room, server)
    assert Digest.of(BLOBS[1]).encoded in "".join(blobs_asked(server))
    assert f"mirror http://{mirror.host} is not used for the rest of this pull" in caplog.text


@root
@pytest.mark.root
async def test_a_mirror_that_poisons_and_breaks_off(room: Room, server: LyingRegistry, mirror: LyingRegistry) -> None:
    """The registry goes on where the mirror ended: what comes of both is wrong, and none of it is kept."""
    mirror.answers[NAMES[0]] = blob(other_gzip(len(BLOBS[0])), cut=500_000)
    await pull(room, server)
    ranges = [asked.range for asked in server.asked if asked.path.endswith(NAMES[0])]
    assert ranges == ["bytes=500000-", None]


@root
@pytest.mark.root
async def test_poisoned_bytes_of_an_interrupted_pull(room: Room, server: LyingRegistry, mirror: LyingRegistry) -> None:
    """The next pull goes on from them with a good server, finds them wrong, and begins once more."""
    stood = asyncio.Event()

    async def stands_still(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(BLOBS[0]))})
        await response.prepare(request)
        await response.write(other_gzip(len(BLOBS[0]))[:600_000])
        stood.set()
        await asyncio.sleep(60)
        return response

    mirror.answers[NAMES[0]] = stands_still
    task = asyncio.create_task(room.puller.pull(server.name(), progress=room.hear))
    await stood.wait()
    ingests = Path(room.layout.content, "ingest")
    while not any(found.stat().st_size >= 500_000 for found in ingests.iterdir()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    mirror.answers[NAMES[0]] = blob(BLOBS[0])
    await pull(room, server)


@root
@pytest.mark.root
async def test_a_registry_s_own_wrong_layer_is_asked_for_once(
    room: Room, server: LyingRegistry, mirror: LyingRegistry
) -> None:
    mirror.answers.clear()
    server.answers[NAMES[1]] = blob(LIES["no gzip"])
    with pytest.raises(LayerMismatchError, match=f"verification failed for digest {Digest.of(BLOBS[1])}: got sha256:"):
        await room.puller.pull(server.name(), progress=room.hear)
    assert len([path for path in blobs_asked(server) if NAMES[1].endswith(path)]) <= 2
    room.verify()


@root
@pytest.mark.root
async def test_a_layer_that_is_broken_everywhere(room: Room, server: LyingRegistry, mirror: LyingRegistry) -> None:
    """No mirror is to blame, and nobody is asked twice."""
    broken = BLOBS[2][:200_000] + os.urandom(1000)
    config, manifest = manifest_of([Digest.of(LAYERS[0])], [broken])
    path = f"app/blobs/{Digest.of(broken)}"
    for one in (server, mirror):
        offer(one, config, manifest)
        one.answers[path] = blob(broken)
    with pytest.raises(LayerError):
        await room.puller.pull(server.name(), progress=room.hear)
    assert blobs_asked(server) == []
    assert room.is_empty()


@root
@pytest.mark.root
@pytest.mark.parametrize("what", ["manifest", "page", "config", "tag"])
async def test_a_mirror_with_wrong_documents(
    room: Room, server: LyingRegistry, mirror: LyingRegistry, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    if what == "manifest":
        offer_manifest(mirror, MANIFEST + b"\n", announced=Digest.of(MANIFEST))
    elif what == "page":
        mirror.answers[TAG] = mirror.answers[f"app/manifests/{Digest.of(MANIFEST)}"] = says(b"<html>hello</html>")
    elif what == "config":
        mirror.answers[f"app/blobs/{Digest.of(CONFIG)}"] = blob(CONFIG[:-1] + b" ")
    else:  # what the mirror says that the tag means, nobody has
        offer_manifest(mirror, b'{"schemaVersion":2}', announced=Digest.of(b"nothing that there is"))
    await pull(room, server)
    assert f"mirror http://{mirror.host} is not used for the rest of this pull" in caplog.text


@root
@pytest.mark.root
async def test_a_mirror_whose_tag_is_of_yesterday(room: Room, server: LyingRegistry, mirror: LyingRegistry) -> None:
    """Its layers are gone everywhere: what the registry says now is pulled."""
    gone = gzip.compress(b"gone")
    config, manifest = manifest_of([Digest.of(b"gone")], [gone])
    offer(mirror, config, manifest)
    await pull(room, server)
    assert room.store.get(server.name().familiar).id == Digest.of(CONFIG)


@root
@pytest.mark.root
async def test_a_login_that_ends_in_the_middle_of_a_pull(
    room: Room, server: LyingRegistry, mirror: LyingRegistry
) -> None:
    """What has come by then stays, as after a cut: the next pull goes on with it."""
    mirror.answers.clear()
    first = Digest.of(BLOBS[0])

    async def ends(_request: web.Request) -> web.StreamResponse:
        while not room.content.has(first):
            await asyncio.sleep(0.01)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    server.answers[NAMES[1]] = ends
    with pytest.raises(AuthenticationError, match="no basic auth credentials"):
        await room.puller.pull(server.name(), progress=room.hear)
    server.answers[NAMES[1]] = blob(BLOBS[1])
    server.asked.clear()
    await pull(room, server)
    assert str(first) not in blobs_asked(server)


# ── mirrors that fail ────────────────────────────────────────────────────────────────────────────────────────


class Client:
    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def registry(self, server: LyingRegistry, *mirrors: str) -> Registry:
        hosts = HostsConfig(registry_mirrors={server.host: mirrors})
        return Registry(self.http, hosts, retry=Retry(sleep=self.sleep))

    async def all_of_it(self, registry: Registry, name: Reference) -> None:
        fetcher = registry.fetcher(name)
        found = await fetcher.resolve(name)
        _, data = await fetcher.manifest(found)
        for layer in Manifest.decode(data).layers:
            got = b"".join([chunk async for chunk in fetcher.blob(layer)])
            assert layer.digest.verifies(got)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    http = HttpClient(environment={}, connect_timeout=2)
    yield Client(http)
    await http.close()


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
@pytest.mark.parametrize("only_layers", [False, True])
async def test_a_mirror_that_fails_costs_one_more_attempt(
    client: Client, server: LyingRegistry, mirror: LyingRegistry, status: int, only_layers: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for path in list(mirror.answers):
        if not only_layers or "blobs" in path:
            mirror.answers[path] = says(b"{}", status, Retry_After="30")
    await client.all_of_it(client.registry(server, f"http://{mirror.host}"), server.name())
    assert client.slept == []  # thirty seconds are too long where another server follows
    assert len([asked for asked in mirror.asked if asked.method == "GET" and asked.path != "/v2/"]) <= 2
    assert f"mirror http://{mirror.host}: " in caplog.text


@pytest.mark.parametrize("path", [TAG, NAMES[0]])
async def test_a_mirror_that_fails_for_a_moment(
    client: Client, server: LyingRegistry, mirror: LyingRegistry, path: str
) -> None:
    right = mirror.answers[path]
    mirror.answers[path] = says(status=502)

    async def mended(seconds: float) -> None:
        client.slept.append(seconds)
        mirror.answers[path] = right

    client.sleep = mended  # type: ignore[method-assign]
    await client.all_of_it(client.registry(server, f"http://{mirror.host}"), server.name())
    assert len(client.slept) == 1
    assert blobs_asked(server) == []


async def test_a_mirror_that_says_nothing(
    client: Client, server: LyingRegistry, mirror: LyingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each pull one request waits for it; one for a layer waits longer, and as seldom."""
    monkeypatch.setattr("rundlet.registry.connection.HASTY_IDLE", 0.2)

    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    registry = client.registry(server, f"http://{mirror.host}")
    mirror.answers = dict.fromkeys(mirror.answers, silent)
    await client.all_of_it(registry, server.name())
    assert len([asked for asked in mirror.asked if asked.path != "/v2/"]) == 1
    mirror.answers[""] = silent
    again = client.registry(server, f"http://{mirror.host}")
    mirror.asked.clear()
    await client.all_of_it(again, server.name())
    assert [asked.path for asked in mirror.asked] == ["/v2/"]
    assert client.slept == []


async def test_a_mirror_that_lacks_a_layer_is_asked_for_the_others(
    client: Client, server: LyingRegistry, mirror: LyingRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    del mirror.answers[NAMES[0]]
    await client.all_of_it(client.registry(server, f"http://{mirror.host}"), server.name())
    assert len(blobs_asked(mirror)) == 3
    assert len(blobs_asked(server)) == 1
    assert caplog.text == ""


async def test_the_registry_s_own_words_count(client: Client, server: LyingRegistry, mirror: LyingRegistry) -> None:
    """A mirror that failed before is asked last, and has less to say than the registry."""
    mirror.answers = dict.fromkeys(mirror.answers, says(status=500))
    del server.answers[NAMES[1]]
    server.answers.pop(TAG)
    registry = client.registry(server, f"http://{mirror.host}")
    with pytest.raises(ManifestUnknownError):
        await registry.fetcher(server.name()).resolve(server.name())
    fetcher = registry.fetcher(server.name())
    assert [chunk async for chunk in fetcher.blob(FIRST)]
    second = Descriptor.of(mediatype.OCI_LAYER_GZIP, BLOBS[1])
    with pytest.raises(RundletError, match=r"^blob unknown: "):
        [chunk async for chunk in fetcher.blob(second)]


# ── parts (RFC 9110, 15.3.7) ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "extent",
    ["", "bytes", "bytes 5-", "bytes 0-{last}/{size}", "bytes 999-{last}/{size}", "lines 1000-{last}/{size}",
     "bytes 1000-999/{size}", "bytes 1000-1001/{size}", "bytes */{size}", "bytes 1000-{last}/{size}, bytes 1-2/3"],
)  # fmt: skip
async def test_a_part_that_is_not_the_one(client: Client, server: LyingRegistry, extent: str) -> None:
    """Without a range all of it comes, and what is here already is skipped."""
    data, size = BLOBS[0], len(BLOBS[0])
    headers = {"Content_Range": extent.format(size=size, last=size - 1)} if extent else {}

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (says(data[1000:], 206, **headers) if "Range" in request.headers else says(data))(request)

    server.answers[NAMES[0]] = answer
    fetcher = client.registry(server).fetcher(server.name())
    assert b"".join([chunk async for chunk in fetcher.blob(FIRST, 1000)]) == data[1000:]
    assert [asked.range for asked in server.asked if "blobs" in asked.path] == ["bytes=1000-", None]


@pytest.mark.parametrize("whole", ["*", "{size}"])
@pytest.mark.parametrize("unit", ["bytes", "Bytes"])
async def test_a_part_that_is_the_one(client: Client, server: LyingRegistry, unit: str, whole: str) -> None:
    data, size = BLOBS[0], len(BLOBS[0])
    extent = f"{unit} 1000-{size - 1}/{whole.format(size=size)}"
    server.answers[NAMES[0]] = says(data[1000:], 206, Content_Range=extent)
    fetcher = client.registry(server).fetcher(server.name())
    assert b"".join([chunk async for chunk in fetcher.blob(FIRST, 1000)]) == data[1000:]
    assert len(blobs_asked(server)) == 1


async def test_a_part_of_something_of_another_size(client: Client, server: LyingRegistry) -> None:
    data, size = BLOBS[0], len(BLOBS[0])
    server.answers[NAMES[0]] = says(data[1000:], 206, Content_Range=f"bytes 1000-{size - 1}/{size + 7}")
    fetcher = client.registry(server).fetcher(server.name())
    with pytest.raises(Exception, match=f"of {size} bytes, got {size + 7} bytes"):
        [chunk async for chunk in fetcher.blob(FIRST, 1000)]


# ── codings ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [True, False])
async def test_a_layer_below_a_coding_that_nobody_asked_for(
    client: Client, server: LyingRegistry, length: bool
) -> None:
    coded = gzip.compress(BLOBS[0], mtime=0)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            extent = f"bytes 1000-{len(coded) - 1}/{len(coded)}"
            return await says(coded[1000:], 206, Content_Encoding="gzip", Content_Range=extent)(request)
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        if length:
            response.content_length = len(coded)
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(coded)
        return response

    server.answers[NAMES[0]] = answer
    fetcher = client.registry(server).fetcher(server.name())
    assert b"".join([chunk async for chunk in fetcher.blob(FIRST)]) == BLOBS[0]
    assert b"".join([chunk async for chunk in fetcher.blob(FIRST, 1000)]) == BLOBS[0][1000:]


async def test_a_layer_that_is_only_called_encoded(client: Client, server: LyingRegistry) -> None:
    """As stores do that were given a ``.tar.gz``."""
    server.answers[NAMES[0]] = says(BLOBS[0], Content_Encoding="gzip")
    fetcher = client.registry(server).fetcher(server.name())
    assert b"".join([chunk async for chunk in fetcher.blob(FIRST)]) == BLOBS[0]


async def test_a_coding_that_inflates_without_end(client: Client, server: LyingRegistry) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(64)]) + packer.flush()
    server.answers[NAMES[0]] = says(bomb, Content_Encoding="gzip")
    fetcher = client.registry(server).fetcher(server.name())
    with pytest.raises(Exception, match=f"of {FIRST.size} bytes, got at least"):
        [chunk async for chunk in fetcher.blob(FIRST)]
