"""A full disk during pull, import and load: one clear line, nothing half made, and all works again with room."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.registry.room import Room, stream, tar
from tests.integration.registry.test_images import make, new_name

from rundlet.errors import RundletError
from rundlet.oci.reference import Reference

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

FULL = "no space left on device"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "rundlet-test", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def room(small: Path) -> AsyncIterator[Room]:
    room = await Room.open(str(small / "a"))
    yield room
    await room.close()


@pytest.mark.parametrize("size", [14_000_000, 40_000_000])  # full while unpacking, full while downloading
async def test_pull(room: Room, other: Room, registry_host: str, size: int) -> None:
    name = new_name(registry_host)
    await make(other, name, {"big": os.urandom(size)})
    await other.pusher.push(name, progress=other.hear)
    with pytest.raises(RundletError, match=FULL):
        await room.puller.pull(name, progress=room.hear)
    room.verify()
    assert room.is_empty()
    await make(room, Reference.parse("fits"), {"small": b"x"})
    room.verify()


async def test_a_layer_without_room_is_not_fetched_to_its_end(other: Room, tmp_path: Path, registry_host: str) -> None:
    """What is left of the room is for others."""
    name = new_name(registry_host)
    await make(other, name, {"big": os.urandom(40_000_000)})
    await other.pusher.push(name, progress=other.hear)
    snapshots = tmp_path / "a/snapshots"
    snapshots.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "rundlet-test", str(snapshots)], check=True)
    try:
        room = await Room.open(str(tmp_path / "a"))
        with pytest.raises(RundletError, match=FULL):
            await room.puller.pull(name, progress=room.hear)
        assert "Downloading" in room.statuses()
        assert "Verifying Checksum" not in room.statuses()
        await room.close()
    finally:
        subprocess.run(["umount", "--lazy", str(snapshots)], check=True)


async def test_import(room: Room) -> None:
    with pytest.raises(RundletError, match=FULL):
        await room.importer.import_image(stream(tar({"big": os.urandom(40_000_000)}), 1 << 20))
    room.verify()
    assert room.is_empty()


async def test_load(room: Room, other: Room) -> None:
    await make(other, Reference.parse("big"), {"big": os.urandom(14_000_000)})
    archive = b"".join([chunk async for chunk in await other.saver.save(["big"])])
    with pytest.raises(RundletError, match=FULL):
        await room.loader.load(stream(archive, 1 << 20), progress=room.hear)
    room.verify()
    assert room.is_empty()
