"""Images through their whole life: import, push, pull, tag, remove, against a real registry and the real kernel."""

import asyncio
import bz2
import gzip
import json
import lzma
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator

import pytest
from tests.integration.registry.room import Room, stream, tar

from rundlet.errors import DigestMismatchError, NoSuchImageError
from rundlet.image.errors import (
    ForeignSystemError,
    ImageConflictError,
    NoLocalImageError,
    NoSuchTagError,
    ReferenceInUseError,
)
from rundlet.image.history import history
from rundlet.image.records import Image, Progress, User
from rundlet.image.unpack import Unpacker
from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Index, Manifest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Registry, RegistryError
from rundlet.registry.pusher import RepositoryPusher, Upload
from rundlet.storage.content import Ingest
from rundlet.storage.errors import LayerError

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def new_name(host: str, tag: str = "1") -> Reference:
    return Reference.parse(f"{host}/{secrets.token_hex(4)}/app:{tag}")


async def make(room: Room, reference: Reference | None, files: dict[str, bytes] | None = None) -> Image:
    content = tar(files or {"etc/name": secrets.token_bytes(16), "big": os.urandom(400_000)})
    return (await room.importer.import_image(stream(content), reference=reference)).image


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
async def test_import(room: Room, compress: "type[bytes]") -> None:
    plain = tar({"etc/name": b"hello", "data": os.urandom(1_000_000)})
    imported = await room.importer.import_image(
        stream(compress(plain)),
        reference=Reference.parse("demo"),
        message="by hand",
        changes=['CMD ["/bin/sh"]', "ENV A=1", "LABEL x=y"],
        platform="linux/arm64",
    )
    image = imported.image
    assert (image.repo_tags, image.size, image.labels) == (["demo:latest"], 1_000_005, {"x": "y"})
    assert image.platform == Platform("arm64", "linux")
    assert image.chain == Digest.of(plain)
    config = room.store.config(image.id)
    assert config.config is not None
    assert (config.config.cmd, config.config.env, config.comment) == (["/bin/sh"], ["A=1"], "by hand")
    assert config.diff_ids == (Digest.of(plain),)
    blob = room.store.layers(image.id)[0].blob
    assert gzip.decompress(b"".join(room.content.chunks(blob.digest))) == plain
    with open(f"{room.snapshots.layer(image.chain).path}/etc/name", "rb") as file:
        assert file.read() == b"hello"
    assert [(row.id, row.comment, row.size) for row in history(room.store, image)] == [
        (str(image.id), "by hand", 1_000_005)
    ]
    room.verify()


@pytest.mark.parametrize("data", [b"not a tar at all" * 100, tar({"a": b"b" * 5000})[:3000], gzip.compress(b"x")[:-5]])
async def test_import_of_what_is_no_archive(room: Room, data: bytes) -> None:
    with pytest.raises(LayerError):
        await room.importer.import_image(stream(data), reference=Reference.parse("demo"))
    assert room.is_empty()


@pytest.mark.parametrize("platform", ["macos", "macos/arm64", "windows/amd64"])
async def test_import_for_another_system(room: Room, platform: str) -> None:
    with pytest.raises(ForeignSystemError, match=r"^operating system is not supported$"):
        await room.importer.import_image(stream(tar({"a": b"b"})), platform=platform)
    assert room.is_empty()


async def test_cancelled_import_leaves_nothing(room: Room) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield tar({"big": os.urandom(1_000_000)})[:500_000]
        reached.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(room.importer.import_image(endless()))
    await reached.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.is_empty()


# ── push and pull ────────────────────────────────────────────────────────────────────────────────────────────


