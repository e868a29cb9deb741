"""A client that stands still: its output is kept in order, and it is let go of where there is no more room."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rundlet.server import relief
from rundlet.server.relief import Relief, Spool

MARK = 1000


class FakeClient:
    """Takes nothing by itself; ``taken`` is what :meth:`take` took."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.taken = b""
        self.relief: Relief | None = None
        self.source: FakeSource | None = None

    def writable(self) -> bool:
        return len(self.buffer) < MARK

    def write(self, data: bytes) -> None:
        self.buffer += data
        if not self.writable() and self.relief is not None:
            self.relief.full()

    def unsent(self) -> int:
        return len(self.buffer)

    def drop(self) -> None:
        self.gone.set_result(None)

    def take(self, count: int) -> None:
        self.taken += self.buffer[:count]
        self.buffer = self.buffer[count:]
        if self.writable() and self.relief is not None and self.source is not None:
            self.relief.changed()
            if not self.relief.active:
                self.source.go_on_reading()


class FakeSource:
    """Says ``pieces`` as long as it is read."""

    def __init__(self, client: FakeClient, pieces: list[bytes]) -> None:
        self._client = client
        self._pieces = pieces
        self._reading = False
        self._task = asyncio.get_running_loop().create_task(self._say())

    async def _say(self) -> None:
        assert self._client.relief is not None
        while self._pieces:
            if not self._reading:
                await asyncio.sleep(0.001)
                continue
            await asyncio.sleep(0)
            data = self._pieces.pop(0)
            if self._client.relief.active:
                self._client.relief.receive(data)
            else:
                self._client.write(data)
                self._reading = self._reading and self._client.writable()

    def stop_reading(self) -> None:
        self._reading = False

    def go_on_reading(self) -> None:
        self._reading = True

    def at_end(self) -> bool:
        return not self._pieces


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


def pair(pieces: list[bytes], directory: Path) -> tuple[FakeClient, FakeSource]:
    client = FakeClient()
    source = FakeSource(client, pieces)
    client.source = source
    client.relief = Relief(client, source, str(directory))
    source.go_on_reading()
    return client, source


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relief, "STANDSTILL", 0.01)


async def test_all_is_read_from_the_source_and_arrives_in_order(tmp_path: Path) -> None:
    said = [bytes([number % 256]) * 700 for number in range(400)]
    whole = b"".join(said)
    client, source = pair(said, tmp_path)
    await until(source.at_end)
    assert client.taken == b""
    while len(client.taken) < len(whole):
        client.take(64 * 1024)
        await asyncio.sleep(0.001)
    assert client.taken == whole
    assert client.relief is not None
    await until(lambda: client.relief is not None and not client.relief.active)
    assert list(tmp_path.iterdir()) == []


async def test_standing_still_again_and_again(tmp_path: Path) -> None:
    said = [os.urandom(400) for _ in range(300)]
    whole = b"".join(said)
    client, source = pair(said, tmp_path)
    turn = 0
    async with asyncio.timeout(120):
        while len(client.taken) < len(whole):
            turn += 1
            client.take(3000 if turn % 5 else 0)
            await asyncio.sleep(0.03 if turn % 5 == 0 else 0.001)
    assert client.taken == whole
    assert source.at_end()


async def test_a_client_that_takes_nothing_of_a_full_file_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relief, "LIMIT", 10_000)
    monkeypatch.setattr(relief, "DEADLINE", 0.1)
    client, source = pair([b"x" * 700] * 400, tmp_path)
    await until(client.gone.done)
    await until(source.at_end)  # nobody stops the container any more
    assert "was let go of" in caplog.text


async def test_a_client_that_takes_a_little_of_a_full_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relief, "LIMIT", 10_000)
    said = [bytes([number % 256]) * 700 for number in range(100)]
    whole = b"".join(said)
    client, _ = pair(said, tmp_path)
    async with asyncio.timeout(120):
        while len(client.taken) < len(whole):
            client.take(500)
            await asyncio.sleep(0.005)
    assert client.taken == whole
    assert not client.gone.done()


async def test_no_room_on_the_disk_is_as_a_full_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relief, "DEADLINE", 0.1)
    client, _ = pair([b"x" * 700] * 40, tmp_path / "missing")
    await until(client.gone.done)
    assert caplog.text.count("can't be kept: No such file or directory") == 1


def test_a_closed_spool_takes_and_gives_nothing(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1000)
    assert spool.put(b"one")
    spool.close()
    assert not spool.put(b"two")
    assert spool.take() == b""
