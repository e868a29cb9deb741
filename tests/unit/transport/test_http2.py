"""HTTP/2 and gRPC, both sides against each other over a pair of sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from rundlet.errors import NotFoundError, RundletError
from rundlet.transport.http2.connection import Connection, StreamEndedError
from rundlet.transport.http2.grpc import MESSAGE_LIMIT, CallError, Channel, Code, Method, Server, ServerCall


def describe(error: RundletError) -> CallError:
    return CallError(Code.NOT_FOUND, f"described: {error}", b"more")


@asynccontextmanager
async def joined(methods: Mapping[str, Method]) -> AsyncIterator[Channel]:
    """A client of a server that has ``methods``."""
    ours, theirs = socket.socketpair()
    server, client = Connection(theirs, Server(methods, describe).accept), Connection(ours)
    tasks = [asyncio.create_task(server.run()), asyncio.create_task(client.run())]
    try:
        yield Channel(client)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def echo(call: ServerCall) -> None:
    while (message := await call.messages.next()) is not None:
        await call.send(message)


async def test_calls() -> None:
    async with joined({"/s/Echo": echo}) as channel:
        assert await channel.ask("/s/Echo", b"hello") == b"hello"
        assert await channel.ask("/s/Echo", b"") == b""
        large = bytes(range(256)) * 20_000
        assert await channel.ask("/s/Echo", large) == large


async def test_many_calls_at_once_and_one_that_nobody_reads() -> None:
    """More than a window is sent to a call that waits: the others go on."""

    async def wait(call: ServerCall) -> None:
        await asyncio.Event().wait()

    async with joined({"/s/Echo": echo, "/s/Wait": wait}) as channel, channel.call("/s/Wait") as stuck:
        sending = asyncio.create_task(stuck.send(bytes(4 << 20)))
        answers = await asyncio.gather(*(channel.ask("/s/Echo", bytes([n]) * 100_000) for n in range(30)))
        assert [answer[0] for answer in answers] == list(range(30))
        assert not sending.done()
        sending.cancel()
        await asyncio.wait([sending])


async def test_errors() -> None:
    async def missing(call: ServerCall) -> None:
        raise NotFoundError("no such thing: 100 % gone\n")

    async def late(call: ServerCall) -> None:
        await call.send(b"one")
        raise CallError(Code.INTERNAL, "then not")

    async with joined({"/s/Missing": missing, "/s/Late": late}) as channel:
        with pytest.raises(CallError) as caught:
            await channel.ask("/s/Missing", b"")
        assert (caught.value.code, str(caught.value)) == (Code.NOT_FOUND, "described: no such thing: 100 % gone\n")
        assert caught.value.details == b"more"
        with pytest.raises(CallError, match="the method /s/None is not supported by Rundlet"):
            await channel.ask("/s/None", b"")
        async with channel.call("/s/Late") as call:
            assert await call.next() == b"one"
            with pytest.raises(CallError, match="then not"):
                await call.next()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack(">BI", 1, 3) + b"abc", "compressed"),
        (struct.pack(">BI", 0, MESSAGE_LIMIT + 1), "too large"),
        (struct.pack(">BI", 0, 9) + b"abc", "in the middle of a message"),
        (b"\0\0", "in the middle of a message"),
    ],
)
async def test_messages_that_are_none(data: bytes, words: str) -> None:
    async with joined({"/s/Echo": echo}) as channel, channel.call("/s/Echo") as call:
        await call._stream.send(data, end=True)
        with pytest.raises(CallError, match=words):
            await call.next()


async def test_who_leaves_ends_the_other_side_s_work() -> None:
    ended = asyncio.Event()

    async def wait(call: ServerCall) -> None:
        try:
            await call.send(b"begun")
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with joined({"/s/Wait": wait}) as channel:
        async with channel.call("/s/Wait") as call:
            assert await call.next() == b"begun"
        await ended.wait()


async def test_a_connection_that_is_lost_ends_its_calls() -> None:
    ours, theirs = socket.socketpair()
    client = Connection(ours)
    running = asyncio.create_task(client.run())
    asking = asyncio.create_task(Channel(client).ask("/s/Echo", b"x"))
    theirs.setblocking(False)
    await asyncio.get_running_loop().sock_recv(theirs, 1)
    theirs.close()
    with pytest.raises(StreamEndedError):
        await asking
    await running
    with pytest.raises(StreamEndedError, match="closed"):
        await Channel(client).ask("/s/Echo", b"x")


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, PREFACE + b"\xff" * 99, PREFACE + bytes(99), PREFACE[:9], b""]
)
async def test_nonsense_ends_the_connection(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        running = asyncio.create_task(Connection(theirs, Server({}, describe).accept).run())
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(ours, data)
        ours.shutdown(socket.SHUT_WR)
        await running
