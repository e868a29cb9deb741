"""save and load: ours into ours, ours into skopeo and podman, theirs into ours."""

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.conftest import need
from tests.integration.registry.room import Room, stream, tar
from tests.integration.registry.test_images import make, new_name, put_index

from rundlet.errors import DigestMismatchError, NoSuchImageError
from rundlet.image.archive import ArchiveError, blob_path
from rundlet.image.errors import AmbiguousTagError, PlatformMismatchError
from rundlet.image.history import history
from rundlet.image.variants import choose, variants
from rundlet.oci import mediatype
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference
from rundlet.registry import Registry
from rundlet.storage.errors import LayerError, LayerTooLargeError
from rundlet.storage.layer.compression import Inflater

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


async def save(room: Room, *names: str, platform: str = "") -> bytes:
    return b"".join([chunk async for chunk in await room.saver.save(names, platform)])


def skopeo(*arguments: str) -> bytes:
    return subprocess.run([need("skopeo"), *arguments], check=True, capture_output=True).stdout


async def test_round_trip(room: Room, other: Room) -> None:
    first = await make(room, Reference.parse("demo:1"))
    await room.store.tag(first, Reference.parse("reg.example/copy:2"))
    second = await make(room, Reference.parse("demo:2"))
    archive = await save(room, "demo", "reg.example/copy:2", second.id.short)
    assert archive == await save(room, "demo", "reg.example/copy:2", second.id.short)
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        times = {member.name: member.mtime for member in members}
    for image in (first, second):
        assert times.pop(f"blobs/sha256/{image.id.encoded}") == image.created_ns // 10**9 > 0
    assert set(times.values()) == {0}
    loaded = await other.loader.load(stream(archive), progress=other.hear)
    assert sorted(str(item.image.id) for item in loaded) == sorted([str(first.id), str(second.id)])
    assert other.store.get("demo:1").manifest == first.manifest
    assert other.store.get("demo:2").size == second.size
    assert other.store.get("reg.example/copy:2").id == first.id
    assert [s for s in other.statuses() if s.startswith("Loaded")] == [
        "Loaded image: demo:1",
        "Loaded image: reg.example/copy:2",
        "Loaded image: demo:2",
    ]
    other.verify()
    for name in ("demo:1", "demo:2", "reg.example/copy:2"):
        await other.remover.remove(name)
    assert other.is_empty()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
async def test_load_twice_and_compressed(room: Room, compress: "type[bytes]") -> None:
    image = await make(room, Reference.parse("demo:1"))
    archive = compress(await save(room, "demo:1"))
    await room.loader.load(stream(archive), progress=room.hear)
    newer = await make(room, Reference.parse("demo:1"))
    room.said.clear()
    await room.loader.load(stream(archive), progress=room.hear)
    assert room.statuses() == [
        f"The image demo:1 already exists, renaming the old one with ID {newer.id} to empty string",
        "Loaded image: demo:1",
    ]
    assert room.store.get("demo:1").id == image.id
    room.verify()


async def test_by_id_there_are_no_names(room: Room, other: Room) -> None:
    image = await make(room, Reference.parse("demo:1"))
    loaded = await other.loader.load(stream(await save(room, str(image.id))), progress=other.hear)
    assert (loaded[0].image.id, loaded[0].names) == (image.id, ())
    assert other.statuses()[-1] == f"Loaded image ID: {image.id}"


