"""Attach and exec: connections that stop being HTTP."""

import asyncio

import pytest
from tests.integration.server.conftest import Connection, Server

from rundlet.api import stdcopy

ATTACH = "stream=1&stdin=1&stdout=1&stderr=1"


async def attached(server: Server, name: str, query: str = ATTACH, version: str = "") -> Connection:
    """Attached, the headers of the answer read."""
    connection = await server.hijack(f"{version}/containers/{name}/attach?{query}")
    status, _ = await connection.head()
    assert status == 101
    return connection


async def start(server: Server, name: str) -> None:
    assert (await server.request("POST", f"/containers/{name}/start")).status == 204


@pytest.mark.parametrize(
    ("version", "tty", "content_type"),
    [("1.41", False, "raw"), ("1.42", False, "multiplexed"), ("1.51", True, "raw")],
)
async def test_upgrade(server: Server, version: str, tty: bool, content_type: str) -> None:
    await server.container("up", "cat", tty=tty, start=False)
    connection = await server.hijack(f"/v{version}/containers/up/attach?{ATTACH}")
    status, headers = await connection.head()
    assert status == 101
    assert headers["content-type"] == f"application/vnd.docker.{content_type}-stream"
    assert headers["connection"] == "Upgrade"
    assert headers["upgrade"] == "tcp"


async def test_without_upgrade(server: Server) -> None:
    await server.container("plain", "echo", "hi", start=False)
    connection = await server.hijack(f"/containers/plain/attach?{ATTACH}", upgrade=False)
    status, headers = await connection.head()
    assert (status, headers["content-type"]) == (200, "application/vnd.docker.raw-stream")
    assert "transfer-encoding" not in headers
    await start(server, "plain")
    assert await connection.rest() == stdcopy.frame(1, b"hi\n")


async def test_input_goes_in_and_its_end_is_passed_on(server: Server) -> None:
    await server.container("cat", "cat", start=False)
    connection = await attached(server, "cat")
    await start(server, "cat")
    connection.writer.write(b"hello")
    assert await connection.reader.readexactly(13) == stdcopy.frame(1, b"hello")
    connection.writer.write_eof()
    assert await connection.rest() == stdcopy.frame(2, b"end of input\n")


async def test_input_of_a_client_that_did_not_ask_for_stdin_is_discarded(server: Server) -> None:
    await server.container("deaf", "cat", start=False)
    connection = await attached(server, "deaf", "stream=1&stdout=1")
    await start(server, "deaf")
    connection.writer.write(b"not for you")
    connection.writer.write_eof()
    await asyncio.sleep(0.1)
    container = server.engine.containers.find("deaf")
    assert (container.status, container.stdio.log) == ("running", [])


async def test_the_log_comes_before_the_live_output(server: Server) -> None:
    await server.container("both", "cat", start=False)
    server.engine.containers.find("both").stdio.log.append((1, b"before\n"))
    connection = await attached(server, "both", ATTACH + "&logs=1")
    await start(server, "both")
    connection.writer.write(b"after\n")
    connection.writer.write_eof()
    assert (await connection.rest()).startswith(stdcopy.frame(1, b"before\n") + stdcopy.frame(1, b"after\n"))


async def test_logs_without_stream_end(server: Server) -> None:
    await server.container("past", "echo", "done")
    connection = await attached(server, "past", "logs=1&stdout=1")
    assert await connection.rest() == stdcopy.frame(1, b"done\n")


async def test_the_connection_ends_with_the_container(server: Server) -> None:
    await server.container("ends", "echo", "bye", start=False)
    connection = await attached(server, "ends")
    await start(server, "ends")
    assert await connection.rest() == stdcopy.frame(1, b"bye\n")


async def test_unread_input_does_not_become_a_reset(server: Server) -> None:
    await server.container("ignores", "exit", "0", start=False)
    connection = await attached(server, "ignores")
    connection.writer.write(b"x" * 100_000)
    await start(server, "ignores")
    assert await connection.rest() == b""  # an end, not ConnectionResetError


@pytest.mark.parametrize("pieces", [[b"ls\x10\x11"], [b"ls", b"\x10", b"\x11"]])
async def test_detach_keys(server: Server, pieces: list[bytes]) -> None:
    await server.container("leave", "cat", tty=True, start=False)
    connection = await attached(server, "leave")
    await start(server, "leave")
    for piece in pieces:
        connection.writer.write(piece)
        await asyncio.sleep(0.02)
    await connection.rest()
    container = server.engine.containers.find("leave")
    assert container.detached == 1
    await server.until(lambda: container.stdio.output() == b"ls")


async def test_own_detach_keys(server: Server) -> None:
    await server.container("keys", "cat", tty=True, start=False)
    connection = await attached(server, "keys", ATTACH + "&detachKeys=ctrl-a,x")
    await start(server, "keys")
    connection.writer.write(b"\x10\x11a\x01x")
    await connection.rest()
    container = server.engine.containers.find("keys")
    assert container.detached == 1
    await server.until(lambda: container.stdio.output() == b"\x10\x11a")


