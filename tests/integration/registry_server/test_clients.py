"""Debian's skopeo, podman and buildah, docker's engine and ours, as clients of our registry."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking
from tests.integration.registry.room import Room
from tests.integration.registry.test_images import make
from tools.own_registry import OwnRegistry, own_registry

from rundlet.errors import NotFoundError, RundletError
from rundlet.oci.reference import Reference

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path_factory.mktemp("own") / "root") as running:
        yield running


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = await Room.open(str(tmp_path / "a"))
    yield room
    await room.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Room]:
    room = await Room.open(str(tmp_path / "b"))
    yield room
    await room.close()


def run(program: str, *arguments: str, home: Path) -> str:
    found = shutil.which(program)
    if found is None:
        lacking(f"{program} is not installed")
    assert found is not None
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def layout(directory: Path) -> Path:
    """An OCI layout of two platforms; its layers hold no tar, which skopeo does not look at."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def write(data: bytes, media_type: str, **more: object) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data), **more}

    kind = "application/vnd.oci.image"
    manifests = []
    for architecture in ("amd64", "arm64"):
        layer = write(gzip.compress(f"layer {architecture}".encode() * 1000, mtime=0), f"{kind}.layer.v1.tar+gzip")
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": write(json.dumps(config).encode(), f"{kind}.config.v1+json"),
            "layers": [layer],
        }
        manifests.append(
            write(
                json.dumps(document).encode(),
                f"{kind}.manifest.v1+json",
                platform={"architecture": architecture, "os": "linux"},
            )
        )
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": manifests}
    top = write(
        json.dumps(index).encode(), f"{kind}.index.v1+json", annotations={"org.opencontainers.image.ref.name": "x"}
    )
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return directory


def test_skopeo(registry: OwnRegistry, tmp_path: Path) -> None:
    source = layout(tmp_path / "layout")
    name = f"docker://{registry.address}/skopeo/all"
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        f"oci:{source}:x",
        f"{name}:v1",
        home=tmp_path,
    )
    inspected = json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", f"{name}:v1", home=tmp_path))
    assert [m["platform"]["architecture"] for m in inspected["manifests"]] == ["amd64", "arm64"]
    # A second repository: blobs are mounted, and the copy back is the same image.
    second = f"docker://{registry.address}/skopeo/again"
    unsafe = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", "--all", "--preserve-digests", *unsafe, f"{name}:v1", f"{second}:v2", home=tmp_path)
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        f"{second}:v2",
        f"oci:{tmp_path}/back:x",
        home=tmp_path,
    )
    assert set(os.listdir(tmp_path / "back/blobs/sha256")) == set(os.listdir(source / "blobs/sha256"))
    listed = json.loads(run("skopeo", "list-tags", "--tls-verify=false", name, home=tmp_path))
    assert listed["Tags"] == ["v1"]
    run("skopeo", "delete", "--tls-verify=false", f"{name}:v1", home=tmp_path)
    assert not list_tags(registry, tmp_path, "skopeo/all")


def list_tags(registry: OwnRegistry, home: Path, name: str) -> list[str]:
    listed = run("skopeo", "list-tags", "--tls-verify=false", f"docker://{registry.address}/{name}", home=home)
    tags: list[str] = json.loads(listed)["Tags"]
    return tags


@pytest.mark.parametrize("program", ["podman", "buildah"])
async def test_podman_and_buildah(registry: OwnRegistry, room: Room, tmp_path: Path, program: str) -> None:
    name = Reference.parse(f"{registry.address}/from/rundlet-{program}:1")
    await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    # podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="rl-", dir="/tmp") as short:
        storage = (f"--root={short}/storage", f"--runroot={short}/run", "--storage-driver=vfs")
        await _there_and_back(registry, room, tmp_path, program, storage)


async def _there_and_back(
    registry: OwnRegistry, room: Room, tmp_path: Path, program: str, storage: tuple[str, ...]
) -> None:
    name = Reference.parse(f"{registry.address}/from/rundlet-{program}:1")
    image = room.store.get(name.canonical)
    run(program, *storage, "pull", "--tls-verify=false", name.familiar, home=tmp_path)
    shown = run(program, *storage, "images", "--no-trunc", "--format", "{{.ID}}", home=tmp_path)
    assert image.id.encoded in shown
    back = f"{registry.address}/from/{program}:2"
    run(program, *storage, "tag", name.familiar, back, home=tmp_path)
    run(program, *storage, "push", "--tls-verify=false", back, home=tmp_path)
    [pulled] = await room.puller.pull(Reference.parse(back), progress=room.hear)
    # They compress layers anew but keep the config: it is the same image.
    assert pulled.image.id == image.id
    run(program, *storage, "rmi", "-a", "-f", home=tmp_path)


async def test_our_own_engine(registry: OwnRegistry, room: Room, other: Room) -> None:
    name = Reference.parse(f"{registry.address}/own/engine:1")
    image = await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    second = Reference.parse(f"{registry.address}/own/copy:1")
    await room.store.tag(image, second)
    await room.pusher.push(second, progress=room.hear)
    assert any(status.startswith("Mounted from") for status in room.statuses())
    room.said.clear()
    await room.pusher.push(second, progress=room.hear)
    assert "Layer already exists" in room.statuses()
    [pulled] = await other.puller.pull(second, progress=other.hear)
    assert pulled.image.id == image.id
    assert pulled.image.manifest.digest == image.manifest.digest
    other.verify()


async def test_an_index_keeps_its_platforms(registry: OwnRegistry, room: Room, tmp_path: Path) -> None:
    source = layout(tmp_path / "layout")
    target = f"{registry.address}/platforms/both:1"
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        f"oci:{source}:x",
        f"docker://{target}",
        home=tmp_path,
    )
    fetcher = room.registry.fetcher(Reference.parse(target))
    found, data = await fetcher.manifest(await fetcher.resolve(Reference.parse(target)))
    assert found.size == len(data)
    assert json.loads(data)["manifests"][1]["platform"]["architecture"] == "arm64"


async def test_search_and_all_tags(registry: OwnRegistry, room: Room, other: Room) -> None:
    for tag in ("a", "b"):
        name = Reference.parse(f"{registry.address}/search/tags:{tag}")
        await make(room, name)
        await room.pusher.push(name, progress=room.hear)
    found = await room.registry.search(f"{registry.address}/search/ta")
    assert [item.name for item in found] == ["search/tags"]
    pulled = await other.puller.pull(name.trimmed(), all_tags=True, progress=other.hear)
    assert {item.reference.tag for item in pulled} == {"a", "b"}


async def test_content_that_rots_on_the_disk_is_not_pulled(registry: OwnRegistry, room: Room, other: Room) -> None:
    name = Reference.parse(f"{registry.address}/rotten/layer:1")
    image = await make(room, name)
    await room.pusher.push(name, progress=room.hear)
    layer = room.store.layers(image.id)[0].blob
    path = registry.root / "blobs" / "sha256" / layer.digest.encoded
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RundletError):
        await other.puller.pull(name, progress=other.hear)
    assert other.is_empty()
    manifest = registry.root / "blobs" / "sha256" / image.manifest.digest.encoded
    manifest.chmod(0o600)
    manifest.write_bytes(b"{}")
    with pytest.raises(NotFoundError):
        await other.puller.pull(name, progress=other.hear)
