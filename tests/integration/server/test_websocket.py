"""Attach over a WebSocket."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.integration.server.conftest import Server

QUERY = "stream=1&stdin=1&stdout=1&stderr=1"


@contextlib.asynccontextmanager
async def attached(
    server: Server, name: str, query: str = QUERY, version: str = "/v1.51"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    connector = aiohttp.UnixConnector(path=server.path)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"http://engine{version}/containers/{name}/attach/ws?{query}") as connection,
    ):
        yield connection


async def start(server: Server, name: str) -> None:
    assert (await server.request("POST", f"/containers/{name}/start")).status == 204


async def test_both_ways_without_frames(server: Server) -> None:
    await server.container("cat", "cat", start=False)
    async with attached(server, "cat") as connection:
        await start(server, "cat")
        await connection.send_bytes(b"binary")
        assert (await connection.receive(5)).data == b"binary"
        await connection.send_str("as text")
        assert (await connection.receive(5)).data == b"as text"


@pytest.mark.parametrize(
    ("version", "kind"), [("/v1.27", aiohttp.WSMsgType.TEXT), ("/v1.28", aiohttp.WSMsgType.BINARY)]
)
async def test_the_kind_of_messages(server: Server, version: str, kind: aiohttp.WSMsgType) -> None:
    await server.container("cat", "cat", start=False)
    async with attached(server, "cat", version=version) as connection:
        await start(server, "cat")
        await connection.send_str("x")
        assert (await connection.receive(5)).type is kind


async def test_the_end_of_the_container_closes_it(server: Server) -> None:
    await server.container("echo", "echo", "last words", start=False)
    async with attached(server, "echo") as connection:
        await start(server, "echo")
        assert (await connection.receive(5)).data == b"last words\n"
        assert (await connection.receive(5)).type is aiohttp.WSMsgType.CLOSE


async def test_a_client_that_goes_leaves_the_container_alone(server: Server) -> None:
    await server.container("sleeper", "sleep", start=False)
    async with attached(server, "sleeper") as connection:
        await start(server, "sleeper")
        await connection.send_bytes(b"never read")
    assert (await server.request("GET", "/containers/sleeper/json")).json["State"]["Running"] is True


async def test_what_is_no_websocket_is_refused(server: Server) -> None:
    await server.container("cat", "cat")
    answer = await server.request("GET", f"/containers/cat/attach/ws?{QUERY}")
    assert (answer.status, "WebSocket" in answer.json["message"]) == (400, True)
    assert (await server.request("GET", f"/containers/nosuch/attach/ws?{QUERY}")).status == 404


async def test_an_unknown_container_is_told_before_the_handshake(server: Server) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        async with attached(server, "nosuch"):
            pass
    assert raised.value.status == 404