async def test_round_trip(room: Room, other: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    image = await make(room, name)
    pushed = (await room.pusher.push(name, progress=room.hear))[0]
    diff = room.store.layers(image.id)[0].diff_id.short
    assert room.statuses(diff)[0] == "Preparing"
    assert room.statuses(diff)[-1] == "Pushed"
    assert room.said[0].status == f"The push refers to repository [{name.name}]"
    assert room.said[-2].status == f"1: digest: {pushed.descriptor.digest} size: {pushed.descriptor.size}"
    assert room.said[-1].aux == {"Tag": "1", "Digest": str(pushed.descriptor.digest), "Size": pushed.descriptor.size}

    result = (await other.puller.pull(name, progress=other.hear))[0]
    assert (result.image.id, result.digest, result.changed) == (image.id, pushed.descriptor.digest, True)
    assert result.image.size == image.size
    blob = other.store.layers(image.id)[0].blob.digest.short
    seen = other.statuses(blob)
    assert [seen[0], *seen[-3:]] == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    assert other.said[0] == Progress(f"Pulling from {name.path}", "1")
    assert other.statuses()[-2:] == [
        f"Digest: {pushed.descriptor.digest}",
        f"Status: Downloaded newer image for {name.familiar}",
    ]
    assert result.image.repo_digests == [f"{name.familiar_name}@{pushed.descriptor.digest}"]

    other.said.clear()
    again = (await other.puller.pull(name, progress=other.hear))[0]
    assert not again.changed
    assert other.statuses(blob) == []
    assert other.statuses()[-1] == f"Status: Image is up to date for {name.familiar}"

    second = new_name(registry_host)
    await other.store.tag(result.image, second, other.store.target(name))
    other.said.clear()
    moved = (await other.pusher.push(second, progress=other.hear))[0]
    assert moved.descriptor.digest == pushed.descriptor.digest
    assert other.statuses(diff)[-1] == f"Mounted from {name.path}"
    if shutil.which("skopeo"):
        shown = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{second.canonical}"], check=True, capture_output=True
        )
        assert json.loads(shown.stdout)["Digest"] == str(pushed.descriptor.digest)
    room.verify()
    other.verify()


async def test_a_mount_from_where_nothing_is(room: Room, registry_host: str) -> None:
    image = await make(room, Reference.parse("demo:1"))
    ghost, name = new_name(registry_host), new_name(registry_host)
    room.store.add_digest(image, ghost.with_digest(image.manifest.digest))
    await room.store.tag(image, name)
    layer = room.store.layers(image.id)[0].diff_id.short
    await room.pusher.push(name, progress=room.hear)
    assert room.statuses(layer)[-1] == "Pushed"

    # The registry opens an upload that nobody needs, as the blob is there; it is given back.
    await room.store.untag([name.with_digest(image.manifest.digest)])
    room.said.clear()
    await room.pusher.push(name, progress=room.hear)
    assert room.statuses(layer) == ["Preparing", "Layer already exists"]


