"""Clients' sessions: connections on which a client answers what a build asks it for (files, secrets, agents, logins).

The client opens ``/session``, says by headers which methods it serves, and then it is the server: the HTTP/2 client is
here.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from rundlet.api.buildkit_session import (
    AgentRequest,
    BytesMessage,
    CredentialsRequest,
    CredentialsResponse,
    SecretRequest,
    SecretResponse,
)
from rundlet.api.protobuf import decode, encode
from rundlet.api.streams import Attachment
from rundlet.errors import InvalidParameterError, NotFoundError
from rundlet.transport.http2.connection import Connection
from rundlet.transport.http2.grpc import CallError, Channel, ClientCall, Code, ServerCall

_LIMIT: Final = 100
_PATIENCE: Final = 30.0
"""Seconds for a client to open the session that its build names."""
_GET_SECRET: Final = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 a method
_CREDENTIALS: Final = "/moby.filesync.v1.Auth/Credentials"
_AGENT: Final = "/moby.sshforward.v1.SSH/CheckAgent"
_FORWARD: Final = "/moby.sshforward.v1.SSH/ForwardAgent"
_PULL: Final = "/moby.upload.v1.Upload/Pull"
_CHUNK: Final = 32 << 10
_SECRET_LIMIT: Final = 500 << 10


class SessionNotFoundError(NotFoundError):
    reason = "build-session-not-found"

    def __init__(self, session: str) -> None:
        super().__init__(f"no active session for {session}: context deadline exceeded")


class Session:
    """One client's. ``shared_key`` is the same for builds of the same directory on the same machine."""

    def __init__(self, identifier: str, shared_key: str, methods: frozenset[str], channel: Channel) -> None:
        self.id = identifier
        self.shared_key = shared_key
        self.channel = channel
        self._methods = methods

    def serves(self, method: str) -> bool:
        return method.lower() in self._methods

    async def secrets(self, names: Iterable[str]) -> dict[str, bytes]:
        """Those of ``names`` that the client has. Raises CallError, InvalidParameterError."""
        asked = {name: await self.secret(name) for name in names}
        return {name: value for name, value in asked.items() if value is not None}

    async def secret(self, name: str) -> bytes | None:
        """None if the client has none of that name. Raises CallError, InvalidParameterError."""
        if not self.serves(_GET_SECRET):
            return None
        try:
            answer = await self.channel.ask(_GET_SECRET, encode(SecretRequest(name)))
        except CallError as exc:
            if exc.code == Code.NOT_FOUND:
                return None
            raise
        data = decode(SecretResponse, answer).data
        if len(data) > _SECRET_LIMIT:
            raise InvalidParameterError(f"secret {name} too big. max size {_SECRET_LIMIT >> 10}KB")
        return data

    async def credentials(self, host: str) -> tuple[str, str]:
        """User and password, or token without a user, for a registry; empty where the client has none."""
        if not self.serves(_CREDENTIALS):
            return "", ""
        try:
            answer = decode(CredentialsResponse, await self.channel.ask(_CREDENTIALS, encode(CredentialsRequest(host))))
        except CallError:
            return "", ""
        return answer.username, answer.secret

    async def has_agent(self, name: str) -> bool:
        if not self.serves(_AGENT):
            return False
        try:
            await self.channel.ask(_AGENT, encode(AgentRequest(name)))
        except CallError:
            return False
        return True

    async def agent(self, name: str, line: socket.socket) -> None:
        """Join ``line`` with the client's agent until one of them ends."""
        reader, writer = await asyncio.open_connection(sock=line)
        try:
            async with self.channel.call(_FORWARD, [("buildkit.ssh.id", name)]) as call:
                sending = asyncio.create_task(_send(reader, call))
                try:
                    while (message := await call.next()) is not None:
                        writer.write(decode(BytesMessage, message).data)
                        await writer.drain()
                finally:
                    sending.cancel()
                    await asyncio.wait([sending])
        finally:
            writer.close()

    async def upload(self, path: str) -> AsyncGenerator[bytes, None]:
        """What the client sends as the body of its ``http://buildkit-session`` URL. Raises CallError."""
        async with self.channel.call(_PULL, [("urlpath", path), ("urlhost", "buildkit-session")]) as call:
            while (message := await call.next()) is not None:
                yield decode(BytesMessage, message).data


async def _send(reader: asyncio.StreamReader, call: ClientCall) -> None:
    while data := await reader.read(_CHUNK):
        await call.send(encode(BytesMessage(data)))
    await call.end()


async def joined(call: ServerCall, line: socket.socket) -> None:
    """Carry the bytes of ``line``, which is ours now, in a call's messages, until one of them ends."""
    line.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=line)

    async def receive() -> None:
        while (message := await call.messages.next()) is not None:
            writer.write(decode(BytesMessage, message).data)
            await writer.drain()
        writer.write_eof()

    receiving = asyncio.create_task(receive())
    try:
        while data := await reader.read(_CHUNK):
            await call.send(encode(BytesMessage(data)))
    except ConnectionError:
        # Our end of it is gone: the session is over.
        pass
    finally:
        receiving.cancel()
        await asyncio.wait([receiving])
        writer.close()


class Sessions:
    """All that are open, by the identifier that the client made up."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, identifier: str, shared_key: str, methods: frozenset[str]) -> Attachment:
        """A line on which the client will answer. Raises InvalidParameterError."""
        if not identifier:
            raise InvalidParameterError("a build session needs an identifier")
        if identifier in self._sessions or len(self._tasks) >= _LIMIT:
            raise InvalidParameterError(f"there are too many build sessions, or one more {identifier}")
        ours, theirs = socket.socketpair()
        connection = Connection(ours)
        session = Session(identifier, shared_key, methods, Channel(connection))
        task = asyncio.create_task(self._run(session, connection), name="build session")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Attachment(tty=False, socket=theirs)

    async def _run(self, session: Session, connection: Connection) -> None:
        self._sessions[session.id] = session
        try:
            async with self._news:
                self._news.notify_all()
            await connection.run()
        finally:
            del self._sessions[session.id]

    async def get(self, identifier: str) -> Session:
        """The session, which may be a moment late. Raises SessionNotFoundError."""
        # A client that builds several things at once puts a name for each before the session's own.
        name = identifier.rpartition(":")[2]
        try:
            async with asyncio.timeout(_PATIENCE), self._news:
                await self._news.wait_for(lambda: name in self._sessions)
                return self._sessions[name]
        except TimeoutError as exc:
            raise SessionNotFoundError(identifier) from exc

    async def close(self) -> None:
        """The engine ends."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