async def test_index(room: Room, other: Room, registry: Registry, registry_host: str) -> None:
    name = new_name(registry_host)
    foreign = "linux/s390x"
    _index, digest = await put_index(registry, name, [foreign, str(Platform.host())])
    theirs = (await room.puller.pull(name, platform=foreign, progress=room.hear))[0]
    result = (await room.puller.pull(name, progress=room.hear))[0]
    assert choose(room.store, name.familiar, foreign).id == theirs.image.id
    assert choose(room.store, name.familiar, "").id == result.image.id
    with pytest.raises(PlatformMismatchError):
        choose(room.store, name.familiar, "linux/riscv64")
    shown = variants(room.store, name.familiar)
    assert [(str(item.platform), item.available) for item in shown] == [(foreign, True), (str(Platform.host()), True)]
    assert [item.image.id for item in shown if item.image] == [theirs.image.id, result.image.id]

    archive = await save(room, name.familiar)
    loaded = await other.loader.load(stream(archive), progress=other.hear)
    assert [item.image.id for item in loaded] == [result.image.id]
    # The index came along whole: it is what a push sends and what is saved again.
    target = other.store.target(name)
    assert target is not None
    assert target.digest == digest
    assert await save(other, name.familiar) == archive
    copy = new_name(registry_host)
    await other.store.tag(result.image, copy, target)
    assert (await other.pusher.push(copy, progress=other.hear))[0].descriptor.digest == digest
    other.verify()
    await other.remover.remove(copy.familiar)
    await other.remover.remove(name.familiar)
    assert other.is_empty()
    chosen = await other.loader.load(stream(await save(room, name.familiar)), platform=foreign, progress=other.hear)
    assert any(item.image.platform == Platform.parse(foreign) for item in chosen)
    other.verify()


async def test_skopeo_and_podman_read_ours(room: Room, tmp_path: Path) -> None:
    image = await make(room, Reference.parse("demo:1"))
    path = tmp_path / "ours.tar"
    path.write_bytes(await save(room, "demo:1"))
    docker = json.loads(skopeo("inspect", "--config", f"docker-archive:{path}"))
    assert docker["rootfs"]["diff_ids"] == [str(image.chain)]
    assert Digest.of(skopeo("inspect", "--config", "--raw", f"docker-archive:{path}")) == image.id
    layout = Manifest.decode(skopeo("inspect", "--raw", f"oci-archive:{path}"))
    assert (layout.media_type, layout.config.digest) == (mediatype.OCI_MANIFEST, image.id)
    assert [part.digest for part in layout.layers] == [part.blob.digest for part in room.store.layers(image.id)]
    copy = tmp_path / "copy"
    skopeo("copy", f"docker-archive:{path}", f"dir:{copy}")
    assert (copy / "manifest.json").exists()


async def test_an_image_is_chosen_by_its_tag(room: Room, other: Room, tmp_path: Path) -> None:
    """skopeo and podman look for tags at manifests of OCI's kind only."""
    images = [await make(room, Reference.parse(f"demo:{number}")) for number in (1, 2)]
    await room.store.tag(images[0], Reference.parse("reg.example/copy:other"))
    path, directory = tmp_path / "ours.tar", tmp_path / "layout"
    path.write_bytes(await save(room, "demo", "reg.example/copy:other"))
    with tarfile.open(path) as members:
        members.extractall(directory, filter="data")
    for place in (f"oci-archive:{path}", f"oci:{directory}"):
        for number, tag in enumerate(("1", "2", "other")):
            found = skopeo("inspect", "--config", "--raw", f"{place}:{tag}")
            assert Digest.of(found) == images[number % 2].id
    for name, image in (("demo:1", 0), ("docker.io/library/demo:2", 1), ("reg.example/copy:other", 0)):
        found = skopeo("inspect", "--config", "--raw", f"docker-archive:{path}:{name}")
        assert Digest.of(found) == images[image].id
    await other.loader.load(stream(path.read_bytes()), progress=other.hear)
    assert [other.store.get(f"demo:{number}").manifest for number in (1, 2)] == [image.manifest for image in images]
    other.verify()


async def test_a_manifest_that_a_registry_knows_stays_in_the_list(
    room: Room, registry: Registry, registry_host: str, tmp_path: Path
) -> None:
    name = new_name(registry_host)
    await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    await room.remover.remove(name.familiar)
    image = (await room.puller.pull(name, progress=room.hear))[0].image
    assert image.manifest.media_type == mediatype.DOCKER_MANIFEST
    path = tmp_path / "ours.tar"
    path.write_bytes(await save(room, name.familiar))
    assert Digest.of(skopeo("inspect", "--raw", f"oci-archive:{path}")) == image.manifest.digest