async def test_pull_by_digest_and_all_tags(room: Room, other: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    await make(room, name)
    await make(room, name.with_tag("2"))
    first, second = await room.pusher.push(name.trimmed(), all_tags=True, progress=room.hear)
    by_digest = name.with_digest(first.descriptor.digest)
    result = (await other.puller.pull(by_digest, progress=other.hear))[0]
    assert (result.image.repo_tags, result.image.repo_digests) == ([], [by_digest.familiar])
    assert other.store.get(by_digest.familiar).id == first.image.id
    results = await other.puller.pull(name.trimmed(), all_tags=True, progress=other.hear)
    assert {r.image.id for r in results} == {first.image.id, second.image.id}
    assert other.statuses()[-1] == f"Status: Downloaded newer image for {name.familiar_name}"
    other.verify()


async def test_overwritten_tag_leaves_the_old_image_dangling(room: Room, other: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    old = await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    await other.puller.pull(name, progress=other.hear)
    new = await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    result = (await other.puller.pull(name, progress=other.hear))[0]
    assert (result.image.id, result.previous, result.changed) == (new.id, old.id, True)
    left = other.store.find(old.id)
    assert left is not None
    assert left.repo_tags == []
    imported = room.store.find(old.id)
    assert imported is not None
    assert imported.repo_tags == []


async def test_two_pulls_share_the_work(room: Room, other: Room, registry_host: str) -> None:
    first, second = new_name(registry_host), new_name(registry_host)
    image = await make(room, first, {"big": os.urandom(3_000_000)})
    await room.store.tag(image, second)
    await room.pusher.push(first, progress=room.hear)
    await room.pusher.push(second, progress=room.hear)
    fetched: list[Digest] = []
    ingest = other.content.ingest

    def counting(key: str, expected: Descriptor | None = None) -> object:
        fetched.append(Digest.parse(key))
        return ingest(key, expected)

    other.content.ingest = counting  # type: ignore[method-assign,assignment]
    await asyncio.gather(other.puller.pull(first, progress=other.hear), other.puller.pull(second, progress=other.hear))
    assert len(fetched) == 1
    found = other.store.find(image.id)
    assert found is not None
    assert len(found.repo_tags) == 2
    other.verify()


@pytest.mark.parametrize("fails", [False, True])
async def test_two_pushes_share_the_work(
    room: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Of what both have there is one upload; where that fails, the other push makes its own."""
    first = new_name(registry_host)
    second = first.with_tag("2")
    await room.store.tag(await make(room, first), second)
    begun = 0
    begin = RepositoryPusher.begin

    async def counting(pusher: RepositoryPusher) -> Upload:
        nonlocal begun
        begun += 1
        if fails and begun == 1:
            raise RegistryError("DENIED", "not now", 403)
        return await begin(pusher)

    monkeypatch.setattr(RepositoryPusher, "begin", counting)
    pushes = (room.pusher.push(name, progress=room.hear) for name in (first, second))
    results = await asyncio.gather(*pushes, return_exceptions=True)
    assert sum(isinstance(result, RegistryError) for result in results) == fails
    assert sum(isinstance(result, list) for result in results) == 2 - fails
    assert fails or begun == 2  # the layer and the config


async def test_cancelled_pull_goes_on_later(room: Room, other: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    await make(room, name, {"big": os.urandom(40_000_000)})
    await room.pusher.push(name, progress=room.hear)
    started = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.status == "Downloading":
            started.set()

    task = asyncio.create_task(other.puller.pull(name, progress=watch))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert other.store.images() == []
    assert other.snapshots.layers() == []
    other.verify()
    await other.puller.pull(name, progress=other.hear)
    other.verify()
    await other.remover.remove(name.familiar)
    await other.garbage.collect()
    assert other.is_empty()


async def test_a_pull_cancelled_while_it_looks_at_what_it_has(
    room: Room, other: Room, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one waits until that is done with, and goes on."""
    name = new_name(registry_host)
    await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    begun, may_go_on = threading.Event(), threading.Event()
    begin = other.content.ingest

    def slowly(key: str, expected: Descriptor | None = None) -> Ingest:
        begun.set()
        assert may_go_on.wait(60)
        return begin(key, expected)

    monkeypatch.setattr(other.content, "ingest", slowly)
    task = asyncio.create_task(other.puller.pull(name, progress=other.hear))
    assert await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    again = asyncio.create_task(other.puller.pull(name, progress=other.hear))
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await again)[0].image.repo_tags == [name.familiar]
    other.verify()


async def test_push_of_what_is_not_here(room: Room, registry_host: str) -> None:
    name = new_name(registry_host)
    with pytest.raises(NoLocalImageError, match="An image does not exist locally with the tag: "):
        await room.pusher.push(name, progress=room.hear)
    await make(room, name)
    with pytest.raises(NoSuchTagError, match=r"tag does not exist: .*:2"):
        await room.pusher.push(name.with_tag("2"), progress=room.hear)


# ── several layers, several platforms ────────────────────────────────────────────────────────────────────────


async def put_image(
    pusher: RepositoryPusher, layers: list[bytes], platform: Platform, *, lie: Digest | None = None
) -> tuple[Descriptor, bytes]:
    """An image of gzip layers; ``lie`` replaces the first diff ID."""
    diff_ids = [Digest.of(layer) for layer in layers]
    if lie is not None:
        diff_ids[0] = lie
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        rootfs=RootFS(diff_ids=tuple(diff_ids)),
    ).encode()
    blobs = [gzip.compress(layer, mtime=0) for layer in layers]
    for blob in {config, *blobs}:
        await pusher.upload(Digest.of(blob), len(blob), _Bytes(blob), await pusher.begin(), lambda _sent: None)
    manifest = Manifest(
        schema_version=2,
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor.of(mediatype.OCI_CONFIG, config),
        layers=tuple(Descriptor.of(mediatype.OCI_LAYER_GZIP, blob) for blob in blobs),
    ).encode()
    return Descriptor.of(mediatype.OCI_MANIFEST, manifest), manifest


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __call__(self, offset: int) -> AsyncIterator[bytes]:
        yield self._data[offset:]


async def put_index(registry: Registry, name: Reference, platforms: list[str]) -> tuple[Index, Digest]:
    pusher = registry.pusher(name)
    entries = []
    for text in platforms:
        platform = Platform.parse(text)
        shared = tar({"shared": b"everywhere"})
        layers = [shared, tar({"arch": text.encode()}), shared]
        descriptor, data = await put_image(pusher, layers, platform)
        await pusher.put_manifest(data, descriptor, None)
        entries.append(Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, platform=platform))
    index = Index(schema_version=2, media_type=mediatype.OCI_INDEX, manifests=tuple(entries))
    data = index.encode()
    await pusher.put_manifest(data, Descriptor.of(mediatype.OCI_INDEX, data), name.tag)
    return index, Digest.of(data)


