"""Clients that close their sending side and wait for the answer; and those that close altogether."""

import asyncio
import re
import socket

import pytest
from tests.integration.server.conftest import Connection, Server

from rundlet.api import stdcopy

EXEC = {"AttachStdout": True, "AttachStdin": True, "Cmd": ["cat"]}


async def _whole(connection: Connection) -> bytes:
    connection.writer.write_eof()
    return await connection.rest()


async def test_a_request_is_answered(server: Server) -> None:
    connection = await server.connect()
    await connection.send("GET", "/version")
    assert b'"ApiVersion":"1.51"' in await _whole(connection)


async def test_so_is_one_with_a_body(server: Server) -> None:
    connection = await server.connect()
    await connection.send("POST", "/containers/create?name=web", {"Image": "debian:12", "Cmd": ["true"]})
    assert (await _whole(connection)).startswith(b"HTTP/1.1 201 Created")


async def test_each_of_several_is_answered_in_order(server: Server) -> None:
    connection = await server.connect()
    for path in ("/_ping", "/nonsense", "/_ping"):
        await connection.send("GET", path)
    answers = re.findall(rb"HTTP/1\.1 (\d+)", await _whole(connection))
    assert answers == [b"200", b"404", b"200"]


async def test_a_request_that_waits_is_answered_when_it_can_be(server: Server) -> None:
    await server.container("web", "sleep")
    connection = await server.connect()
    await connection.send("POST", "/containers/web/wait")
    connection.writer.write_eof()
    assert (await connection.head())[0] == 200
    await asyncio.sleep(1.5)  # longer than between two looks at the connection
    assert (await server.request("POST", "/containers/web/stop")).status == 204
    assert b'"StatusCode":' in await connection.rest()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /version HTTP/1.1\r\nHost: d",
        b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        b"",
    ],
)
async def test_half_a_request_ends_the_connection(server: Server, sent: bytes) -> None:
    connection = await server.connect()
    connection.writer.write(sent)
    assert b"HTTP/1.1 2" not in await _whole(connection)
    assert (await server.request("GET", "/containers/json?all=1")).json == []


async def test_a_stream_ends_when_the_client_closes_altogether_afterwards(server: Server) -> None:
    connection = await server.connect()
    await connection.send("GET", "/events")
    connection.writer.write_eof()
    assert (await connection.head())[0] == 200
    await server.until(lambda: server.engine.system.subscribers == 1)
    await connection.close()
    await server.until(lambda: server.engine.system.subscribers == 0)


async def test_the_end_of_input_before_an_upgrade_reaches_the_program(server: Server) -> None:
    await server.container("web", "sleep")
    made = await server.request("POST", "/containers/web/exec", EXEC)
    connection = await server.hijack(f"/exec/{made.json['Id']}/start", {})
    connection.writer.write_eof()
    assert (await connection.head())[0] == 101
    assert await connection.rest() == stdcopy.frame(2, b"end of input\n")


async def test_over_tcp_a_stream_ends_after_a_while(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the client still reads is not to be seen there."""
    monkeypatch.setattr("rundlet.server.connection._PATIENCE", 0.0)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.api.listen(sock)
    connection = Connection(*await asyncio.open_connection(*sock.getsockname()))
    server.open.append(connection)
    await connection.send("GET", "/events")
    assert (await connection.head())[0] == 200
    await server.until(lambda: server.engine.system.subscribers == 1)
    connection.writer.write_eof()
    await server.until(lambda: server.engine.system.subscribers == 0)
