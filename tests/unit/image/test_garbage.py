"""What may be deleted while others begin and end."""

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.image.test_store import new_image

from rundlet.image import store as image_store
from rundlet.image.garbage import Garbage
from rundlet.image.leases import Leases
from rundlet.image.records import NewImage
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest
from rundlet.storage import snapshot
from rundlet.storage.content import ContentStore
from rundlet.storage.errors import StorageError
from rundlet.storage.snapshot import OverlaySnapshotter
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database


class Room:
    def __init__(self, root: Path) -> None:
        clock = SystemClock()
        (root / "snapshots").mkdir()
        self.database = Database.open(":memory:", [image_store.SCHEMA, snapshot.SCHEMA])
        self.content = ContentStore(str(root / "content"), clock)
        self.snapshots = OverlaySnapshotter(str(root / "snapshots"), self.database, clock)
        self.store = ImageStore(self.database, self.content, clock)
        self.leases = Leases()
        self.garbage = Garbage(self.database, self.content, self.snapshots, self.leases)
        self._root = root

    def directories(self) -> list[Path]:
        """Of layers."""
        return list((self._root / "snapshots").iterdir())

    def bring(self) -> NewImage:
        """All that an image is made of, but for its row."""
        data = b"a1"
        image = new_image("a1")
        layer = image.layers[0]
        assert self.content.write(data) == layer.blob.digest
        self.snapshots.commit_layer(self.snapshots.prepare_layer(None), layer.chain, layer.diff_id, layer.size)
        return image


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.database.close()


async def test_an_operation_that_ends_just_then_keeps_what_it_made(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the two meet: whatever is asked first, the operation ends right after that."""
    image = room.bring()
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    ended = threading.Event()

    def meanwhile() -> None:
        loop.call_soon_threadsafe(ending.set)
        assert ended.wait(20)

    may_go, query = room.leases.may_go, room.database.query
    first = threading.Event()

    def asked(answer: object) -> object:
        if threading.current_thread() is not threading.main_thread() and not first.is_set():
            first.set()
            meanwhile()
        return answer

    async def operation() -> None:
        async with room.leases.lease() as lease:
            await lease.hold(image.layers[0].chain, image.layers[0].blob.digest)
            begun.set()
            await ending.wait()
            room.store.put_now(image, [])
        ended.set()

    begun = asyncio.Event()
    task = asyncio.create_task(operation())
    await begun.wait()
    monkeypatch.setattr(room.leases, "may_go", lambda digest: asked(may_go(digest)))
    monkeypatch.setattr(room.database, "query", lambda *arguments: asked(query(*arguments)))
    await room.garbage.release([image.layers[0].chain], [image.layers[0].blob.digest])
    await task
    await room.garbage.release([], [])
    assert room.snapshots.has_layer(image.layers[0].chain)
    assert room.content.has(image.layers[0].blob.digest)


@pytest.mark.parametrize("times", [1, 2])
async def test_nobody_takes_what_a_cancelled_removal_is_still_deleting(
    room: Room, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The client goes away; then, perhaps, the engine ends."""
    blob = room.content.write(b"not needed")
    deleting, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    delete = room.content.delete

    def slow(digest: Digest) -> int:
        loop.call_soon_threadsafe(deleting.set)
        assert go.wait(20)
        return delete(digest)

    monkeypatch.setattr(room.content, "delete", slow)
    removal = asyncio.create_task(room.garbage.release([], [blob]))
    await deleting.wait()
    for _ in range(times):
        removal.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    async with room.leases.lease() as lease:
        holding = asyncio.create_task(lease.hold(blob))
        for _ in range(5):
            await asyncio.sleep(0)
        held = holding.done()
        go.set()
        await holding
        assert not held
        assert not room.content.has(blob)
    with pytest.raises(asyncio.CancelledError):
        await removal


async def test_nobody_waits_for_the_files_of_a_layer_to_go(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = room.bring().layers[0].chain
    clearing, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    clear = room.snapshots.clear

    def slow(name: str) -> None:
        loop.call_soon_threadsafe(clearing.set)
        assert go.wait(20)
        clear(name)

    monkeypatch.setattr(room.snapshots, "clear", slow)
    removal = asyncio.create_task(room.garbage.release([chain], []))
    try:
        async with asyncio.timeout(20):
            await clearing.wait()
            async with room.leases.lease() as lease:
                await lease.hold(chain)
        assert not room.snapshots.has_layer(chain)
    finally:
        go.set()
    assert await removal == [chain]
    assert room.directories() == []


async def test_the_files_of_a_layer_go_although_something_else_can_not(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = room.bring()

    def fail(_digest: Digest) -> int:
        raise StorageError("remove", "blob", OSError(errno.EIO, "broken"))

    monkeypatch.setattr(room.content, "delete", fail)
    with pytest.raises(StorageError):
        await room.garbage.release([image.layers[0].chain], [image.layers[0].blob.digest])
    assert room.directories() == []


async def test_what_a_container_stands_on_goes_after_it(room: Room) -> None:
    chain = room.bring().layers[0].chain
    room.snapshots.prepare_container("c" * 64, chain)
    assert await room.garbage.release([chain], []) == []
    await room.garbage.look_at_used()
    assert room.snapshots.has_layer(chain)
    room.snapshots.remove_container("c" * 64)
    await room.garbage.look_at_used()
    assert not room.snapshots.has_layer(chain)
    assert not room.garbage._in_use


async def test_what_a_container_stood_on_goes_in_the_next_round_when_this_one_fails(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = room.bring().layers[0].chain
    room.snapshots.prepare_container("c" * 64, chain)
    await room.garbage.release([chain], [])
    room.snapshots.remove_container("c" * 64)

    def refuse(_chain: Digest) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(room.snapshots, "drop_layer", refuse)
        with pytest.raises(OSError):
            await room.garbage.look_at_used()
    await room.garbage.look_at_used()
    assert not room.snapshots.has_layer(chain)


async def test_the_end_waits_for_what_is_being_deleted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = room.content.write(b"not needed")
    delete = room.content.delete
    go = threading.Event()

    def slow(digest: Digest) -> int:
        assert go.wait(20)
        return delete(digest)

    monkeypatch.setattr(room.content, "delete", slow)
    with pytest.raises(RuntimeError, match="not now"):
        async with room.leases.lease() as lease:
            await lease.hold(blob)
            raise RuntimeError("not now")
    asyncio.get_running_loop().call_later(0.01, go.set)
    await room.garbage.close()
    assert not room.content.has(blob)
