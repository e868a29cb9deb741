"""Everything of storage, registry and image joined over a temporary root, as the engine's wiring joins it."""

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Self

from rundlet.image import store as image_store
from rundlet.image.compressing import LayerCompressor
from rundlet.image.garbage import Garbage
from rundlet.image.import_ import Importer
from rundlet.image.layers import LayerImporter
from rundlet.image.leases import Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller
from rundlet.image.push import Pusher
from rundlet.image.records import Progress, User
from rundlet.image.removal import Remover
from rundlet.image.save import Saver
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest
from rundlet.registry import HostsConfig, Registry
from rundlet.registry.retry import Retry
from rundlet.runtime.launch import Launcher
from rundlet.storage import snapshot
from rundlet.storage.content import ContentStore
from rundlet.storage.snapshot import OverlaySnapshotter
from rundlet.transport import HttpClient
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database
from rundlet.util.layout import Layout


class Usage:
    """Containers as the test says."""

    def __init__(self) -> None:
        self.by_image: dict[Digest, list[User]] = {}

    def users(self, image: Digest) -> Sequence[User]:
        return self.by_image.get(image, [])


async def _no_sleep(_seconds: float) -> None:
    return None


class Room:
    def __init__(self, root: str, launcher: Launcher, hosts: HostsConfig | None) -> None:
        layout = Layout(root, f"{root}/run")
        clock = SystemClock()
        self.layout = layout
        self.launcher = launcher
        self.usage = Usage()
        self.database = Database.open(layout.database, [image_store.SCHEMA, snapshot.SCHEMA])
        self.content = ContentStore(layout.content, clock)
        self.snapshots = OverlaySnapshotter(layout.snapshots, self.database, clock)
        self.store = ImageStore(self.database, self.content, clock)
        self.leases = Leases()
        self.garbage = Garbage(self.database, self.content, self.snapshots, self.leases)
        self.remover = Remover(self.store, self.garbage, self.usage)
        self.http = HttpClient(environment={})
        self.registry = Registry(self.http, hosts, retry=Retry(sleep=_no_sleep))
        self.layers = LayerImporter(self.content, self.snapshots, launcher)
        self.puller = Puller(self.store, self.snapshots, self.layers, self.registry, self.leases, self.garbage)
        self.pusher = Pusher(
            self.store, self.registry, self.leases, LayerCompressor(self.store, self.leases, self.garbage)
        )
        self.importer = Importer(self.store, self.snapshots, launcher, self.leases, clock)
        self.saver = Saver(self.store, self.leases)
        self.loader = Loader(self.store, self.snapshots, self.layers, self.leases, self.garbage)
        self.said: list[Progress] = []

    @classmethod
    async def open(cls, root: str, hosts: HostsConfig | None = None) -> Self:
        layout = Layout(root, f"{root}/run")
        for directory, mode in layout.directories():
            os.makedirs(directory, mode, exist_ok=True)
        return cls(root, await Launcher.start(layout), hosts)

    async def close(self) -> None:
        await self.http.close()
        self.launcher.bye()
        self.database.close()

    def hear(self, progress: Progress) -> None:
        self.said.append(progress)

    def statuses(self, layer: str = "") -> list[str]:
        return [p.status for p in self.said if not layer or p.id == layer]

    def verify(self) -> None:
        """Every blob has its digest, nothing is half written, every recorded layer is there."""
        assert all(self.content.verify(digest) for digest in self.content.iterate())
        for image in self.store.images():
            for layer in self.store.layers(image.id):
                assert self.snapshots.has_layer(layer.chain)
        rows = self.database.query("SELECT count(*) FROM layers WHERE state != 'committed'")
        assert rows == [(0,)]

    def is_empty(self) -> bool:
        return not list(self.content.iterate()) and not self.snapshots.layers() and not self.store.images()


def tar(files: Mapping[str, bytes]) -> bytes:
    """A plain tar of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def stream(data: bytes, piece: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]
        await asyncio.sleep(0)
