"""A client of BuildKit's protocol as small as the tests need it: it plays buildx, its session's services included.

Debian 12 has no buildx. Names and numbers of the protocol are those that real clients use; ``tests/e2e/test_buildkit``
also drives the one of Debian's ``docker``, which has BuildKit's own client built in.
"""

import asyncio
import hashlib
import os
import secrets as secrets_
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rundlet.api.buildkit import (
    CacheOptions,
    ContentReadRequest,
    ContentReadResponse,
    ContentWrite,
    ContentWriteRequest,
    ContentWriteResponse,
    Definition,
    Empty,
    Exporter,
    FrontendRequest,
    FrontendResponse,
    Pong,
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
)
from rundlet.api.buildkit_session import BytesMessage, FileStat, Packet, PacketType, SecretRequest, SecretResponse
from rundlet.api.protobuf import decode, encode
from rundlet.engine.buildkit.filesync import go_mode, sending_order
from rundlet.errors import RundletError
from rundlet.transport.http2.connection import Connection
from rundlet.transport.http2.grpc import CallError, Channel, Code, Server, ServerCall

CONTROL = "/moby.buildkit.v1.Control"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
CONTENT = "/containerd.services.content.v1.Content"
SYNC = "/moby.filesync.v1.FileSync/DiffCopy"
SEND = "/moby.filesync.v1.FileSend/DiffCopy"
SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"


def upgraded(path: str, target: str, headers: Mapping[str, Sequence[str]], protocol: str = "h2c") -> socket.socket:
    """A connection to the engine's socket that has become something else. Fails with the answer's head."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(60)
        sock.connect(path)
        lines = [f"POST {target} HTTP/1.1", "Host: docker", "Connection: Upgrade", f"Upgrade: {protocol}"]
        for name, values in headers.items():
            lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values)]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            assert byte, head
            head += byte
        assert head.startswith(b"HTTP/1.1 101"), head
        assert b"Upgrade: h2c" in head
    except BaseException:
        sock.close()
        raise
    return sock


class Files:
    """What a session answers FileSync with: directories by the names that builds know them by."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self.directories = directories
        self.sent: list[str] = []
        self.excluded: dict[str, str] = {}
        self.listed: Callable[[list[FileStat]], list[FileStat]] = lambda files: files

    async def serve(self, call: ServerCall) -> None:
        root = self.directories[call.metadata["dir-name"]]
        if excluded := call.metadata.get("exclude-patterns", ""):
            self.excluded[call.metadata["dir-name"]] = excluded
        only = call.metadata.get("followpaths", "")
        names = sorted((str(path.relative_to(root)) for path in root.rglob("*")), key=sending_order)
        chosen = [name for name in names if not only or name in only.split(",")]
        files = self.listed([_stat(root, name) for name in chosen])
        for file in files:
            await call.send(encode(Packet(PacketType.STAT, file)))
        await call.send(encode(Packet(PacketType.STAT)))
        while (message := await call.messages.next()) is not None:
            packet = decode(Packet, message)
            if packet.type == PacketType.FINISH:
                await call.send(encode(Packet(PacketType.FINISH)))
                return
            assert packet.type == PacketType.REQUEST
            self.sent.append(files[packet.id].path)
            data = (root / files[packet.id].path).read_bytes()
            for at in range(0, len(data), 32 << 10):
                await call.send(encode(Packet(PacketType.DATA, id=packet.id, data=data[at : at + (32 << 10)])))
            await call.send(encode(Packet(PacketType.DATA, id=packet.id)))


def _stat(root: Path, name: str) -> FileStat:
    found = os.lstat(root / name)
    link = os.readlink(root / name) if stat.S_ISLNK(found.st_mode) else ""
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return FileStat(name, go_mode(found.st_mode), 0, 0, size, found.st_mtime_ns, link)


class Receiving:
    """What a session takes from FileSend: archives whole, directories file by file."""

    def __init__(self, *, directory: bool = False) -> None:
        self.archive = b""
        self.files: dict[str, tuple[FileStat, bytes]] = {}
        self._directory = directory

    async def serve(self, call: ServerCall) -> None:
        if not self._directory:
            while (message := await call.messages.next()) is not None:
                self.archive += decode(BytesMessage, message).data
            return
        stats: list[FileStat] = []
        while (packet := await _packet(call)).stat is not None:
            stats.append(packet.stat)
        for number, file in enumerate(stats):
            data = b""
            if not file.mode & ~0o7777 & ~(1 << 23 | 1 << 22 | 1 << 20):
                await call.send(encode(Packet(PacketType.REQUEST, id=number)))
                while (packet := await _packet(call)).data:
                    data += packet.data
            self.files[file.path] = (file, data)
        await call.send(encode(Packet(PacketType.FINISH)))
        assert (await _packet(call)).type == PacketType.FINISH


