"""load of archives with many members, and of those whose digests are not made with SHA-256."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.registry.room import Room, stream
from tests.integration.registry.test_archives import LAYER, archive, config, docker_archive, save

from rundlet.errors import DigestMismatchError
from rundlet.image import ahead, contents, unarchive
from rundlet.image.archive import ArchiveError
from rundlet.image.unarchive import Parts, Unarchiver
from rundlet.oci import mediatype
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore, Ingest
from rundlet.util.clock import SystemClock

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Digest]:
    """The blobs that come to be."""
    found: list[Digest] = []
    write, commit = ContentStore.write, Ingest.commit

    def writing(store: ContentStore, data: bytes, expected: Digest | None = None) -> Digest:
        found.append(write(store, data, expected))
        return found[-1]

    def committing(ingest: Ingest) -> Digest:
        found.append(commit(ingest))
        return found[-1]

    monkeypatch.setattr(ContentStore, "write", writing)
    monkeypatch.setattr(Ingest, "commit", committing)
    return found


DEMO = docker_archive(config(LAYER), ["l"]) | {"l": LAYER}
SPARE: dict[str, bytes | str] = {f"spare/{number}": b"%d" % number for number in range(300)}


async def test_small_files_that_nobody_asks_for_are_not_stored(room: Room, written: list[Digest]) -> None:
    loaded = (await room.loader.load(stream(archive(SPARE | DEMO)), progress=room.hear))[0].image
    assert set(written) == {loaded.id, loaded.manifest.digest, Digest.of(LAYER), Digest.of(DEMO["manifest.json"])}  # type: ignore[arg-type]
    room.verify()
    await room.remover.remove("demo:1")
    assert room.is_empty()


@pytest.mark.parametrize(("small", "together"), [(0, 0), (unarchive.SMALL, 500), (100, unarchive.SMALL_TOGETHER)])
async def test_memory_for_small_files_has_an_end(
    room: Room, monkeypatch: pytest.MonkeyPatch, small: int, together: int
) -> None:
    monkeypatch.setattr(unarchive, "SMALL", small)
    monkeypatch.setattr(unarchive, "SMALL_TOGETHER", together)
    loaded = (await room.loader.load(stream(archive(SPARE | DEMO)), progress=room.hear))[0].image
    assert loaded.repo_tags == ["demo:1"]
    room.verify()
    await room.remover.remove("demo:1")
    assert room.is_empty()


async def test_members_of_any_kind_count(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unarchive, "MEMBERS_LIMIT", len(DEMO) + 10)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for _ in range(10):
            info = tarfile.TarInfo("same")
            info.type = tarfile.DIRTYPE
            writer.addfile(info)
    directories = buffer.getvalue()[: 10 * 512]
    await room.loader.load(stream(directories + archive(DEMO)), progress=room.hear)
    with pytest.raises(ArchiveError, match="more files than any archive of images"):
        await room.loader.load(stream(directories + archive(DEMO | {"one": b"more"})), progress=room.hear)


@pytest.mark.parametrize("long", ["name", "link"])
async def test_memory_for_names_has_an_end(room: Room, monkeypatch: pytest.MonkeyPatch, long: str) -> None:
    monkeypatch.setattr(unarchive, "NAMES_TOGETHER", 10_000)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for number in range(10):
            info = tarfile.TarInfo(f"{number}/" + "n" * (995 if long == "name" else 10))
            info.type, info.linkname = tarfile.SYMTYPE, "l" * (995 if long == "link" else 10)
            writer.addfile(info)
    links = buffer.getvalue().rstrip(b"\0")
    links += bytes(-len(links) % 512)
    with pytest.raises(ArchiveError, match="more files than any archive of images"):
        await room.loader.load(stream(links + archive(DEMO)), progress=room.hear)
    assert room.is_empty()


async def test_one_large_document_is_not_read_without_end(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few kilobytes an archive may be that refers to a config of megabytes ten thousand times."""
    monkeypatch.setattr(contents, "DOCUMENTS_TOGETHER", 20 * len(config(LAYER)))
    entries = json.loads(DEMO["manifest.json"])
    many = DEMO | {"manifest.json": json.dumps(entries * 50).encode()}
    with pytest.raises(ArchiveError, match="more documents than any archive of images"):
        await room.loader.load(stream(archive(many)), progress=room.hear)
    assert room.is_empty()
    assert await room.loader.load(stream(archive(DEMO)), progress=room.hear)


@pytest.mark.parametrize("empty", [False, True])
def test_reading_ends_when_nobody_wants_the_archive_also_within_a_chunk(empty: bool, tmp_path: Path) -> None:
    """Little that is compressed may be much to read, or nothing for long."""
    watch = _Watch()
    parts = Parts(lambda _digest, _data: None)
    unarchiver = Unarchiver(ContentStore(str(tmp_path), SystemClock()), parts, _NoTaps(), watch)
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        if empty:
            for _ in range(5):
                read += 1
                yield gzip.compress(b"")
                unarchiver.stop()
        else:
            yield gzip.compress(archive({str(n): os.urandom(unarchive.SMALL + 1) for n in range(20)}))

    watch.held = unarchiver.stop
    with pytest.raises(ArchiveError, match="not wanted any more"):
        unarchiver.read(chunks())
    assert read <= 2
    assert len(parts.files) <= 10


