"""gRPC's calls over HTTP/2: messages with their length before them, a status at the end.

Messages are bytes here; what they mean is their service's business. See: gRPC over HTTP2 (PROTOCOL-HTTP2.md).
"""

import base64
import binascii
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Final
from urllib.parse import quote, unquote

from rundlet.errors import RundletError
from rundlet.transport.http2.connection import Connection, Headers, Stream, StreamEndedError

_log = logging.getLogger(__name__)
MESSAGE_LIMIT: Final = 16 << 20
"""Bytes of one message."""
_PREFIX: Final = struct.Struct(">BI")
_TYPE: Final = ("content-type", "application/grpc")
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_DETAILS: Final = "grpc-status-details-bin"


class Code(IntEnum):
    """What a call came to."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class CallError(RundletError):
    """A call that failed. ``details`` is an encoded ``google.rpc.Status``, if there is more to say."""

    reason = "call-failed"

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class Messages:
    """The messages of a stream, as they come."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """None at the end. Raises CallError, StreamEndedError."""
        head = await self._take(_PREFIX.size)
        if head is None:
            return None
        compressed, size = _PREFIX.unpack(head)
        if compressed:
            raise CallError(Code.UNIMPLEMENTED, "compressed messages are not supported")
        if size > MESSAGE_LIMIT:
            raise CallError(Code.RESOURCE_EXHAUSTED, f"a message of {size} bytes is too large")
        body = await self._take(size)
        if body is None:
            raise CallError(Code.INTERNAL, "the stream ended in the middle of a message")
        return body

    async def _take(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            data = await self._stream.receive()
            if not data:
                if self._buffer:
                    raise CallError(Code.INTERNAL, "the stream ended in the middle of a message")
                return None if size else b""
            self._buffer += data
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


def framed(message: bytes) -> bytes:
    """``message`` with its prefix."""
    return _PREFIX.pack(0, len(message)) + message


# ── the server's side ────────────────────────────────────────────────────────────────────────────────────────────


class ServerCall:
    """One call of a client's."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.messages = Messages(stream)
        self.metadata: Mapping[str, str] = stream.headers
        self._begun = False

    async def request(self) -> bytes:
        """The one message of a call that has one. Raises CallError."""
        message = await self.messages.next()
        if message is None:
            raise CallError(Code.INVALID_ARGUMENT, "a message was expected")
        return message

    async def begin(self, metadata: Sequence[tuple[str, str]] = ()) -> None:
        """Answer before the first message, with ``metadata`` for the client."""
        if not self._begun:
            self._begun = True
            await self._stream.send_headers([(":status", "200"), _TYPE, *metadata])

    async def send(self, message: bytes) -> None:
        await self.begin()
        await self._stream.send(framed(message))

    async def finish(self, error: CallError | None = None) -> None:
        """The status, and the end."""
        trailers = [("grpc-status", str(int(error.code if error else Code.OK)))]
        if error is not None:
            trailers.append(("grpc-message", quote(str(error), safe=_PRINTABLE)))
            if error.details:
                trailers.append((_DETAILS, _base64(error.details)))
        if not self._begun:
            trailers = [(":status", "200"), _TYPE, *trailers]
        await self._stream.send_headers(trailers, end=True)


Method = Callable[[ServerCall], Awaitable[None]]
Describe = Callable[[RundletError], CallError]


class Server:
    """Serves ``methods`` by their paths (``/package.Service/Method``); ``describe`` makes errors gRPC's."""

    def __init__(self, methods: Mapping[str, Method], describe: Describe) -> None:
        self._methods = methods
        self._describe = describe

    async def accept(self, stream: Stream) -> None:
        """For a connection."""
        call = ServerCall(stream)
        path = stream.headers.get(":path", "")
        method = self._methods.get(path)
        error: CallError | None = None
        try:
            if method is None:
                raise CallError(Code.UNIMPLEMENTED, f"the method {path} is not supported by Rundlet")
            await method(call)
        except StreamEndedError:
            return
        except CallError as exc:
            error = exc
        except RundletError as exc:
            error = self._describe(exc)
        except Exception:
            # Whoever asked would wait for an answer for ever.
            _log.exception("%s", path)
            error = CallError(Code.INTERNAL, "internal error")
        await call.finish(error)


# ── the client's side ────────────────────────────────────────────────────────────────────────────────────────────


class ClientCall:
    """A call of ours."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._messages = Messages(stream)
        self._checked = False

    async def send(self, message: bytes) -> None:
        """Raises CallError, StreamEndedError."""
        try:
            await self._stream.send(framed(message))
        except StreamEndedError:
            self._check()
            raise

    async def end(self) -> None:
        """Nothing more will be sent."""
        await self._stream.send(b"", end=True)

    async def next(self) -> bytes | None:
        """The next message; None when the call has ended well. Raises CallError, StreamEndedError."""
        if not self._checked:
            await self._stream.answered()
            self._checked = True
            status = self._stream.headers.get(":status", "")
            if status != "200":
                raise CallError(Code.UNKNOWN, f"unexpected HTTP status {status}")
        message = await self._messages.next()
        if message is None:
            self._check()
        return message

    def _check(self) -> None:
        found = self._stream.trailers or self._stream.headers
        status = found.get("grpc-status", "")
        if status not in ("", "0"):
            code = int(status) if status.isdigit() else Code.UNKNOWN
            raise CallError(code, unquote(found.get("grpc-message", "")), _from_base64(found.get(_DETAILS, "")))


class Channel:
    """Calls over a connection whose client we are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def call(self, path: str, metadata: Headers = ()) -> AsyncIterator[ClientCall]:
        """A call, which is cancelled if it has not ended by then. Raises StreamEndedError."""
        head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        stream = await self._connection.open([*head, ("te", "trailers"), _TYPE, *metadata])
        try:
            yield ClientCall(stream)
        finally:
            stream.reset()
            self._connection.forget(stream)

    async def ask(self, path: str, message: bytes) -> bytes:
        """One message there, one back. Raises CallError, StreamEndedError."""
        async with self.call(path) as call:
            await call.send(message)
            await call.end()
            answer = await call.next()
            if answer is None:
                raise CallError(Code.INTERNAL, f"{path}: no answer")
            if await call.next() is not None:
                raise CallError(Code.INTERNAL, f"{path}: more than one answer")
            return answer


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