@pytest.mark.parametrize("otherwise", ["image", "size"])
async def test_an_original_that_is_another_image(room: Room, otherwise: str) -> None:
    """What is loaded is what the archive lists."""
    files = layout(config(LAYER), {}, {})
    if otherwise == "image":
        false = layout(config(LAYER, architecture="arm64"), {}, {})
    else:
        false = layout(config(LAYER), {}, {"size": 5})
    listed = json.loads(files["index.json"])
    listed["manifests"][0]["annotations"]["dev.rundlet.manifest"] = json.loads(false["index.json"])["manifests"][0][
        "digest"
    ]
    both = false | files | {"index.json": json.dumps(listed).encode()}
    loaded = (await room.loader.load(stream(archive(both)), progress=room.hear))[0].image
    assert loaded.id == Digest.of(config(LAYER))
    assert loaded.manifest.digest == Digest.parse(listed["manifests"][0]["digest"])


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_skopeos_are_read(room: Room, other: Room, tmp_path: Path, kind: str) -> None:
    image = await make(room, Reference.parse("demo:1"))
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    ours.write_bytes(await save(room, "demo:1"))
    skopeo("copy", f"docker-archive:{ours}", f"{kind}:{theirs}:docker.io/library/demo:3")
    loaded = await other.loader.load(stream(theirs.read_bytes()), progress=other.hear)
    assert loaded[0].image.chain == image.chain
    assert [name.familiar for name in loaded[0].names] == ["demo:3"]
    if kind == "docker-archive":
        assert loaded[0].image.id == image.id
    other.verify()
    blob = other.store.layers(loaded[0].image.id)[0].blob
    plain = b"".join(Inflater().feed(b"".join(other.content.chunks(blob.digest))))
    assert Digest.of(plain) == image.chain


# ── archives by hand ─────────────────────────────────────────────────────────────────────────────────────────

LAYER = tar({"etc/name": b"hello"})


