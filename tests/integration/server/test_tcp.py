"""The same server over TCP, plain and with TLS."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.certificates import certificate
from tests.integration.server.conftest import Connection, Server

from rundlet.api import stdcopy
from rundlet.client.tls import TlsSocket


class TCP:
    """The server's TCP side."""

    def __init__(self, server: Server, port: int, context: ssl.SSLContext | None) -> None:
        self.server = server
        self._port = port
        self._context = context

    async def connect(self) -> Connection:
        streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        connection = Connection(*streams)
        self.server.open.append(connection)
        return connection


@pytest.fixture(params=["plain", "tls"])
async def tcp(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> AsyncIterator[TCP]:
    sock = socket.create_server(("127.0.0.1", 0))
    ours, theirs = certificate(tmp_path) if request.param == "tls" else (None, None)
    await server.api.listen(sock, ours)
    yield TCP(server, sock.getsockname()[1], theirs)


async def test_requests(tcp: TCP) -> None:
    connection = await tcp.connect()
    for _ in range(2):
        await connection.send("GET", "/_ping")
        assert (await connection.answer()).body == b"OK"


async def test_hijack(tcp: TCP) -> None:
    size = 4 * 1024 * 1024
    await tcp.server.container("over", "cat", start=False)
    connection = await tcp.connect()
    path = "/containers/over/attach?stream=1&stdin=1&stdout=1&stderr=1"
    await connection.send("POST", path, None, {"Connection": "Upgrade", "Upgrade": "tcp"})
    assert (await connection.head())[0] == 101
    await tcp.server.request("POST", "/containers/over/start")
    connection.writer.write(b"x" * size)
    splitter, got = stdcopy.Splitter(), 0
    async with asyncio.timeout(60):
        while got < size:
            got += sum(len(payload) for _, payload in splitter.feed(await connection.reader.read(65536)))


async def test_the_end_of_the_container_ends_the_connection(tcp: TCP) -> None:
    await tcp.server.container("ends", "echo", "bye", start=False)
    connection = await tcp.connect()
    path = "/containers/ends/attach?stream=1&stdout=1"
    await connection.send("POST", path, None, {"Connection": "Upgrade", "Upgrade": "tcp"})
    assert (await connection.head())[0] == 101
    await tcp.server.request("POST", "/containers/ends/start")
    assert await connection.rest() == stdcopy.frame(1, b"bye\n")


async def test_input_that_has_ended_leaves_the_output_open(tmp_path: Path, server: Server) -> None:
    ours, theirs = certificate(tmp_path)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.api.listen(sock, ours)
    await server.container("half", "cat", start=False)

    attached = threading.Event()

    def attach_and_half_close() -> bytes:
        plain = socket.create_connection(("127.0.0.1", sock.getsockname()[1]))
        plain.settimeout(60)
        client = TlsSocket(plain, theirs, "127.0.0.1")
        path = "/containers/half/attach?stream=1&stdin=1&stdout=1"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        client.sendall(head.encode())
        while b"\r\n\r\n" not in client.recv(65536):
            pass
        attached.set()
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.recv(65536):
            received += data
        client.close()
        return received

    answer = asyncio.create_task(asyncio.to_thread(attach_and_half_close))
    assert await asyncio.to_thread(attached.wait, 10)
    await server.request("POST", "/containers/half/start")
    received = await answer
    assert received.startswith(stdcopy.frame(1, b"last words"))
    assert b"end of input" in received


async def test_a_client_without_a_certificate_is_turned_away(tmp_path: Path, server: Server) -> None:
    ours, theirs = certificate(tmp_path)
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_verify_locations(tmp_path / "cert.pem")
    sock = socket.create_server(("127.0.0.1", 0))
    await server.api.listen(sock, ours)

    def ask() -> bytes:
        plain = socket.create_connection(("127.0.0.1", sock.getsockname()[1]))
        plain.settimeout(60)
        with plain:
            client = TlsSocket(plain, theirs, "127.0.0.1")
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(100)

    with pytest.raises(OSError):
        await asyncio.to_thread(ask)
