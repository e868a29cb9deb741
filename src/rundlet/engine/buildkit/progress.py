"""A build's progress as BuildKit's clients hear it, and the errors that it ends with."""

import asyncio
import base64
import datetime
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Final, Protocol

import msgspec

from rundlet.api import buildkit
from rundlet.api.buildkit import Any, Status, StatusResponse
from rundlet.api.builds import BuildFailure, BuildProgress
from rundlet.api.protobuf import Timestamp, decode, encode
from rundlet.errors import RundletError
from rundlet.transport.http2.grpc import CallError, Code

_SOURCE: Final = "github.com/moby/buildkit/errdefs.Source+json"
_VERTEX: Final = "github.com/moby/buildkit/errdefs.Vertex+json"
_WAITING: Final = 1024
"""Messages that wait for a client before the build waits with them."""
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NANOS: Final = 10**9
_CODES: Final = {400: Code.INVALID_ARGUMENT, 404: Code.NOT_FOUND, 501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE}


class Recording(Protocol):
    """Remembers what is said."""

    def write(self, message: StatusResponse) -> None: ...

    def said(self) -> Iterable[StatusResponse]: ...


class _Listener:
    """What one client has not taken yet; when that is much, whoever speaks waits, as long as the client is there."""

    def __init__(self) -> None:
        self._waiting: deque[StatusResponse | None] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._left = False

    async def hear(self, message: StatusResponse | None) -> None:
        while len(self._waiting) >= _WAITING and not self._left:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(message)
        self._news.set()

    async def next(self) -> StatusResponse | None:
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._waiting.popleft()

    def leave(self) -> None:
        self._left = True
        self._room.set()


class Channel:
    """What is said of one build, to each who listens; what was said before comes first: all of it where it is recorded,
    else what nobody has heard yet."""

    def __init__(self) -> None:
        self._before: list[StatusResponse] = []
        self._listeners: set[_Listener] = set()
        self._ended = False
        self.recording: Recording | None = None

    async def say(self, message: StatusResponse) -> None:
        if self.recording is not None:
            self.recording.write(message)
        elif not self._listeners and (len(self._before) < _WAITING or not message.logs):
            self._before.append(message)
        for listener in list(self._listeners):
            await listener.hear(message)

    async def end(self) -> None:
        """Nothing more will be said. What is recorded is the record's to tell from now on, if it is kept."""
        self._ended = True
        self.recording = None
        for listener in list(self._listeners):
            await listener.hear(None)

    async def listen(self) -> AsyncGenerator[StatusResponse, None]:
        """Until the end."""
        listener = _Listener()
        if self.recording is not None:
            before = list(self.recording.said())
        else:
            before, self._before = self._before, []
        ended = self._ended
        self._listeners.add(listener)
        try:
            for message in before:
                yield message
            while not ended and (said := await listener.next()) is not None:
                yield said
        finally:
            self._listeners.discard(listener)
            listener.leave()


def timestamp(text: str) -> Timestamp | None:
    """An RFC 3339 time in UTC with up to nine digits after the second; None for none."""
    if not text:
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = (datetime.datetime.fromisoformat(f"{whole}+00:00") - _EPOCH).total_seconds()
    return Timestamp(int(seconds), int(fraction.ljust(9, "0")[:9] or 0))


def timestamp_of(nanoseconds: int) -> Timestamp:
    return Timestamp(nanoseconds // _NANOS, nanoseconds % _NANOS)


def digest_of(ref: str, name: str) -> str:
    """What a step of the build ``ref`` is known by."""
    return f"sha256:{hashlib.sha256(f'{ref}/{name}'.encode()).hexdigest()}"


def status(progress: BuildProgress, ref: str) -> StatusResponse:
    """``progress`` of the build ``ref``."""

    def digest(name: str) -> str:
        return digest_of(ref, name)

    return StatusResponse(
        vertexes=tuple(
            buildkit.Vertex(
                digest(one.digest),
                one.name,
                one.cached,
                timestamp(one.started),
                timestamp(one.completed),
                one.error,
            )
            for one in progress.vertexes
        ),
        statuses=tuple(
            buildkit.VertexStatus(
                one.id,
                digest(one.vertex),
                one.name,
                one.current,
                one.total,
                timestamp(one.timestamp),
                timestamp(one.started),
                timestamp(one.completed),
            )
            for one in progress.statuses
        ),
        logs=tuple(
            buildkit.VertexLog(digest(one.vertex), timestamp(one.timestamp), one.stream, base64.b64decode(one.data))
            for one in progress.logs
        ),
        warnings=tuple(
            buildkit.VertexWarning(digest(one.vertex), one.level, base64.b64decode(one.short))
            for one in progress.warnings
        ),
    )


def failure(found: BuildFailure, filename: str, vertex: str) -> CallError:
    """How a build's last message becomes its call's error: with the lines of the Dockerfile that it is about, and the
    step ``vertex`` ("": none) that failed."""
    detail = found.error_detail
    details: tuple[Any, ...] = ()
    if vertex:
        details += (Any(_VERTEX, msgspec.json.encode({"digest": vertex})),)
    if detail.location is not None and detail.excerpt:
        source = {
            "info": {"filename": filename, "data": detail.excerpt.encode(), "language": "Dockerfile"},
            "ranges": [{"start": {"line": detail.location.line}, "end": {"line": detail.location.end}}],
        }
        details += (Any(_SOURCE, msgspec.json.encode(source)),)
    return CallError(Code.UNKNOWN, found.error, encode(Status(Code.UNKNOWN, found.error, details)))


def status_of(error: BaseException) -> Status:
    """What becomes of a build that ended with ``error``, for its record."""
    if isinstance(error, CallError):
        return decode(Status, error.details) if error.details else Status(error.code, str(error))
    if isinstance(error, RundletError):
        return status_of(describe(error))
    return Status(Code.CANCELLED, "context canceled")


def describe(error: RundletError) -> CallError:
    """Any other error."""
    return CallError(_CODES.get(error.status, Code.UNKNOWN), str(error))
