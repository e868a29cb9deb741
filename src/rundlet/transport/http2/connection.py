"""One HTTP/2 connection: frames to streams, with the flow control of both sides.

What a peer sends is acknowledged when somebody takes it, so a stream that nobody reads holds one window at most; what
is sent waits for the peer's windows and for the socket. The connection's own window is given back at once: one slow
stream must not stop the others.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from rundlet.errors import RundletError, UnavailableError

Headers = Sequence[tuple[str, str]]
Accept = Callable[["Stream"], Awaitable[None]]
# They tell every header, of which there are thousands.
logging.getLogger("hpack").setLevel(logging.WARNING)
_READ: Final = 256 << 10
_WINDOW: Final = 1 << 20
"""Bytes that one stream may have on its way."""
_CONNECTION_WINDOW: Final = 16 << 20
_STREAMS: Final = 64
_HEADERS_LIMIT: Final = 256 << 10
_LAST_WORDS: Final = 1.0
"""Seconds that a peer has to take what was sent before the end."""


class StreamEndedError(UnavailableError):
    """The peer has reset a stream, or is gone."""

    reason = "stream-ended"

    def __init__(self, why: str) -> None:
        super().__init__(why)


class Stream:
    """One request and its answer. ``headers`` are the peer's first ones, ``trailers`` its last."""

    def __init__(self, connection: "Connection", stream_id: int) -> None:
        self._connection = connection
        self.id = stream_id
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.task: asyncio.Task[None] | None = None
        self._arrived: deque[tuple[bytes, int]] = deque()
        self._news = asyncio.Event()
        self._window = asyncio.Event()
        self._ended = False
        self._error = ""

    async def receive(self) -> bytes:
        """The next bytes; none at the end. Raises StreamEndedError."""
        while not self._arrived:
            if self._error:
                raise StreamEndedError(self._error)
            if self._ended:
                return b""
            self._news.clear()
            await self._news.wait()
        data, counted = self._arrived.popleft()
        self._connection.taken(self.id, counted)
        return data

    async def answered(self) -> None:
        """Wait for the peer's headers. Raises StreamEndedError."""
        while not self.headers:
            if self._error or self._ended:
                raise StreamEndedError(self._error or "the stream ended without headers")
            self._news.clear()
            await self._news.wait()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Raises StreamEndedError."""
        view = memoryview(data)
        while True:
            size = min(len(view), self._room())
            if size or not view:
                last = end and size == len(view)
                await self._connection.send(self.id, bytes(view[:size]), last)
                view = view[size:]
                if not view:
                    return
                continue
            self._window.clear()
            await self._window.wait()

    def _room(self) -> int:
        if self._error:
            raise StreamEndedError(self._error)
        return self._connection.room(self.id)

    async def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Raises StreamEndedError."""
        if self._error:
            raise StreamEndedError(self._error)
        await self._connection.send_headers(self.id, headers, end)

    def reset(self) -> None:
        """No more of it, either way."""
        self._connection.reset(self.id)
        self.fail("the stream was cancelled")

    # ── from the connection ──────────────────────────────────────────────────────────────────────────────────

    def arrive(self, data: bytes, counted: int) -> None:
        self._arrived.append((data, counted))
        self._news.set()

    def arrive_headers(self, headers: Iterable[Any], *, trailers: bool) -> None:
        (self.trailers if trailers else self.headers).update(_joined(headers))
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def open_window(self) -> None:
        self._window.set()

    def fail(self, why: str) -> None:
        """What has arrived can still be read, unless it was reset."""
        if not self._ended and not self._error:
            self._error = why
        self._news.set()
        self._window.set()
        if self.task is not None:
            self.task.cancel()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """What was written goes out first, if the peer takes it; the socket is closed either way."""
    writer.close()
    try:
        async with asyncio.timeout(_LAST_WORDS):
            await writer.wait_closed()
    except OSError:  # a timeout is one, too
        writer.transport.abort()


