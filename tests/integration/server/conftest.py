"""A server over an engine in memory, on a unix socket, and ways to talk to it."""

import asyncio
import json
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.server.fake_engine import FakeEngine

from rundlet.server.app import APIServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


@dataclass
class Connection:
    """One client connection, spoken by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {
            "Host": "docker",
            **({"Content-Type": "application/json"} if body is not None else {}),
            **(headers or {}),
        }
        if "Transfer-Encoding" not in lines:
            lines["Content-Length"] = str(len(data))
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items()), "", ""])
        self.writer.write(head.encode() + data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers, as soon as they are there."""
        async with asyncio.timeout(60):
            data = await self.reader.readuntil(b"\r\n\r\n")
        first, *rest = data.decode().rstrip().split("\r\n")
        pairs = (line.split(": ", 1) for line in rest)
        return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}

    async def chunk(self) -> bytes:
        """One piece of a chunked body; empty at its end."""
        async with asyncio.timeout(60):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self, *, no_body: bool = False) -> Answer:
        status, headers = await self.head()
        if no_body or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while piece := await self.chunk():
                pieces.append(piece)
            return Answer(status, headers, b"".join(pieces))
        async with asyncio.timeout(60):
            return Answer(status, headers, await self.reader.readexactly(int(headers.get("content-length", "0"))))

    async def rest(self) -> bytes:
        """Everything until the server ends its side."""
        async with asyncio.timeout(60):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # The server may have had more to say: asyncio's client takes that ill.


@dataclass
class Server:
    """The engine, and its socket."""

    engine: FakeEngine
    path: str
    api: APIServer
    open: list[Connection] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_unix_connection(self.path))
        self.open.append(connection)
        return connection

    async def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = await self.connect()
        await connection.send(method, path, body, headers)
        return await connection.answer(no_body=method == "HEAD")

    async def hijack(self, path: str, body: object = None, *, upgrade: bool = True) -> Connection:
        """A connection whose request is sent and whose answer is not read yet."""
        connection = await self.connect()
        await connection.send("POST", path, body, {"Connection": "Upgrade", "Upgrade": "tcp"} if upgrade else None)
        return connection

    async def container(self, name: str, *command: str, tty: bool = False, start: bool = True, **extra: Any) -> None:
        body = {"Image": "debian:12", "Cmd": list(command), "Tty": tty, "OpenStdin": True, **extra}
        assert (await self.request("POST", f"/containers/create?name={name}", body)).status == 201
        if start:
            assert (await self.request("POST", f"/containers/{name}/start")).status == 204

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what happens a moment later on the server's side."""
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    engine = FakeEngine()
    api = APIServer(engine.backends())
    with tempfile.TemporaryDirectory(prefix="rundlet-api-") as directory:
        path = str(Path(directory) / "engine.sock")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        await api.listen(sock)
        server = Server(engine, path, api)
        try:
            yield server
        finally:
            for connection in server.open:
                await connection.close()
            await engine.end()
            await api.close()