def archive(files: dict[str, bytes | str]) -> bytes:
    """A tar of files; a str is a symbolic link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                writer.addfile(info)
            else:
                info.size = len(data)
                writer.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def config(*layers: bytes, os: str = "linux", architecture: str = "amd64") -> bytes:
    diff_ids = [str(Digest.of(layer)) for layer in layers]
    return json.dumps(
        {"architecture": architecture, "os": os, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()


def v1_archive(step: dict[str, object]) -> dict[str, bytes | str]:
    """Of Docker before 1.10."""
    document = json.dumps({"id": "v", **step}).encode()
    return {"repositories": b'{"demo":{"1":"v"}}', "v/json": document, "v/layer.tar": LAYER}


def described(media_type: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data), **more}


def layout(
    config: bytes, manifest_more: dict[str, object], layer_more: dict[str, object] | None = None, *layers: bytes
) -> dict[str, bytes | str]:
    """An OCI layout of one image, of ``LAYER`` unless it is told otherwise; descriptors with other fields if wished."""
    blobs = layers if layers or layer_more is None else (LAYER,)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": described(mediatype.OCI_CONFIG, config),
            "layers": [described(mediatype.OCI_LAYER, layer, **layer_more or {}) for layer in blobs],
        }
    ).encode()
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/demo:1"}}
    index = {"schemaVersion": 2, "manifests": [described(mediatype.OCI_MANIFEST, manifest, **name, **manifest_more)]}
    files: dict[str, bytes | str] = {"index.json": json.dumps(index).encode()}
    return files | {blob_path(Digest.of(data)): data for data in (config, manifest, *blobs)}


def docker_archive(config: bytes, layers: list[str], tags: list[str] | None = None) -> dict[str, bytes | str]:
    entries = [{"Config": "c.json", "RepoTags": ["demo:1"] if tags is None else tags, "Layers": layers}]
    return {"c.json": config, "manifest.json": json.dumps(entries).encode()}


async def test_docker_archive_with_links(room: Room) -> None:
    files = docker_archive(config(LAYER, LAYER), ["a/layer.tar", "b/layer.tar"])
    files |= {"a/layer.tar": LAYER, "b/layer.tar": "../a/layer.tar"}
    loaded = await room.loader.load(stream(archive(files)), progress=room.hear)
    assert loaded[0].image.repo_tags == ["demo:1"]
    assert len(room.store.layers(loaded[0].image.id)) == 2
    room.verify()


def family(*steps: str, parents: Sequence[int | str | None]) -> dict[str, bytes | str]:
    """Images of one layer; each of ``steps`` is a history, a letter a step. A parent is a place among them or text."""
    layers = {"type": "layers", "diff_ids": [str(Digest.of(LAYER))]}
    configs = [
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": layers,
                "history": [{"created": "2026-01-01T00:00:00Z", "created_by": letter} for letter in text],
            }
        ).encode()
        for text in steps
    ]
    entries = []
    for number, parent in enumerate(parents):
        entry = {"Config": f"{number}.json", "RepoTags": [f"demo:{number}"], "Layers": ["l"]}
        known = str(Digest.of(configs[parent])) if isinstance(parent, int) else parent
        entries.append(entry if known is None else {**entry, "Parent": known})
    files: dict[str, bytes | str] = {f"{number}.json": data for number, data in enumerate(configs)}
    return files | {"l": LAYER, "manifest.json": json.dumps(entries).encode()}


async def test_which_was_made_from_which(room: Room, other: Room) -> None:
    """Kept where both are in the archive, in whatever order; what is not there has no name in a history."""
    strange = "sha256:" + "0" * 64
    await room.loader.load(stream(archive(family("ab", "abc", "a", parents=[2, 0, strange]))), progress=room.hear)
    ids = {number: str(room.store.get(f"demo:{number}").id) for number in range(3)}
    assert [row.id for row in history(room.store, room.store.get("demo:1"))] == [ids[1], ids[0], ids[2]]
    assert room.store.get("demo:2").parent is None

    await other.loader.load(stream(await save(room, "demo:1", "demo:0")), progress=other.hear)
    assert [row.id for row in history(other.store, other.store.get("demo:1"))] == [ids[1], ids[0], "<missing>"]
    await other.loader.load(stream(await save(room, "demo:1", "demo:2")), progress=other.hear)
    assert other.store.get("demo:2").parent is None
    for room_ in (room, other):
        room_.verify()
        for number in (1, 0, 2):
            await room_.remover.remove(f"demo:{number}")
        assert room_.is_empty()


@pytest.mark.parametrize(
    ("steps", "parents"),
    [(("a", "abc"), [None, 0]), (("x", "ab"), [None, 0]), (("a", "ab"), [1, None])],
)
async def test_parents_that_can_not_be(room: Room, steps: tuple[str, ...], parents: list[int | None]) -> None:
    with pytest.raises(ArchiveError, match=r"image sha256:.{64} is not a valid parent for sha256:.{64}"):
        await room.loader.load(stream(archive(family(*steps, parents=parents))), progress=room.hear)
    room.verify()


async def test_an_image_is_not_its_own_parent(room: Room) -> None:
    await room.loader.load(stream(archive(family("", parents=[0]))), progress=room.hear)
    assert room.store.get("demo:0").parent is None
    await room.remover.remove("demo:0")
    assert room.is_empty()


async def test_layers_unpacked_ahead_find_their_places(room: Room) -> None:
    upper, spare = tar({"etc/more": b"!"}), tar({"nobody": b"needs it"})
    first, second = config(LAYER, upper, LAYER), config(LAYER)
    entries = [
        {"Config": "first.json", "RepoTags": ["first:1"], "Layers": ["l/layer.tar", "u/layer.tar", "l/layer.tar"]},
        {"Config": "second.json", "RepoTags": ["second:1"], "Layers": ["copy.tar"]},
    ]
    files: dict[str, bytes | str] = {
        # A layer stored twice, one that no image has, and what looks like a layer and is none.
        "u/layer.tar": gzip.compress(upper),
        "l/layer.tar": LAYER,
        "copy.tar": LAYER,
        "spare.tar": spare,
        "notes.gz": gzip.compress(b"no archive"),
        "half.tar": LAYER[:700],
        "first.json": first,
        "second.json": second,
        "manifest.json": json.dumps(entries).encode(),
    }
    loaded = await room.loader.load(stream(archive(files)), progress=room.hear)
    assert [item.image.repo_tags for item in loaded] == [["first:1"], ["second:1"]]
    stack = room.store.layers(loaded[0].image.id)
    assert [layer.diff_id for layer in stack] == [Digest.of(LAYER), Digest.of(upper), Digest.of(LAYER)]
    chains = [layer.chain for layer in stack]
    assert [room.snapshots.layer(chain).parent for chain in chains] == [None, *chains[:-1]]
    assert room.store.layers(loaded[1].image.id)[0].chain == chains[0]
    assert {layer.chain for layer in room.snapshots.layers()} == set(chains)
    assert len(os.listdir(room.layout.snapshots)) == 3
    room.verify()
    for name in ("first:1", "second:1"):
        await room.remover.remove(name)
    assert room.is_empty()


async def test_the_older_list_of_names(room: Room) -> None:
    """Docker still writes it, and tools such as docker-squash look for an image's top layer in it."""
    upper = tar({"etc/more": b"!"})
    files = docker_archive(config(LAYER, upper), ["l", "u"], ["demo:1", "localhost:5000/demo:2"])
    await room.loader.load(stream(archive(files | {"l": LAYER, "u": upper})), progress=room.hear)
    with tarfile.open(fileobj=io.BytesIO(await save(room, "demo:1", "localhost:5000/demo:2"))) as saved:
        names = json.load(saved.extractfile("repositories"))  # type: ignore[arg-type]
        top = json.load(saved.extractfile("manifest.json"))[0]["Layers"][-1]  # type: ignore[arg-type]
    word = top.removeprefix("blobs/sha256/")
    assert names == {"demo": {"1": word}, "localhost:5000/demo": {"2": word}}
    image = room.store.get("demo:1").id
    with tarfile.open(fileobj=io.BytesIO(await save(room, str(image)))) as saved:
        assert "repositories" not in saved.getnames()