def _joined(headers: Iterable[Any]) -> dict[str, str]:
    """Of a header that comes several times all values, as HTTP has it."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


class Connection:
    """:meth:`run` until it ends. ``accept`` serves what the peer opens; None on the client's side."""

    def __init__(self, sock: socket.socket, accept: Accept | None = None) -> None:
        self._socket = sock
        self._accept = accept
        config = h2.config.H2Configuration(client_side=accept is None, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.local_settings = h2.settings.Settings(
            client=accept is None,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: _HEADERS_LIMIT,
            },
        )
        self._h2.max_inbound_frame_size = self._h2.local_settings.max_frame_size
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self.closed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the peer is gone; then every stream has ended."""
        why = "the connection was closed"
        self._socket.setblocking(False)
        try:
            reader, writer = await asyncio.open_connection(sock=self._socket)
        except BaseException:
            self._socket.close()
            raise
        self._writer = writer
        try:
            self._h2.initiate_connection()
            self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
            self._flush()
            self._ready.set()
            while data := await reader.read(_READ):
                for event in self._h2.receive_data(data):
                    self._handle(event)
                self._flush()
                await writer.drain()
        except h2.exceptions.ProtocolError as exc:
            why = f"the peer does not speak HTTP/2: {exc}"
            self._flush()
        except (ConnectionError, TimeoutError) as exc:
            why = f"the connection was lost: {exc}"
        finally:
            await self._end(why)

    async def _end(self, why: str) -> None:
        self.closed.set()
        self._ready.set()
        for stream in list(self._streams.values()):
            stream.fail(why)
        self._streams.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._writer is not None:
            await _closed(self._writer)

    def close(self) -> None:
        """Say goodbye; :meth:`run` ends when the peer has heard it."""
        if self._writer is not None and not self.closed.is_set():
            with suppress(h2.exceptions.ProtocolError):
                self._h2.close_connection()
            self._flush()
            self._writer.close()

    async def open(self, headers: Headers) -> Stream:
        """A stream of our own. Raises StreamEndedError."""
        await self._ready.wait()
        if self.closed.is_set():
            raise StreamEndedError("the connection was closed")
        stream = Stream(self, self._h2.get_next_available_stream_id())
        self._streams[stream.id] = stream
        await self.send_headers(stream.id, headers, False)
        return stream

    # ── for streams ──────────────────────────────────────────────────────────────────────────────────────────

    def room(self, stream_id: int) -> int:
        try:
            window = int(self._h2.local_flow_control_window(stream_id))
        except h2.exceptions.ProtocolError as exc:
            raise StreamEndedError(f"the stream has ended ({type(exc).__name__})") from exc
        return max(min(window, self._h2.max_outbound_frame_size), 0)

    async def send(self, stream_id: int, data: bytes, end: bool) -> None:
        await self._do(lambda: self._h2.send_data(stream_id, data, end_stream=end))

    async def send_headers(self, stream_id: int, headers: Headers, end: bool) -> None:
        await self._do(lambda: self._h2.send_headers(stream_id, headers, end_stream=end))

    async def _do(self, action: Callable[[], object]) -> None:
        if self._writer is None or self.closed.is_set():
            raise StreamEndedError("the connection was closed")
        try:
            action()
        except h2.exceptions.ProtocolError as exc:
            raise StreamEndedError(f"the stream has ended ({type(exc).__name__})") from exc
        self._flush()
        try:
            await self._writer.drain()
        except ConnectionError as exc:
            raise StreamEndedError("the connection was lost") from exc

    def taken(self, stream_id: int, counted: int) -> None:
        if self.closed.is_set() or not counted:
            return
        with suppress(h2.exceptions.ProtocolError, KeyError, ValueError):
            self._h2.increment_flow_control_window(counted, stream_id)
        self._flush()

    def reset(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)
        with suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    # ── from the peer ────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, event: Any) -> None:
        stream = self._streams.get(getattr(event, "stream_id", 0))
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event.stream_id, event.headers)
        elif isinstance(event, h2.events.DataReceived):
            if event.flow_controlled_length:
                self._h2.increment_flow_control_window(event.flow_controlled_length)
            if stream is not None and event.data:
                stream.arrive(event.data, event.flow_controlled_length)
        elif isinstance(event, h2.events.ResponseReceived) and stream is not None:
            stream.arrive_headers(event.headers, trailers=False)
        elif isinstance(event, h2.events.TrailersReceived) and stream is not None:
            stream.arrive_headers(event.headers, trailers=True)
        elif isinstance(event, h2.events.StreamEnded) and stream is not None:
            stream.end()
        elif isinstance(event, h2.events.StreamReset) and stream is not None:
            self._streams.pop(stream.id, None)
            stream.fail("the peer has cancelled")
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for one in [stream] if stream is not None else list(self._streams.values()):
                one.open_window()
        elif isinstance(event, h2.events.ConnectionTerminated) and self._accept is None:
            for one in list(self._streams.values()):
                one.fail("the peer has closed the connection")

    def _begin(self, stream_id: int, headers: Iterable[Any]) -> None:
        assert self._accept is not None
        stream = self._streams[stream_id] = Stream(self, stream_id)
        stream.arrive_headers(headers, trailers=False)
        stream.task = asyncio.create_task(self._serve(stream, self._accept))
        self._tasks.add(stream.task)
        stream.task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream, accept: Accept) -> None:
        try:
            await accept(stream)
        except RundletError:
            # Whoever would hear of it is gone.
            pass
        finally:
            self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """It has been served, or answered."""
        self._streams.pop(stream.id, None)