class _Watch:
    def __init__(self) -> None:
        self.held: Callable[[], None] = lambda: None

    def hold(self, _digest: Digest) -> None:
        self.held()

    def layer(self, _name: str, _done: int, _total: int) -> None: ...


class _NoTaps:
    def open(self, _name: str, *, hash_plain: bool) -> None: ...


async def test_of_what_looks_like_layers_only_some_are_unpacked_ahead(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LAYERS_LIMIT", 3)
    unpacked = []
    unpack = ahead.unpack_detached
    monkeypatch.setattr(ahead, "unpack_detached", lambda *a, **k: (unpacked.append(a), unpack(*a, **k))[1])
    spare: dict[str, bytes | str] = {f"{n}.gz": gzip.compress(b"%d" % n) for n in range(9)}
    # One file under many names is one layer.
    spare = {f"same/{n}": spare["0.gz"] for n in range(9)} | spare
    loaded = (await room.loader.load(stream(archive(spare | DEMO)), progress=room.hear))[0].image
    assert len(unpacked) == 3
    assert room.store.layers(loaded.id)[0].diff_id == Digest.of(LAYER)
    room.verify()


async def test_the_last_member_of_a_name_counts(room: Room) -> None:
    """As when the archive is unpacked into a directory, which is what Docker does."""
    first = archive({"l": "nowhere", "c.json": b"no config"})[:-10240].rstrip(b"\0")
    first += bytes(-len(first) % 512)
    loaded = (await room.loader.load(stream(first + archive(DEMO)), progress=room.hear))[0].image
    assert loaded.id == Digest.of(config(LAYER))


# ── SHA-512 ──────────────────────────────────────────────────────────────────────────────────────────────────


def layout_512(layer: bytes, diff_id: Digest) -> dict[str, bytes | str]:
    """An OCI layout all of whose blobs are called by their SHA-512."""

    def described(media_type: str, data: bytes) -> dict[str, object]:
        return {"mediaType": media_type, "digest": str(Digest.of(data, "sha512")), "size": len(data)}

    rootfs = {"type": "layers", "diff_ids": [str(diff_id)]}
    image = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    kind = mediatype.OCI_LAYER_GZIP if layer[:2] == b"\x1f\x8b" else mediatype.OCI_LAYER
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": described(mediatype.OCI_CONFIG, image),
            "layers": [described(kind, layer)],
        }
    ).encode()
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/demo:1"}}
    index = {"schemaVersion": 2, "manifests": [described(mediatype.OCI_MANIFEST, manifest) | name]}
    files: dict[str, bytes | str] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files["index.json"] = json.dumps(index).encode()
    return files | {f"blobs/sha512/{Digest.of(data, 'sha512').encoded}": data for data in (image, manifest, layer)}


@pytest.mark.parametrize("small", [unarchive.SMALL, 0])
@pytest.mark.parametrize("layer", [LAYER, gzip.compress(LAYER, mtime=0)])
async def test_layouts_of_sha512(
    room: Room, other: Room, monkeypatch: pytest.MonkeyPatch, layer: bytes, small: int
) -> None:
    monkeypatch.setattr(unarchive, "SMALL", small)
    files = layout_512(layer, Digest.of(LAYER))
    loaded = (await room.loader.load(stream(archive(files)), progress=room.hear))[0].image
    assert (loaded.id.algorithm, loaded.manifest.digest.algorithm) == ("sha512", "sha512")
    assert room.store.layers(loaded.id)[0].blob.digest == Digest.of(layer, "sha512")
    room.verify()
    saved = await save(room, "demo:1")
    again = (await other.loader.load(stream(saved), progress=other.hear))[0].image
    assert (again.id, again.manifest, again.repo_tags) == (loaded.id, loaded.manifest, ["demo:1"])
    other.verify()
    await other.remover.remove("demo:1")
    assert other.is_empty()


@pytest.mark.parametrize("begins", ["sha512:{:.12}", "{:.12}", "{:.100}", "{}", "sha512:{}"])
async def test_an_image_of_sha512_without_a_name_is_found_by_its_id(room: Room, begins: str) -> None:
    image = (await room.loader.load(stream(archive(layout_512(LAYER, Digest.of(LAYER)))), progress=room.hear))[0].image
    await room.store.untag(image.tags)
    text = begins.format(image.id.encoded)
    assert room.store.get(text).id == image.id
    await room.remover.remove(text)
    assert room.is_empty()


@pytest.mark.parametrize("which", range(3))
async def test_blobs_that_are_not_what_their_sha512_says(room: Room, which: int) -> None:
    files = layout_512(LAYER, Digest.of(LAYER))
    name = [name for name in files if name.startswith("blobs/")][which]
    with pytest.raises(DigestMismatchError):
        await room.loader.load(stream(archive(files | {name: b"other"})), progress=room.hear)
    assert room.is_empty()


async def test_a_diff_id_of_sha512(room: Room) -> None:
    """Docker has SHA-256 for these only."""
    files = layout_512(LAYER, Digest.of(LAYER, "sha512"))
    with pytest.raises(DigestMismatchError):
        await room.loader.load(stream(archive(files)), progress=room.hear)
    assert room.is_empty()
