"""Attach and exec: the connection stops being HTTP and becomes the container's streams, both ways.

The protocol of the client's transport is replaced for the time, and given back for the end, so that aiohttp does its
own bookkeeping. Bytes flow transport to transport with the flow control of both sides: a slow client slows the
container, never fills memory; one that stands still is relieved of its output. Each side's end of file is passed on to
the other as a half-close.
"""

import asyncio
import fcntl
import logging
import select
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import LooseHeaders

from rundlet.api import stdcopy
from rundlet.api.streams import Attachment
from rundlet.api.versions import APIVersion
from rundlet.server import answers, detach, errors
from rundlet.server.call import Call
from rundlet.server.detach import DetachScanner
from rundlet.server.framing import Translate, translator
from rundlet.server.relief import Relief

log = logging.getLogger(__name__)

_MULTIPLEXED_SINCE: Final = APIVersion(1, 42)
_LINGER: Final = 2.0
"""Seconds that a client has to close its side after it was told the end; its late input is discarded meanwhile, because
closing with unread input would make it see a reset instead of an end."""
_HANGUP_POLL: Final = 1.0
"""Seconds between looks at a client that half-closed: a full close shows as a hang-up only."""
_BUFFER: Final = 512 * 1024
_HEAD_POLL: Final = 0.001
_HEAD_POLLS: Final = 50


class HijackedResponse(web.StreamResponse):
    """Tells aiohttp that everything was sent and that the connection ends here."""

    def __init__(self, status: int, headers: LooseHeaders | None = None) -> None:
        super().__init__(status=status, headers=headers)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """The headers are on the wire already."""

    async def write_eof(self, data: bytes = b"") -> None:
        """The connection's end is the answer's end."""


Begin = Callable[[], Awaitable[Attachment]]


class Hijack:
    """One client's connection, to be taken over by one of :meth:`join` and :meth:`begin`."""

    def __init__(self, call: Call) -> None:
        self._request = call.request
        self._version = call.version
        self._upgrade = hdrs.UPGRADE in call.request.headers
        self._protocol = "h2c" if call.request.headers.get(hdrs.UPGRADE, "").lower() == "h2c" else "tcp"

    async def join(self, attachment: Attachment, *, stdin: bool, detach_keys: bytes) -> web.StreamResponse:
        """Answer, replay the backlog, then copy both ways until the container's side ends or the client is gone.

        ``stdin``: whether the client's input goes to the container; else it is discarded.
        """
        try:
            client = self._open(attachment.tty)
        except BaseException:
            _discard(attachment)
            raise
        try:
            await _serve(client, attachment, stdin, detach_keys)
        finally:
            await client.finish()
        return self._response()

    async def begin(self, begin: Begin, *, tty: bool) -> web.StreamResponse:
        """Answer, then start what is to be joined; its failure is printed where the output would have been.

        ``tty``: the client wants plain bytes, else frames, whatever the process has.
        """
        client = self._open(tty)
        try:
            attachment = await _begun(begin)
            client.translate = translator(framed=not attachment.tty, wanted=not tty)
            await _serve(client, attachment, True, detach.parse(attachment.detach_keys))
        except Exception as exc:
            line = f"{errors.describe(exc).message}\r\n".encode()
            client.write(line if tty else stdcopy.frame(stdcopy.STDOUT, line))
        finally:
            await client.finish()
        return self._response()

    def _response(self) -> web.StreamResponse:
        return HijackedResponse(101 if self._upgrade else 200)

    def _open(self, tty: bool) -> "_Client":
        transport, protocol = self._request.transport, self._request.protocol
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("client went away")
        client = _Client(transport, protocol)
        transport.write(self._head(tty))
        return client

    def _head(self, tty: bool) -> bytes:
        multiplexed = not tty and self._upgrade and self._version >= _MULTIPLEXED_SINCE
        content_type = answers.MULTIPLEXED_STREAM if multiplexed else answers.RAW_STREAM
        lines = [
            "HTTP/1.1 101 UPGRADED" if self._upgrade else "HTTP/1.1 200 OK",
            f"Content-Type: {content_type}",
            *(("Connection: Upgrade", f"Upgrade: {self._protocol}") if self._upgrade else ()),
            *(f"{name}: {value}" for name, value in answers.HEADERS.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


async def _begun(begin: Begin) -> Attachment:
    """What was begun is finished also when the client leaves meanwhile."""
    task = asyncio.ensure_future(begin())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_discard_result)
        raise


def _discard_result(task: "asyncio.Future[Attachment]") -> None:
    if not task.cancelled() and task.exception() is None:
        _discard(task.result())


def _discard(attachment: Attachment) -> None:
    if attachment.socket is not None:
        attachment.socket.close()


async def _serve(client: "_Client", attachment: Attachment, stdin: bool, detach_keys: bytes) -> None:
    sock = attachment.socket
    try:
        if attachment.backlog is not None:
            await client.head_taken()
            await _replay(client, attachment.backlog)
        if sock is None:
            return
        sock.setblocking(False)
        backend = _Backend(client)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: backend, sock)
        sock = None  # the transport closes it
    finally:
        if sock is not None:
            sock.close()
    transport.set_write_buffer_limits(high=_BUFFER)
    if attachment.spool:
        client.relief = Relief(client, backend, attachment.spool)
    try:
        client.connect(backend, stdin, DetachScanner(detach_keys) if attachment.tty and stdin else None)
        await asyncio.wait((backend.ended, client.gone, client.detached), return_when=asyncio.FIRST_COMPLETED)
        if client.relief is not None and backend.ended.done():
            await client.relief.finished(client.detached)
        if client.detached.done():
            if attachment.on_detach is not None:
                attachment.on_detach()
        elif attachment.settled is not None and not client.gone.done():
            await _settle(attachment.settled, attachment.patience)
    finally:
        if client.relief is not None:
            client.relief.close()
        if client.gone.done():
            transport.abort()
        else:
            transport.close()