async def test_a_layer_that_is_here_need_not_come_along(room: Room) -> None:
    """docker-squash leaves the layers below what it squashed out of its archives."""
    upper = tar({"etc/more": b"!"})
    on_base = docker_archive(config(LAYER, upper), ["blobs/sha256/base", "u"], ["squashed:1"]) | {"u": upper}
    with pytest.raises(ArchiveError, match="blobs/sha256/base is missing"):
        await room.loader.load(stream(archive(on_base)), progress=room.hear)
    assert room.is_empty()
    base = docker_archive(config(LAYER), ["l"]) | {"l": LAYER}
    below = (await room.loader.load(stream(archive(base)), progress=room.hear))[0].image
    loaded = (await room.loader.load(stream(archive(on_base)), progress=room.hear))[0].image
    assert room.store.layers(loaded.id)[0] == room.store.layers(below.id)[0]
    # The same layer in another place is another one.
    moved = docker_archive(config(upper, LAYER), ["u", "blobs/sha256/base"]) | {"u": upper}
    with pytest.raises(ArchiveError, match="blobs/sha256/base is missing"):
        await room.loader.load(stream(archive(moved)), progress=room.hear)
    await room.remover.remove("demo:1")
    assert loaded.id in {image.id for image in room.store.images()}
    room.verify()
    await room.remover.remove("squashed:1")
    assert room.is_empty()


