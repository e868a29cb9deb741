"""Attach over a WebSocket: for browsers, which can't take an HTTP connection over.

Output is never framed: both streams come as they were written, in binary messages (text ones before API 1.28). What the
client sends, of either kind, is the container's input.
"""

import asyncio
import contextlib
from typing import Any, Final

from aiohttp import WSMsgType, web

from rundlet.api.streams import Attachment
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.server.detach import DetachScanner
from rundlet.server.framing import Translate, translator
from rundlet.server.pull import Pull

_BINARY_SINCE: Final = APIVersion(1, 28)


class WebSocketAttach:
    """One client's connection; :meth:`check` it first, then :meth:`join`."""

    def __init__(self, call: Call) -> None:
        self._socket = web.WebSocketResponse(autoping=True)
        self._request = call.request
        self._binary = call.version >= _BINARY_SINCE

    def check(self) -> None:
        """Raises: InvalidParameterError when the request is not a WebSocket's."""
        if not self._socket.can_prepare(self._request):
            raise InvalidParameterError("not a WebSocket request: the headers of its handshake are missing")

    async def join(self, attachment: Attachment, *, stdin: bool, detach_keys: bytes) -> web.StreamResponse:
        """Copy both ways until the container's side ends, the client is gone, or it typed the detach keys."""
        live = attachment.socket
        writer: asyncio.StreamWriter | None = None
        try:
            await self._socket.prepare(self._request)
            translate = translator(framed=not attachment.tty, wanted=False)
            if attachment.backlog is not None:
                async for chunk in attachment.backlog:
                    await self._send(chunk, translate)
            if live is not None:
                live.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=live)
                scanner = DetachScanner(detach_keys) if attachment.tty and stdin else None
                await self._copy(reader, writer, translate, attachment, scanner, stdin=stdin)
        finally:
            if attachment.backlog is not None:
                await answers.close(attachment.backlog)
            if writer is not None:
                writer.close()
            elif live is not None:
                live.close()
        await self._socket.close()
        return self._socket

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        translate: Translate | None,
        attachment: Attachment,
        scanner: DetachScanner | None,
        *,
        stdin: bool,
    ) -> None:
        output = Pull(reader, attachment.spool)
        tasks = [
            asyncio.create_task(self._output(output, translate)),
            asyncio.create_task(self._input(writer if stdin else None, scanner)),
        ]
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, output.gone]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if output.gone.done() and self._request.transport is not None:
                self._request.transport.abort()
            if tasks[1].done() and not tasks[1].cancelled() and tasks[1].result() and attachment.on_detach is not None:
                attachment.on_detach()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _output(self, output: Pull, translate: Translate | None) -> None:
        async with contextlib.aclosing(output.chunks()) as chunks:
            async for data in chunks:
                await self._send(data, translate)

    async def _send(self, data: bytes, translate: Translate | None) -> None:
        data = data if translate is None else translate(data)
        if not data:
            return
        if self._binary:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(data.decode(errors="replace"))

    async def _input(self, writer: asyncio.StreamWriter | None, scanner: DetachScanner | None) -> bool:
        """The client's messages, until it closes; whether it detached."""
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                data = str(message.data).encode()
            elif message.type is WSMsgType.BINARY:
                data = bytes(message.data)
            else:
                continue
            complete = False
            if scanner is not None:
                data, complete = scanner.feed(data)
            if writer is not None and data:
                writer.write(data)
                await writer.drain()
            if complete:
                return True
        return False
