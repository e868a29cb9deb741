"""A client's file, read by the engine from the descriptor that came over the socket."""

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.server.conftest import Answer, Connection, Server
from tests.integration.server.test_tcp import TCP, tcp

from rundlet.client import http
from rundlet.client.endpoint import Endpoint
from rundlet.client.lending import WORTH, lend
from rundlet.client.session import Session
from rundlet.errors import InvalidParameterError
from rundlet.server import lent

__all__ = ["tcp"]

PATH = "/rundlet/images/load"
OFFER = {"Connection": "Upgrade", "Upgrade": "descriptor"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar"
    path.write_bytes(b"before" + bytes(WORTH))
    return path


async def offered(server: Server) -> tuple[Connection, socket.socket]:
    """A connection whose offer was accepted, and the socket of it."""
    connection = await server.connect()
    await connection.send("POST", PATH, headers=OFFER)
    status, headers = await connection.head()
    assert (status, headers["upgrade"], headers["connection"]) == (101, "descriptor", "Upgrade")
    return connection, socket.socket(fileno=os.dup(connection.writer.get_extra_info("socket").fileno()))


async def given(server: Server, fd: int) -> Answer:
    """The answer after ``fd`` was handed over; the connection has ended."""
    connection, line = await offered(server)
    with line:
        socket.send_fds(line, [b"\0"], [fd])
    answer = await connection.answer()
    assert await connection.rest() == b""
    return answer


def descriptors() -> set[str]:
    """What this process, server included, has open of the test's files."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add(os.readlink(f"/proc/self/fd/{entry}"))
    return found


async def test_the_engine_reads_the_file_from_where_it_stands(server: Server, archive: Path) -> None:
    with archive.open("rb", buffering=0) as file:
        file.seek(len(b"before"))
        answer = await given(server, file.fileno())
    assert (answer.status, answer.json) == (200, {"stream": "Loaded image: debian:12\n"})
    assert server.engine.images.lent == bytes(WORTH)
    assert str(archive) not in descriptors()


async def test_what_is_no_regular_file_is_not_read(server: Server) -> None:
    read, write = os.pipe()
    try:
        answer = await given(server, read)
    finally:
        os.close(read)
        os.close(write)
    assert (answer.status, answer.message) == (421, "only a regular file can be read by the engine")


async def test_nor_is_what_others_answer_for(server: Server, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rundlet.linux.libc.filesystem_type", lambda _fd: 0x6969)
    with archive.open("rb") as file:
        answer = await given(server, file.fileno())
    assert answer.status == 421
    assert str(archive) not in descriptors()


class Silent:
    """A file system that says what it is only when it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let = threading.Event()

    def say(self, _fd: int) -> int:
        self.asked.set()
        return 0 if self.let.wait(20) else 0x6969


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    found = Silent()
    monkeypatch.setattr("rundlet.linux.libc.filesystem_type", found.say)
    yield found
    found.let.set()


async def test_nobody_else_waits_while_a_file_system_does_not_answer(
    server: Server, archive: Path, silent: Silent
) -> None:
    with archive.open("rb") as file:
        answer = asyncio.create_task(given(server, file.fileno()))
        await server.until(silent.asked.is_set)
        assert (await server.request("GET", "/_ping")).body == b"OK"
        silent.let.set()
        assert (await answer).status == 200


async def test_a_file_system_that_never_answers(
    server: Server, archive: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive.open("rb") as file:
        connection, line = await offered(server)
        monkeypatch.setattr(lent, "_PATIENCE", 0.05)
        with line:
            socket.send_fds(line, [b"\0"], [file.fileno()])
        assert (await connection.answer()).message == "the file system does not answer"
    assert str(archive) in descriptors()
    silent.let.set()
    await server.until(lambda: str(archive) not in descriptors())


async def test_a_client_that_leaves_while_its_file_is_looked_at(server: Server, archive: Path, silent: Silent) -> None:
    connection, line = await offered(server)
    with archive.open("rb") as file, line:
        socket.send_fds(line, [b"\0"], [file.fileno()])
    await server.until(silent.asked.is_set)
    await connection.close()
    assert (await server.request("GET", "/_ping")).body == b"OK"  # by then the server knows
    silent.let.set()
    await server.until(lambda: str(archive) not in descriptors())
    assert server.engine.images.lent == b""


async def test_a_file_that_was_not_opened_to_be_read(archive: Path) -> None:
    file = lent.LentFile(os.open(archive, os.O_WRONLY))
    with contextlib.closing(file), pytest.raises(InvalidParameterError, match="can't be read: bad file descriptor"):
        list(file)


async def test_programs_that_the_engine_starts_do_not_get_the_file(archive: Path) -> None:
    near, far = socket.socketpair()
    with near, far, archive.open("rb") as file:
        socket.send_fds(near, [b"\0"], [file.fileno()])
        fd = await lent._received(far)
        try:
            assert not os.get_inheritable(fd)
        finally:
            os.close(fd)


async def test_of_several_descriptors_the_first_is_taken(server: Server, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    connection, line = await offered(server)
    with archive.open("rb") as file, other.open("rb") as second, line:
        socket.send_fds(line, [b"\0"], [file.fileno(), second.fileno()])
    assert (await connection.answer()).status == 200
    assert not {str(archive), str(other)} & descriptors()


async def test_a_byte_without_a_descriptor(server: Server) -> None:
    connection, line = await offered(server)
    with line:
        line.send(b"\0")
    assert (await connection.answer()).status == 421


async def test_no_byte_at_all(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent, "_PATIENCE", 0.05)
    connection, line = await offered(server)
    line.close()
    assert (await connection.answer()).message == "no descriptor came"


async def test_a_client_that_leaves_instead(server: Server) -> None:
    connection, line = await offered(server)
    line.close()
    await connection.close()
    assert (await server.request("GET", "/_ping")).body == b"OK"
    assert server.engine.images.lent == b""


async def test_a_request_that_offers_nothing(server: Server) -> None:
    answer = await server.request("POST", PATH)
    assert (answer.status, "Upgrade: descriptor" in answer.message) == (400, True)


async def test_no_descriptor_comes_over_tcp(tcp: TCP) -> None:
    connection = await tcp.connect()
    await connection.send("POST", PATH, headers=OFFER)
    assert (await connection.answer()).status == 421


# ── the client's side ────────────────────────────────────────────────────────────────────────────────────────


def lend_file(host: str, path: Path) -> object:
    """What the engine said, or None: the bytes have to be sent, from where the file stood."""
    session = Session(Endpoint(host))
    fd = os.open(path, os.O_RDONLY)
    try:
        os.lseek(fd, 6, os.SEEK_SET)
        response = lend(session, PATH, fd, {})
        assert response is not None or os.lseek(fd, 0, os.SEEK_CUR) == 6
        return None if response is None else response.json()
    finally:
        os.close(fd)
        session.close()


async def test_a_client_lends_a_large_file(server: Server, archive: Path) -> None:
    assert await asyncio.to_thread(lend_file, server.host, archive) == {"stream": "Loaded image: debian:12\n"}
    assert server.engine.images.lent == bytes(WORTH)


async def test_nothing_is_lent_where_little_is_left(server: Server, archive: Path) -> None:
    assert archive.stat().st_size > WORTH
    os.truncate(archive, WORTH + 5)
    assert await asyncio.to_thread(lend_file, server.host, archive) is None


async def test_what_cannot_be_lent_is_to_be_sent(
    server: Server, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rundlet.linux.libc.filesystem_type", lambda _fd: 0x6969)
    assert await asyncio.to_thread(lend_file, server.host, archive) is None


async def test_a_client_that_was_stopped_for_too_long_sends_the_bytes(
    server: Server, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lent, "_PATIENCE", 0.05)
    receive = http.Connection.receive

    def late(connection: http.Connection, **how: bool) -> http.Response:
        response = receive(connection, **how)
        if response.status == 101:
            ended = select.poll()
            ended.register(connection.socket.fileno(), 0)
            assert ended.poll(20_000)
        return response

    monkeypatch.setattr(http.Connection, "receive", late)
    assert await asyncio.to_thread(lend_file, server.host, archive) is None
    assert server.engine.images.lent == b""


async def test_and_what_another_engine_does_not_know(archive: Path, tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"message":"page not found"}'
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    path = str(tmp_path / "other.sock")
    async with await asyncio.start_unix_server(refuse, path):
        assert await asyncio.to_thread(lend_file, f"unix://{path}", archive) is None


async def test_through_a_relay_the_bytes_are_sent(server: Server, archive: Path, tmp_path: Path) -> None:
    """As ssh or socat carry a socket: bytes come through, descriptors don't."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(server.path)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    path = str(tmp_path / "relay.sock")
    async with await asyncio.start_unix_server(relay, path):
        assert await asyncio.to_thread(lend_file, f"unix://{path}", archive) is None
    assert server.engine.images.lent == b""
