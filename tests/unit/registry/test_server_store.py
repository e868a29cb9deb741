"""What our own registry sweeps away while others push."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rundlet.oci import mediatype
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.registry.server import index as server_index
from rundlet.registry.server.blobs import BlobFiles
from rundlet.registry.server.errors import BlobUnknownError
from rundlet.registry.server.index import Index
from rundlet.registry.server.store import UNREFERENCED, Store
from rundlet.util.database import Database

CONFIG = ImageConfig(architecture="amd64", os="linux").encode()


class Clock:
    def __init__(self) -> None:
        self.now = 10**18

    def now_ns(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    index = Index(Database.open(":memory:", [server_index.SCHEMA]))
    yield Store(index, BlobFiles(str(tmp_path)), clock)
    index.close()


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def forgotten(store: Store, clock: Clock, data: bytes) -> Digest:
    """A blob that was pushed long ago, and that no manifest names."""
    upload = await store.uploads.start("app", "sha256")
    await store.uploads.add(upload, _chunks(data))
    await store.commit(upload, Digest.of(data))
    clock.now += (UNREFERENCED + 1) * 10**9
    store._pending.clear()
    return Digest.of(data)


async def test_blobs_whose_manifest_never_came_go(store: Store, clock: Clock) -> None:
    digest = await forgotten(store, clock, b"blob")
    await store.sweep()
    with pytest.raises(BlobUnknownError):
        store.blob_size("app", digest)
    assert store.files.size(digest) is None


@pytest.mark.parametrize("by", ["promise", "manifest"])
async def test_what_somebody_counts_on_by_now_stays(
    by: str, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await forgotten(store, clock, CONFIG)
    loop = asyncio.get_running_loop()
    unreferenced = store.index.unreferenced
    config = Descriptor(mediatype.OCI_CONFIG, digest, len(CONFIG))
    manifest = Manifest(schema_version=2, media_type=mediatype.OCI_MANIFEST, config=config, layers=())

    async def count_on_it() -> None:
        if by == "promise":
            assert await store.promised("app", digest) == len(CONFIG)
        else:
            await store.put_manifest("app", manifest.encode(), mediatype.OCI_MANIFEST, ["1"])

    def meanwhile(before: int) -> list[tuple[str, Digest]]:
        found = unreferenced(before)
        asyncio.run_coroutine_threadsafe(count_on_it(), loop).result(20)
        return found

    monkeypatch.setattr(store.index, "unreferenced", meanwhile)
    await store.sweep()
    assert store.blob_size("app", digest) == len(CONFIG)
    assert store.files.read(digest) == CONFIG


async def test_nobody_is_promised_what_is_just_being_removed(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await forgotten(store, clock, b"blob")
    loop = asyncio.get_running_loop()
    unlink = store.index.unlink_blobs
    asked: list[asyncio.Task[int]] = []

    def meanwhile(repository: str, digests: list[Digest]) -> None:
        begun = threading.Event()

        def ask() -> None:
            asked.append(asyncio.ensure_future(store.promised("app", digest)))
            loop.call_soon(begun.set)

        loop.call_soon_threadsafe(ask)
        assert begun.wait(20)
        unlink(repository, digests)

    monkeypatch.setattr(store.index, "unlink_blobs", meanwhile)
    await store.sweep()
    with pytest.raises(BlobUnknownError):
        await asked[0]


async def test_an_upload_that_is_just_begun_is_no_leftover(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    begun, go = asyncio.Event(), threading.Event()
    add = store.index.add_upload

    def slowly(identifier: str, repository: str) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(20)
        add(identifier, repository)

    with monkeypatch.context() as patch:
        patch.setattr(store.index, "add_upload", slowly)
        starting = asyncio.create_task(store.uploads.start("app", "sha256"))
        await begun.wait()
        await store.uploads.expire()
        go.set()
        upload = await starting
    await store.uploads.expire()
    await store.uploads.add(upload, _chunks(b"blob"))
    await store.commit(upload, Digest.of(b"blob"))
    assert store.blob_size("app", Digest.of(b"blob")) == 4


async def test_an_upload_that_begins_while_leftovers_are_listed_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    listed = "rundlet.registry.server.uploads.os.listdir"
    begun = []
    with monkeypatch.context() as patch:
        real = os.listdir

        def late(path: str) -> list[str]:
            begun.append(asyncio.run_coroutine_threadsafe(store.uploads.start("app", "sha256"), loop).result(20))
            return list(real(path))

        patch.setattr(listed, late)
        await store.uploads.expire()
    await store.uploads.add(begun[0], _chunks(b"blob"))
    await store.commit(begun[0], Digest.of(b"blob"))
    assert store.blob_size("app", Digest.of(b"blob")) == 4