async def _settle(settled: Callable[[], Awaitable[object]], patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await settled()
    except TimeoutError:
        log.debug("the process runs on without its streams")


async def _replay(client: "_Client", backlog: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in backlog:
            if client.gone.done():
                return
            client.write(chunk)
            await client.drain()
    finally:
        await answers.close(backlog)


def _unread(fd: int) -> int:
    """Bytes that the peer of a socket has not taken yet (of a TCP peer: its kernel)."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))[0]
    return count


class _Side(asyncio.Protocol):
    """What both ends have in common: flow control of their own writes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._peer: _Side | None = None

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def write_eof(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()
        else:  # TLS knows no half-close
            transport.close()

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._peer is not None:
            self._peer.stop_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._peer is not None:
            self._peer.go_on_reading()

    def stop_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    async def drain(self) -> None:
        """Wait until more may be written."""
        await self._writable.wait()


class _Backend(_Side):
    """The supervisor's end: its output goes to the client."""

    def __init__(self, client: "_Client") -> None:
        super().__init__()
        self._peer = client
        self._client = client
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        translate, relief = self._client.translate, self._client.relief
        data = data if translate is None else translate(data)
        if relief is not None and relief.active:
            relief.receive(data)
        else:
            self._client.write(data)

    def at_end(self) -> bool:
        return self.ended.done()

    def eof_received(self) -> bool:
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._writable.set()
        self._client.go_on_reading()
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
            if self._client.relief is not None:
                self._client.relief.changed()


class _Client(_Side):
    """The client's end. It is not read until there is a backend; what it sent before the answer is lost, as dockerd's
    clients know."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.transport = transport
        self._http = protocol
        self._backend: _Backend | None = None
        self._scanner: DetachScanner | None = None
        self._stdin = True
        self._at_eof = False
        self._hangup: asyncio.TimerHandle | None = None
        self.translate: Translate | None = None
        self.relief: Relief | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        self.detached: asyncio.Future[None] = loop.create_future()
        self._closed_input: asyncio.Future[None] = loop.create_future()
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=_BUFFER)
        self.stop_reading()

    async def head_taken(self) -> None:
        """Wait, a moment at most, until the client has read the answer's head.

        docker-py reads it through a buffer that it then forgets: what came together with the head would be lost.
        """
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        for _ in range(_HEAD_POLLS):
            if sock is None or sock.fileno() < 0 or not _unread(sock.fileno()):
                return
            await asyncio.sleep(_HEAD_POLL)

    def connect(self, backend: _Backend, stdin: bool, scanner: DetachScanner | None) -> None:
        """Input goes to ``backend`` from now on."""
        self._backend, self._peer, self._stdin, self._scanner = backend, backend, stdin, scanner
        if self._at_eof:
            self._end_input()
        else:
            self.go_on_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.relief is not None:
            self.relief.full()

    def resume_writing(self) -> None:
        if self.relief is None:
            super().resume_writing()
            return
        self._writable.set()
        self.relief.changed()
        if not self.relief.active:
            super().resume_writing()

    def writable(self) -> bool:
        return self._writable.is_set()

    def unsent(self) -> int:
        transport = self.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if transport is None or sock is None or sock.fileno() < 0:
            return 0
        return transport.get_write_buffer_size() + _unread(sock.fileno())

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._backend is None or not self._stdin or self.detached.done():
            return
        if self._scanner is not None:
            data, complete = self._scanner.feed(data)
            if complete:
                self.detached.set_result(None)
        if data:
            self._backend.write(data)

    def eof_received(self) -> bool:
        self._at_eof = True
        if not self._closed_input.done():
            self._closed_input.set_result(None)
        self._watch_for_hangup()
        if self._backend is not None:
            self._end_input()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._writable.set()
        if self._hangup is not None:
            self._hangup.cancel()
        for future in (self.gone, self._closed_input):
            if not future.done():
                future.set_result(None)
        if self._backend is not None:
            self._backend.go_on_reading()
        if self.relief is not None:
            self.relief.changed()
        self._http.connection_lost(exc)

    async def finish(self) -> None:
        """Tell the client the end, discard what it still says, and give the transport back."""
        self._stdin = False
        self.write_eof()
        if self.transport is not None:
            self.go_on_reading()
            await asyncio.wait((self.gone, self._closed_input), timeout=_LINGER, return_when=asyncio.FIRST_COMPLETED)
        if self._hangup is not None:
            self._hangup.cancel()
        if self.transport is not None:
            self.transport.set_protocol(self._http)

    def _end_input(self) -> None:
        assert self._backend is not None
        if not self._stdin:
            return
        if self._scanner is not None and (held := self._scanner.flush()):
            self._backend.write(held)
        self._backend.write_eof()

    def _watch_for_hangup(self) -> None:
        """A client that closed altogether looks as one that half-closed, until something is written to it."""
        if self.transport is None or self.transport.is_closing():
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            poll = select.poll()
            poll.register(sock.fileno(), 0)
            if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
                self.transport.abort()
                return
        self._hangup = asyncio.get_running_loop().call_later(_HANGUP_POLL, self._watch_for_hangup)