async def test_index(room: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    host = Platform.host()
    foreign = "linux/s390x"
    index, digest = await put_index(registry, name, [foreign, str(host)])
    result = (await room.puller.pull(name, progress=room.hear))[0]
    assert result.image.platform == host
    assert (result.digest, result.image.repo_digests) == (digest, [f"{name.familiar_name}@{digest}"])
    assert [layer.size for layer in room.store.layers(result.image.id)] == [10, len(str(host)), 10]
    room.verify()

    # Only this platform is here: its manifest is pushed, and said so.
    copy = new_name(registry_host)
    await room.store.tag(result.image, copy)
    pushed = (await room.pusher.push(copy, progress=room.hear))[0]
    assert pushed.descriptor.digest == result.image.manifest.digest
    notes = [p.aux for p in room.said if p.aux and "manifestPushedInsteadOfIndex" in p.aux]
    assert notes[0]["originalIndex"]["digest"] == str(digest)

    # With all of them here the index goes whole, digest kept.
    other = (await room.puller.pull(name, platform=foreign, progress=room.hear))[0]
    assert other.image.platform == Platform.parse(foreign)
    assert len(room.store.images()) == 2
    whole = (await room.pusher.push(copy, progress=room.hear))[0]
    assert whole.descriptor.digest == digest
    one = (await room.pusher.push(copy, platform=foreign, progress=room.hear))[0]
    assert one.descriptor.digest == (index.manifests or ())[0].digest
    room.verify()


async def test_no_matching_platform(room: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    await put_index(registry, name, ["linux/s390x"])
    with pytest.raises(Exception, match="no matching manifest for linux/arm64/v8 in the manifest list entries"):
        await room.puller.pull(name, platform="linux/arm64/v8", progress=room.hear)
    await room.garbage.collect()
    assert room.is_empty()


async def test_an_image_of_another_system(room: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    pusher = registry.pusher(name)
    descriptor, data = await put_image(pusher, [tar({"a": b"1"})], Platform.parse("windows/amd64"))
    await pusher.put_manifest(data, descriptor, name.tag)
    for platform in ("", "windows/amd64"):
        with pytest.raises(Exception, match='image operating system "windows" cannot be used on this platform'):
            await room.puller.pull(name, platform=platform, progress=room.hear)
    assert room.is_empty()


async def test_diff_id_that_lies(room: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    pusher = registry.pusher(name)
    descriptor, data = await put_image(pusher, [tar({"a": b"1"})], Platform.host(), lie=Digest.of(b"other"))
    await pusher.put_manifest(data, descriptor, "1")
    with pytest.raises(DigestMismatchError):
        await room.puller.pull(name, progress=room.hear)
    assert room.store.images() == []
    assert room.snapshots.layers() == []
    room.verify()


# ── names and removal ────────────────────────────────────────────────────────────────────────────────────────


async def test_names(room: Room) -> None:
    image = await make(room, Reference.parse("demo"))
    for text in ("demo", "demo:latest", "docker.io/library/demo", str(image.id), image.id.encoded, image.id.short):
        assert room.store.get(text).id == image.id
    for text in ("demo:2", "dem", "0" * 64, "library/other"):
        with pytest.raises(NoSuchImageError):
            room.store.get(text)
    with pytest.raises(NoSuchImageError, match="No such image: nothing:latest"):
        room.store.get("nothing")


async def test_removal_by_name_then_image(room: Room) -> None:
    image = await make(room, Reference.parse("demo"))
    await room.store.tag(image, Reference.parse("copy:2"))
    first = await room.remover.remove("demo")
    assert [(r.kind, r.name) for r in first] == [("untagged", "demo:latest")]
    second = await room.remover.remove("copy:2")
    assert [(r.kind, r.name) for r in second] == [
        ("untagged", "copy:2"),
        ("deleted", str(image.id)),
        ("deleted", str(image.chain)),
    ]
    assert room.is_empty()


async def test_removal_by_id(room: Room) -> None:
    image = await make(room, Reference.parse("demo"))
    await room.store.tag(image, Reference.parse("copy:2"))
    with pytest.raises(ImageConflictError) as caught:
        await room.remover.remove(image.id.short)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.id.short} (must be forced) - image is referenced in multiple repositories"
    )
    gone = await room.remover.remove(image.id.short, force=True)
    assert [r.name for r in gone if r.kind == "untagged"] == ["copy:2", "demo:latest"]
    assert room.is_empty()


async def test_removal_of_a_used_image(room: Room) -> None:
    image = await make(room, Reference.parse("demo"))
    container = "abcdef" + "0" * 58
    room.usage.by_image[image.id] = [User(container, running=False)]
    with pytest.raises(ReferenceInUseError) as caught:
        await room.remover.remove("demo")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "demo" (must force) - '
        f"container abcdef000000 is using its referenced image {image.id.short}"
    )
    with pytest.raises(ImageConflictError, match=r"\(must be forced\) - image is being used by stopped container"):
        await room.remover.remove(image.id.short)
    room.usage.by_image[image.id] = [User(container, running=True)]
    with pytest.raises(ImageConflictError, match=r"\(cannot be forced\) - image is being used by running container"):
        await room.remover.remove(image.id.short, force=True)
    assert image.chain is not None
    room.snapshots.prepare_container(container, image.chain)
    room.usage.by_image[image.id] = [User(container, running=False)]
    gone = await room.remover.remove("demo", force=True)
    assert [r.kind for r in gone] == ["untagged", "deleted"]
    assert room.snapshots.has_layer(image.chain)
    room.snapshots.remove_container(container)
    await room.garbage.collect()
    assert room.is_empty()


async def test_shared_layers_stay(room: Room, registry: Registry, registry_host: str) -> None:
    names = [new_name(registry_host), new_name(registry_host)]
    base = tar({"base": b"shared"})
    for number, name in enumerate(names):
        pusher = registry.pusher(name)
        descriptor, data = await put_image(pusher, [base, tar({"own": bytes([number])})], Platform.host())
        await pusher.put_manifest(data, descriptor, "1")
        await room.puller.pull(name, progress=room.hear)
    gone = await room.remover.remove(names[0].familiar)
    assert len([r for r in gone if r.kind == "deleted"]) == 2
    room.verify()
    gone = await room.remover.remove(names[1].familiar)
    assert len([r for r in gone if r.kind == "deleted"]) == 3
    assert room.is_empty()


async def test_two_removals_at_once(room: Room) -> None:
    await make(room, Reference.parse("demo"))
    results = await asyncio.gather(room.remover.remove("demo"), room.remover.remove("demo"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoSuchImageError", "list"]
    assert room.is_empty()


async def test_removal_of_what_is_another_by_now(room: Room) -> None:
    """Whoever chose images some time ago, as a prune does, takes none that was not chosen."""
    chosen = await make(room, Reference.parse("demo"))
    newer = await make(room, Reference.parse("demo"))
    assert newer.id != chosen.id
    assert await room.remover.remove("demo", still=chosen) == []
    dangling = room.store.find(chosen.id)
    assert dangling is not None and not dangling.tags
    await room.store.tag(dangling, Reference.parse("wanted"))
    assert await room.remover.remove(str(chosen.id), still=dangling) == []
    assert room.store.get("wanted").id == chosen.id
    assert room.store.get("demo").id == newer.id
    again = room.store.get("wanted")
    removed = await room.remover.remove("wanted", still=again)
    assert [item.kind for item in removed] == ["untagged", "deleted", "deleted"]


# ── repair ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dropped_layers_come_back(room: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    pusher = registry.pusher(name)
    descriptor, data = await put_image(pusher, [tar({"a": b"1"}), tar({"b": b"2"})], Platform.host())
    await pusher.put_manifest(data, descriptor, "1")
    image = (await room.puller.pull(name, progress=room.hear))[0].image
    chains = [layer.chain for layer in room.store.layers(image.id)]
    for chain in reversed(chains):
        room.snapshots.clear(room.snapshots.drop_layer(chain))
    unpacker = Unpacker(room.store, room.layers, room.leases)
    assert await unpacker.restore(chains) == {}
    room.verify()
    room.snapshots.clear(room.snapshots.drop_layer(chains[-1]))
    room.content.delete(room.store.layers(image.id)[-1].blob.digest)
    assert list(await unpacker.restore(chains[-1:])) == [image.id]
    await room.puller.pull(name, progress=room.hear)
    room.verify()