async def test_legacy_archive(room: Room) -> None:
    upper = tar({"etc/more": b"!"})
    base = {"id": "a" * 64, "created": "2014-01-01T00:00:00Z", "os": "linux", "architecture": "amd64"}
    top = {
        **base,
        "id": "b" * 64,
        "parent": "a" * 64,
        "config": {"Cmd": ["sh"]},
        "container_config": {"Cmd": ["make", "it"]},
    }
    files: dict[str, bytes | str] = {
        "repositories": json.dumps({"demo": {"old": "b" * 64}}).encode(),
        f"{'a' * 64}/json": json.dumps(base).encode(),
        f"{'a' * 64}/layer.tar": LAYER,
        f"{'b' * 64}/json": json.dumps(top).encode(),
        f"{'b' * 64}/layer.tar": upper,
    }
    loaded = await room.loader.load(stream(archive(files)), progress=room.hear)
    image = loaded[0].image
    made = room.store.config(image.id)
    assert made.diff_ids == (Digest.of(LAYER), Digest.of(upper))
    assert made.config is not None
    assert made.config.cmd == ["sh"]
    assert (made.history or [])[1].created_by == "make it"
    assert image.repo_tags == ["demo:old"]
    room.verify()


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"a": b"b"}, ArchiveError, "unrecognized image format"),
        (docker_archive(config(LAYER), ["../../../../etc/passwd"]), ArchiveError, "etc/passwd is missing"),
        (docker_archive(config(LAYER), ["l"]) | {"l": "/etc/passwd"}, ArchiveError, "l is missing"),
        (docker_archive(config(LAYER), ["l"]) | {"l": "m", "m": "l"}, ArchiveError, "l is missing"),
        (docker_archive(config(LAYER), []), ArchiveError, "layers length mismatch"),
        (docker_archive(config(LAYER), ["l"], ["Bad Name"]) | {"l": LAYER}, ArchiveError, "invalid tag"),
        (docker_archive(config(b"other"), ["l"]) | {"l": LAYER}, DigestMismatchError, "verification failed"),
        (docker_archive(config(b"x"), ["l"]) | {"l": b"x"}, LayerError, "."),
        (docker_archive(b"[]", ["l"]) | {"l": LAYER}, Exception, "config"),
        ({"manifest.json": b"{"}, ArchiveError, "invalid manifest.json"),
        ({"repositories": b'{"a":{"1":"zz"}}'}, ArchiveError, "zz/json is missing"),
        (v1_archive({"container_config": "x"}), ArchiveError, "v/json: Expected `object . null`, got `str`"),
        (v1_archive({"container_config": {"Cmd": 5}}), ArchiveError, "v/json: Expected"),
        (v1_archive({"parent": 5}), ArchiveError, "v/json: Expected"),
        (docker_archive(config(LAYER, os="windows"), ["l"]) | {"l": LAYER}, ArchiveError, "cannot load windows image"),
        (layout(config(LAYER), {"size": 5}, {}), DigestMismatchError, "of 5 bytes, got"),
        (layout(config(LAYER), {}, {"size": 7}), DigestMismatchError, "of 7 bytes, got"),
    ],
)
async def test_bad_archives(room: Room, files: dict[str, bytes | str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await room.loader.load(stream(archive(files)), progress=room.hear)
    assert room.is_empty()


@pytest.mark.parametrize("data", [b"", b"nonsense" * 1000, archive({"a": b"b" * 5000})[:3000], b"\x1f\x8bxx"])
async def test_what_is_no_archive(room: Room, data: bytes) -> None:
    with pytest.raises((ArchiveError, LayerError)):
        await room.loader.load(stream(data), progress=room.hear)
    assert room.is_empty()


@pytest.mark.parametrize(("listed", "platform"), [(0, ""), (0, "linux/amd64"), (2, "")])
async def test_archives_of_docker_25(room: Room, listed: int, platform: str) -> None:
    """Docker 25.0's OCI manifests list no layers, or those of the image in any order; ``manifest.json`` is right."""
    upper = tar({"etc/more": b"!"})
    image = config(LAYER, upper)
    layers = (upper, LAYER)[:listed]
    files = layout(image, {}, {} if layers else None, *layers)
    paths = [blob_path(Digest.of(layer)) for layer in (LAYER, upper)]
    entry = {"Config": blob_path(Digest.of(image)), "RepoTags": ["demo:1"], "Layers": paths}
    files |= {"manifest.json": json.dumps([entry]).encode(), paths[0]: LAYER, paths[1]: upper}
    loaded = (await room.loader.load(stream(archive(files)), platform=platform, progress=room.hear))[0]
    assert loaded.image.id == Digest.of(image)
    assert loaded.image.repo_tags == ["demo:1"]
    assert [layer.blob.digest for layer in room.store.layers(loaded.image.id)] == [Digest.of(LAYER), Digest.of(upper)]
    room.verify()


@pytest.mark.parametrize(("platform", "loaded"), [("linux/arm64", ["arm64"]), ("linux/arm/v7", ["arm"]), ("", None)])
async def test_the_platform_itself_before_what_would_do(room: Room, platform: str, loaded: list[str] | None) -> None:
    """Machines for arm64 run what is for arm, but that is not what was asked for."""
    files = docker_archive(config(LAYER, architecture="arm64"), ["l"]) | {"l": LAYER}
    arm = config(LAYER, architecture="arm")
    entries = json.loads(files["manifest.json"])
    entries.append({**entries[0], "Config": "arm.json", "RepoTags": ["arm:1"]})
    files |= {"arm.json": arm, "manifest.json": json.dumps(entries).encode()}
    found = await room.loader.load(stream(archive(files)), platform=platform, progress=room.hear)
    assert sorted(item.image.platform.architecture for item in found) == (loaded or ["arm", "arm64"])


async def test_a_name_that_looks_like_a_digest(room: Room) -> None:
    files = docker_archive(config(LAYER), ["l"], [f"sha256:{'a' * 64}"]) | {"l": LAYER}
    with pytest.raises(AmbiguousTagError):
        await room.loader.load(stream(archive(files)), progress=room.hear)
    assert room.is_empty()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_layer_that_is_here_under_the_name_of_which_another_comes(
    room: Room, pack: Callable[[bytes], bytes]
) -> None:
    """Of a file without a digest for a name Docker would not look at it; by a digest it is what was asked for."""
    here = docker_archive(config(LAYER), ["l"], ["here:1"]) | {"l": LAYER}
    good = (await room.loader.load(stream(archive(here)), progress=room.hear))[0].image
    other = pack(tar({"etc/name": b"other"}))
    image = config(LAYER, architecture="arm64")
    files = docker_archive(image, ["l"]) | {"l": other}
    loaded = (await room.loader.load(stream(archive(files)), progress=room.hear))[0].image
    assert loaded.id == Digest.of(image)
    assert room.store.layers(loaded.id) == room.store.layers(good.id)
    await room.remover.remove("demo:1")
    with pytest.raises(DigestMismatchError):
        await room.loader.load(stream(archive(layout(image, {}, {}, other))), progress=room.hear)
    with pytest.raises(DigestMismatchError):  # also with the right layer somewhere else in the archive
        await room.loader.load(stream(archive(layout(image, {}, {}, other) | {"z": LAYER})), progress=room.hear)
    await room.remover.remove("here:1")
    with pytest.raises(DigestMismatchError):
        await room.loader.load(stream(archive(layout(image, {}, {}, other) | {"z": LAYER})), progress=room.hear)
    assert room.is_empty()


async def test_files_without_end(room: Room) -> None:
    """Whatever a compressed archive claims to hold, no file of it is larger than a layer may be."""
    room.snapshots.layer_limit = 50_000
    files = docker_archive(config(LAYER), ["l"]) | {"l": LAYER, "no-layer": bytes(50_001)}
    with pytest.raises(LayerTooLargeError):
        await room.loader.load(stream(gzip.compress(archive(files))), progress=room.hear)
    assert room.is_empty()
    files["no-layer"] = bytes(50_000)
    await room.loader.load(stream(gzip.compress(archive(files))), progress=room.hear)
    room.verify()


@pytest.mark.parametrize("tags", [[], ["<none>:<none>"]])
async def test_an_image_without_a_name(room: Room, tags: list[str]) -> None:
    layer = tar({"a": b"b"})
    files = docker_archive(config(layer), ["0.tar"], tags) | {"0.tar": layer}
    [loaded] = await room.loader.load(stream(archive(files)), progress=room.hear)
    assert (loaded.names, loaded.image.repo_tags) == ((), [])
    assert room.statuses()[-1] == f"Loaded image ID: {loaded.image.id}"


async def test_documents_behind_links(room: Room) -> None:
    files = docker_archive(config(LAYER), ["l"]) | {"l": LAYER}
    files |= {"kept/m.json": files["manifest.json"], "manifest.json": "kept/m.json"}
    loaded = (await room.loader.load(stream(archive(files)), progress=room.hear))[0]
    assert loaded.image.repo_tags == ["demo:1"]


@pytest.mark.parametrize("files", [docker_archive(config(LAYER), ["l"]) | {"l": LAYER}, layout(config(LAYER), {}, {})])
async def test_a_platform_that_an_archive_has_not(room: Room, files: dict[str, bytes | str]) -> None:
    with pytest.raises(ArchiveError, match="the archive has no image for the platform linux/s390x"):
        await room.loader.load(stream(archive(files)), platform="linux/s390x", progress=room.hear)
    assert room.is_empty()
    loaded = await room.loader.load(stream(archive(files)), platform="linux/amd64", progress=room.hear)
    assert loaded[0].image.repo_tags == ["demo:1"]


async def test_an_image_that_goes_while_it_is_to_be_saved(room: Room) -> None:
    """Then nothing comes: what came before the first blob that is missing would be taken for an archive."""
    await room.loader.load(stream(archive(docker_archive(config(LAYER), ["l"]) | {"l": LAYER})), progress=room.hear)
    chunks = await room.saver.save(["demo:1"])
    await room.remover.remove("demo:1")
    with pytest.raises(NoSuchImageError, match="No such image: demo:1"):
        await anext(chunks)


async def test_save_of_what_is_not_here(room: Room) -> None:
    with pytest.raises(NoSuchImageError):
        await room.saver.save(["nothing"])


@pytest.mark.parametrize("what", ["config", "layers", "manifest"])
async def test_blobs_under_wrong_names(room: Room, other: Room, what: str) -> None:
    """Whatever an OCI layout keeps under a digest has to have it."""
    await make(room, Reference.parse("demo:1"))
    with tarfile.open(fileobj=io.BytesIO(await save(room, "demo:1"))) as archived:
        files = {item.name: archived.extractfile(item).read() for item in archived if item.isreg()}  # type: ignore[union-attr]
    described = json.loads(files["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(files[f"blobs/sha256/{described[7:]}"])
    wrong = {"config": manifest["config"]["digest"], "layers": manifest["layers"][0]["digest"], "manifest": described}[
        what
    ]
    name = f"blobs/sha256/{wrong[7:]}"
    files[name] = files[name].replace(b"linux", b"Linux") if what == "config" else files[name] + b" "
    with pytest.raises(DigestMismatchError):
        await other.loader.load(stream(tar(files)), progress=other.hear)
    assert other.is_empty()
