"""Which volumes a new container's image may have something for."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from rundlet.container.record import MountPoint, Record
from rundlet.engine.containers import targets
from rundlet.engine.containers.files import ContainerFiles
from rundlet.engine.context import Context
from rundlet.storage.snapshot.snapshotter import Rootfs
from rundlet.util.clock import SystemClock
from rundlet.util.database import IN_MEMORY, Database
from rundlet.volume import store
from rundlet.volume.mounting import VolumeMounts
from rundlet.volume.store import VolumeStore


class LookedError(Exception):
    """Something of the image was looked at: for the volumes of these names."""


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeStore]:
    database = Database.open(IN_MEMORY, [store.SCHEMA])
    volumes = VolumeStore(str(tmp_path / "volumes"), database, SystemClock(), lambda _path: None)
    volumes.create("plain")
    volumes.create("sized", options={"size": "0"})
    volumes.create("shared", options={"type": "tmpfs", "device": "tmpfs"})
    yield volumes
    database.close()


def container(*points: MountPoint) -> Record:
    raw = msgspec.Raw(b"{}")
    return Record(
        id="ab" * 32, name="a", created_ns=1, image="i", image_id="i", config=raw, host_config=raw, mounts=[*points]
    )


def volume(name: str) -> MountPoint:
    return MountPoint(kind="volume", source=f"/{name}", destination=f"/{name}", name=name)


@pytest.mark.parametrize(
    ("points", "looked"),
    [
        ([], None),
        ([MountPoint(kind="bind", source="/b", destination="/b")], None),
        ([volume("shared")], None),
        ([volume("sized")], ["sized"]),
        ([volume("plain"), volume("shared"), volume("sized")], ["plain", "sized"]),
    ],
)
async def test_those_that_are_directories_here(
    volumes: VolumeStore, points: list[MountPoint], looked: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots: list[str] = []

    def rootfs(container_id: str) -> Rootfs:
        snapshots.append(container_id)
        return Rootfs([], "", "", "")

    def to_fill(_rootfs: Rootfs, wanted: list[MountPoint]) -> Any:
        raise LookedError(*(point.name for point in wanted))

    monkeypatch.setattr(targets, "to_fill", to_fill)
    context = SimpleNamespace(
        containers=SimpleNamespace(by_id=lambda _id: container(*points)),
        snapshots=SimpleNamespace(container=rootfs),
        mounted=VolumeMounts(volumes),
        volumes=volumes,
    )
    files = ContainerFiles(cast(Context, context))
    if looked is None:
        await files.fill_volumes("ab" * 32)
        assert not snapshots
        return
    with pytest.raises(LookedError) as found:
        await files.fill_volumes("ab" * 32)
    assert list(found.value.args) == looked