class Store:
    """A content store of the client's: what its session answers containerd's content service with."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def read(self, call: ServerCall) -> None:
        digest = decode(ContentReadRequest, await call.request()).digest
        if digest not in self.blobs:
            raise CallError(Code.NOT_FOUND, f"content {digest}: not found")
        data = self.blobs[digest]
        for at in range(0, len(data), 100_000):
            await call.send(encode(ContentReadResponse(at, data[at : at + 100_000])))

    async def write(self, call: ServerCall) -> None:
        data = b""
        while True:
            request = decode(ContentWriteRequest, await call.messages.next() or b"")
            if request.action == ContentWrite.STAT and request.expected in self.blobs:
                raise CallError(Code.ALREADY_EXISTS, f"content {request.expected}: already exists")
            data += request.data
            if request.action == ContentWrite.COMMIT:
                assert len(data) == request.total
                assert request.expected == f"sha256:{hashlib.sha256(data).hexdigest()}"
                self.blobs[request.expected] = data
            await call.send(encode(ContentWriteResponse(request.action, len(data))))
            if request.action == ContentWrite.COMMIT:
                return


async def _packet(call: ServerCall) -> Packet:
    message = await call.messages.next()
    assert message is not None
    return decode(Packet, message)


class Buildx:
    """A client of one engine: a connection to its services, a session of its own."""

    def __init__(self, control: Channel, connection: Connection, session: str) -> None:
        self.control = control
        self.connection = connection
        self.session = session
        self.log = b""
        self.steps: dict[str, str] = {}
        """Names of steps that have ended, with what became of them."""

    async def solve(
        self,
        ref: str,
        attributes: Mapping[str, str],
        *exporters: Exporter,
        frontend: str = "dockerfile.v0",
        inputs: Mapping[str, Definition] | None = None,
        meanwhile: Callable[[FrontendResponse], Awaitable[None]] | None = None,
        cache: CacheOptions | None = None,
    ) -> dict[str, str]:
        """As buildx does it: a build without a frontend, in which the client is one that asks for ``frontend``.

        ``meanwhile`` is done after that has answered, before the build begins.
        """
        ref = f"{self.session}-{ref}"
        request = SolveRequest(ref=ref, session=self.session, exporters=exporters, cache=cache)
        solving = asyncio.create_task(self.control.ask(f"{CONTROL}/Solve", encode(request)))
        watching = asyncio.create_task(self._watch(ref))
        try:
            pong = decode(Pong, await self.bridge(ref, "Ping", encode(Empty())))
            assert "return" in {one.id for one in pong.frontend_capabilities if one.enabled}
            asked = FrontendRequest(frontend=frontend, attributes=attributes, inputs=inputs or {})
            answer = decode(FrontendResponse, await self.bridge(ref, "Solve", encode(asked)))
            assert answer.result is not None
            if meanwhile is not None:
                await meanwhile(answer)
            result = answer.result.ref
            returned = ReturnRequest(Result(ref=Ref(result.id) if result is not None else None))
            await self.bridge(ref, "Return", encode(returned))
            return dict(decode(SolveResponse, await solving).exporter_response)
        finally:
            solving.cancel()
            await asyncio.wait([solving, watching])
            if not watching.cancelled():
                watching.exception()

    async def bridge(self, ref: str, method: str, message: bytes) -> bytes:
        """What the frontends' service answers in the build ``ref``."""
        async with self.control.call(f"{BRIDGE}/{method}", [("buildkit-controlapi-buildid", ref)]) as call:
            await call.send(message)
            await call.end()
            answer = await call.next()
            assert answer is not None
            assert await call.next() is None
            return answer

    async def _watch(self, ref: str) -> None:
        async with self.control.call(f"{CONTROL}/Status") as call:
            await call.send(encode(StatusRequest(ref)))
            await call.end()
            while (message := await call.next()) is not None:
                said = decode(StatusResponse, message)
                self.log += b"".join(one.data for one in said.logs)
                for step in said.vertexes:
                    if step.completed:
                        self.steps[step.name] = step.error or ("cached" if step.cached else "done")


@asynccontextmanager
async def buildx(
    path: str,
    files: Files,
    *,
    secrets: Mapping[str, bytes] | None = None,
    receiving: Receiving | None = None,
    store: Store | None = None,
) -> AsyncIterator[Buildx]:
    """A client of the engine at the socket ``path``, with a session of its own."""
    session, shared_key = secrets_.token_hex(8), str(files.directories["context"])

    async def secret(call: ServerCall) -> None:
        name = decode(SecretRequest, await call.request()).id
        if name not in (secrets or {}):
            raise CallError(Code.NOT_FOUND, f"secret {name} not found")
        await call.send(encode(SecretResponse((secrets or {})[name])))

    def describe(error: RundletError) -> CallError:
        return CallError(Code.UNKNOWN, str(error))

    methods = {SYNC: files.serve, SECRET: secret, SEND: (receiving or Receiving()).serve}
    if store is not None:
        methods |= {f"{CONTENT}/Read": store.read, f"{CONTENT}/Write": store.write}
    exposed = "X-Docker-Expose-Session"
    lines = {f"{exposed}-Uuid": session, f"{exposed}-Sharedkey": shared_key, f"{exposed}-Grpc-Method": list(methods)}
    served = Connection(upgraded(path, "/session", lines), Server(methods, describe).accept)
    connection = Connection(upgraded(path, "/grpc", {}))
    tasks = [asyncio.create_task(one.run()) for one in (served, connection)]
    try:
        yield Buildx(Channel(connection), connection, session)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