async def test_detach_keys_are_nothing_special_without_a_terminal(server: Server) -> None:
    await server.container("binary", "cat", start=False)
    connection = await attached(server, "binary")
    await start(server, "binary")
    connection.writer.write(b"\x10\x11")
    assert await connection.reader.readexactly(10) == stdcopy.frame(1, b"\x10\x11")


async def test_a_client_that_vanishes_leaves_the_container_running(server: Server) -> None:
    await server.container("stays", "cat", tty=True, start=False)
    connection = await attached(server, "stays", "stream=1&stdout=1")
    await start(server, "stays")
    await connection.close()
    container = server.engine.containers.find("stays")
    reader = container.stdio.reader
    assert reader is not None
    await server.until(reader.at_eof)
    assert (await server.request("GET", "/_ping")).status == 200


async def test_a_slow_client_slows_the_container_and_fills_no_memory(server: Server) -> None:
    size = 32 * 1024 * 1024
    await server.container("flood", "flood", str(size), tty=True, start=False)
    connection = await attached(server, "flood", "stream=1&stdout=1")
    await start(server, "flood")
    await asyncio.sleep(0.2)
    container = server.engine.containers.find("flood")
    written = sum(len(data) for _, data in container.stdio.log)
    assert written < 8 * 1024 * 1024
    assert len(await connection.rest()) == size


async def test_a_flood_arrives_whole(server: Server) -> None:
    size = 64 * 1024 * 1024
    await server.container("fast", "flood", str(size), tty=True, start=False)
    connection = await attached(server, "fast", "stream=1&stdout=1")
    await start(server, "fast")
    got = 0
    while data := await connection.reader.read(1 << 20):
        got += len(data)
    assert got == size


async def new_exec(server: Server, name: str, *command: str, **extra: object) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStdin": True, **extra}
    return str((await server.request("POST", f"/containers/{name}/exec", body)).json["Id"])


async def test_exec(server: Server) -> None:
    await server.container("host", "sleep")
    exec_id = await new_exec(server, "host", "cat")
    connection = await server.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})
    assert (await connection.head())[0] == 101
    connection.writer.write(b"typed")
    connection.writer.write_eof()
    assert await connection.rest() == stdcopy.frame(1, b"typed") + stdcopy.frame(2, b"end of input\n")
    inspected = (await server.request("GET", f"/exec/{exec_id}/json")).json
    assert (inspected["Running"], inspected["ExitCode"]) == (False, 0)
    assert (await server.request("POST", f"/exec/{exec_id}/resize?h=1&w=2")).status == 200


@pytest.mark.parametrize("tty", [False, True])
async def test_the_start_of_an_exec_decides_about_frames(server: Server, tty: bool) -> None:
    """docker-py starts every exec without a terminal, and expects frames of those that were created with one."""
    await server.container("host", "sleep")
    exec_id = await new_exec(server, "host", "cat", Tty=tty)
    connection = await server.hijack(f"/exec/{exec_id}/start", {"Tty": not tty})
    await connection.head()
    connection.writer.write(b"typed")
    connection.writer.write_eof()
    got = await connection.rest()
    if tty:
        assert b"".join(payload for _, payload in stdcopy.Splitter().feed(got)).startswith(b"typed")
    else:
        assert got == b"typedend of input\n"


async def test_exec_detached(server: Server) -> None:
    await server.container("host", "sleep")
    exec_id = await new_exec(server, "host", "exit", "5")
    assert (await server.request("POST", f"/exec/{exec_id}/start", {"Detach": True})).status == 200
    await server.until(lambda: server.engine.exec.find(exec_id).exit_code == 5)


@pytest.mark.parametrize("tty", [False, True])
async def test_exec_that_cannot_be_started_says_so_on_the_stream(server: Server, tty: bool) -> None:
    await server.container("host", "sleep")
    exec_id = await new_exec(server, "host", "missing", Tty=tty)
    connection = await server.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty})
    assert (await connection.head())[0] == 101
    message = b'OCI runtime exec failed: exec: "missing": executable file not found in $PATH\r\n'
    assert await connection.rest() == (message if tty else stdcopy.frame(1, message))


async def test_exec_detach_keys_are_those_it_was_created_with(server: Server) -> None:
    await server.container("host", "sleep")
    exec_id = await new_exec(server, "host", "cat", Tty=True, DetachKeys="ctrl-x")
    connection = await server.hijack(f"/exec/{exec_id}/start", {"Tty": True})
    await connection.head()
    connection.writer.write(b"a\x18b")
    await connection.rest()
    assert server.engine.exec.detached == 1


async def test_exec_in_a_stopped_container(server: Server) -> None:
    await server.container("still", "sleep", start=False)
    answer = await server.request("POST", "/containers/still/exec", {"Cmd": ["x"]})
    assert answer.status == 409
    assert answer.message.endswith("is not running")
