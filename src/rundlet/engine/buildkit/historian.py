"""The history's part of the protocol, and the content that records refer to (containerd's content service)."""

import asyncio
import os
from contextlib import aclosing
from typing import Final

from rundlet.api.buildkit import (
    ContentInfo,
    ContentInfoRequest,
    ContentInfoResponse,
    ContentReadRequest,
    ContentReadResponse,
    Empty,
    HistoryRequest,
    HistoryUpdate,
)
from rundlet.api.protobuf import decode, encode
from rundlet.engine.buildkit.history import History
from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore
from rundlet.transport.http2.grpc import CallError, Code, ServerCall
from rundlet.util.clock import rfc3339_nano

_TIME: Final = "buildkit-current-timestamp"
_PIECE: Final = 256 << 10


class Historian:
    """Methods of the services Control and Content."""

    def __init__(self, history: History, content: ContentStore) -> None:
        self._history = history
        self._content = content

    async def listen(self, call: ServerCall) -> None:
        request = decode(HistoryRequest, await call.request())
        async with aclosing(self._history.listen(request)) as events:
            # Clients reckon by it how long a build has been under way.
            await call.begin([(_TIME, rfc3339_nano(self._history.now()))])
            async for event in events:
                await call.send(encode(event))

    async def update(self, call: ServerCall) -> None:
        request = decode(HistoryUpdate, await call.request())
        if request.delete:
            self._history.delete(request.ref)
        elif request.finalize:
            # A record is whole as soon as its build is over.
            self._history.check(request.ref)
        else:
            self._history.pin(request.ref, request.pinned)
        await call.send(encode(Empty()))

    async def info(self, call: ServerCall) -> None:
        digest = Digest.parse(decode(ContentInfoRequest, await call.request()).digest)
        size = await asyncio.to_thread(os.path.getsize, self._path(digest))
        await call.send(encode(ContentInfoResponse(ContentInfo(str(digest), size))))

    async def read(self, call: ServerCall) -> None:
        request = decode(ContentReadRequest, await call.request())
        path = self._path(Digest.parse(request.digest))
        if request.offset < 0 or request.size < 0:
            raise InvalidParameterError("content is read from an offset on, some bytes of it")
        with open(path, "rb") as file:
            at, end = request.offset, os.fstat(file.fileno()).st_size
            if request.size:
                end = min(end, at + request.size)
            while at < end and (data := await asyncio.to_thread(os.pread, file.fileno(), min(_PIECE, end - at), at)):
                await call.send(encode(ContentReadResponse(at, data)))
                at += len(data)

    def _path(self, digest: Digest) -> str:
        path = self._history.blob(digest) or self._content.path(digest)
        if not os.path.exists(path):
            raise CallError(Code.NOT_FOUND, f"content {digest}: not found")
        return path
