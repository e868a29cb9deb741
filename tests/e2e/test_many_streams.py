"""A hundred clients that follow logs and events at once: all get everything, nobody waits, memory stays."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from tests.engines import Engine

LINES = 5000
FOLLOWERS = 50
LIMIT = 40_000
"""KiB that the engine may need for a hundred streams, their buffers included."""

pytestmark = pytest.mark.slow


def memory(pid: int) -> int:
    """Resident, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def payloads(data: bytes) -> list[bytes]:
    """The lines of chunks of framed output."""
    body, frames = bytearray(), []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body += data[:length]
        data = data[length + 2 :]
    position = 0
    while position + 8 <= len(body):
        length = int.from_bytes(body[position + 4 : position + 8], "big")
        frames.append(bytes(body[position + 8 : position + 8 + length]))
        position += 8 + length
    return b"".join(frames).splitlines(keepends=True)


async def follow(engine: Engine, path: str, until: bytes, opened: asyncio.Semaphore) -> bytes:
    """What comes until the text ``until`` has come; ``opened`` is released when the answer has begun."""
    reader, writer = await asyncio.open_unix_connection(engine.socket)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: engine\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        opened.release()
        received = bytearray()
        while until not in received[-65536 - len(until) :]:
            piece = await reader.read(65536)
            assert piece, "the stream ended early"
            received += piece
        return bytes(received)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_hundred_streams(engine: Engine) -> None:
    script = f"while [ ! -e /go ]; do sleep 0.1; done; seq 1 {LINES}; echo the end; sleep 10000"
    command = ("run", "-d", "--name", "talker", "busybox", "sh", "-c", script)
    await asyncio.to_thread(engine.ok, *command)
    before = memory(engine.pid)
    opened = asyncio.Semaphore(0)
    logs = "/v1.41/containers/talker/logs?follow=1&stdout=1"
    async with asyncio.timeout(100):
        tasks = [asyncio.create_task(follow(engine, logs, b"the end", opened)) for _ in range(FOLLOWERS)]
        marker = b'"name":"marker"'
        tasks += [asyncio.create_task(follow(engine, "/events", marker, opened)) for _ in range(FOLLOWERS)]
        for _ in tasks:
            await opened.acquire()
        # Those that only listen hold up nobody.
        assert (await asyncio.to_thread(engine.ok, "ps", "--format", "{{.Names}}")) == "talker"
        await asyncio.to_thread(engine.ok, "exec", "talker", "touch", "/go")
        received = await asyncio.gather(*tasks[:FOLLOWERS])
        await asyncio.to_thread(engine.ok, "create", "--name", "marker", "busybox", "true")
        events = await asyncio.gather(*tasks[FOLLOWERS:])
    wanted = [f"{number}\n".encode() for number in range(1, LINES + 1)]
    for data in received:
        assert [line for line in payloads(data) if line != b"the end\n"] == wanted
    assert all(marker in data for data in events)
    assert memory(engine.pid) - before < LIMIT
