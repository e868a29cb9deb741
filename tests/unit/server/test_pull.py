"""A consumer that stands still: the other end of the stream can say everything all the same."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rundlet.server import relief
from rundlet.server.pull import Pull

SIZE = 6 * 1024 * 1024


@contextlib.asynccontextmanager
async def streams() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The end that is read, and the one that is written to."""
    ours, theirs = socket.socketpair()
    reader, closer = await asyncio.open_connection(sock=ours)
    _, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield reader, writer
    finally:
        for one in (writer, closer):
            one.close()
            with contextlib.suppress(OSError):
                await one.wait_closed()


async def say(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(0, len(data), 65536):
        writer.write(data[at : at + 65536])
        await writer.drain()
    writer.write_eof()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relief, "STANDSTILL", 0.01)


async def test_everything_is_said_before_it_is_taken(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    async with (
        asyncio.timeout(120),
        streams() as (reader, writer),
        contextlib.aclosing(Pull(reader, str(tmp_path)).chunks()) as chunks,
    ):
        saying = asyncio.create_task(say(writer, data))
        taken = [await anext(chunks)]
        await saying
        taken += [chunk async for chunk in chunks]
    assert b"".join(taken) == data
    assert list(tmp_path.iterdir()) == []


async def test_without_a_spool_the_source_waits() -> None:
    data = os.urandom(SIZE)
    async with (
        asyncio.timeout(120),
        streams() as (reader, writer),
        contextlib.aclosing(Pull(reader, "").chunks()) as chunks,
    ):
        saying = asyncio.create_task(say(writer, data))
        taken = [await anext(chunks)]
        await asyncio.sleep(0.1)
        assert not saying.done()
        taken += [chunk async for chunk in chunks]
        await saying
    assert b"".join(taken) == data


async def test_a_consumer_that_takes_nothing_of_a_full_file_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relief, "LIMIT", 1024 * 1024)
    monkeypatch.setattr(relief, "DEADLINE", 0.1)
    async with asyncio.timeout(120), streams() as (reader, writer):
        pull = Pull(reader, str(tmp_path))
        async with contextlib.aclosing(pull.chunks()) as chunks:
            saying = asyncio.create_task(say(writer, os.urandom(SIZE)))
            await anext(chunks)
            await asyncio.wait((pull.gone,))
            await saying  # nobody stops it any more
            assert [chunk async for chunk in chunks] == []


async def test_a_consumer_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(120), streams() as (reader, writer):
        saying = asyncio.create_task(say(writer, os.urandom(SIZE)))
        async with contextlib.aclosing(Pull(reader, str(tmp_path)).chunks()) as chunks:
            await anext(chunks)
            await saying
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
