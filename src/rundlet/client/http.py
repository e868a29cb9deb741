"""HTTP/1.1 over one connected socket: requests, bodies by length or in chunks, and the switch to a raw stream.

Only what the Engine API uses; a peer that sends anything else gets a ClientError, never a guess.
"""

from __future__ import annotations

from rundlet.client.errors import ClientError
from rundlet.client.wire import loads, scan, skip_whitespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Protocol

    from rundlet.client.filebody import FileBody

    class Socket(Protocol):
        """What ``_socket.socket``, ``socket.socket`` and ``ssl.SSLSocket`` have in common."""

        def recv(self, size: int, /) -> bytes: ...
        def recv_into(self, buffer: memoryview, /) -> int: ...
        def sendall(self, data: bytes, /) -> None: ...
        def shutdown(self, how: int, /) -> None: ...
        def fileno(self) -> int: ...
        def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
        def close(self) -> None: ...


READ_SIZE = 65536
MSG_DONTWAIT = 0x40
POUR_SIZE = 1 << 20
MAX_HEADER = 1 << 20
MAX_CHUNK_LINE = 1024


class Connection:
    """A socket with what was read ahead from it. One request at a time.

    ``origin`` and ``extra``: what a proxy on the way wants before each target, and in each head.
    """

    def __init__(
        self, socket: Socket, host_header: str, origin: str = "", extra: Mapping[str, str] | None = None
    ) -> None:
        self.socket = socket
        self.host_header = host_header
        self.origin = origin
        self.extra = extra or {}
        self.buffer = b""
        self.idle = True

    def close(self) -> None:
        self.socket.close()
        self.idle = False

    def interrupt(self) -> None:
        """End whatever a thread waits for here; closing the socket would not wake it."""
        try:
            self.socket.shutdown(2)
        except OSError:
            return  # it had ended

    def fill(self) -> bool:
        """Read once into the buffer; False at the end of the stream. Raises ClientError."""
        try:
            data = self.socket.recv(READ_SIZE)
        except OSError as exc:
            raise ClientError(f"error during connect: read: {exc.strerror or exc}") from exc
        self.buffer += data
        return bool(data)

    def fill_into(self, place: memoryview) -> int:
        """Read once past the (empty) buffer: how much. Raises ClientError, also at the end of the stream."""
        try:
            count = self.socket.recv_into(place)
        except OSError as exc:
            raise ClientError(f"error during connect: read: {exc.strerror or exc}") from exc
        if not count:
            raise ClientError("unexpected EOF")
        return count

    def line(self, limit: int = MAX_CHUNK_LINE) -> bytes:
        """The next line without its CRLF."""
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > limit:
                raise ClientError("malformed HTTP response: line too long")
            if not self.fill():
                raise ClientError("unexpected EOF")
        text, self.buffer = self.buffer[:end], self.buffer[end + 1 :]
        return text.removesuffix(b"\r")

    def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | FileBody | Iterable[bytes] | None
    ) -> None:
        """Write one request; a body whose length nobody knows goes out in chunks. Raises ClientError."""
        self.idle = False
        lines = [f"{method} {self.origin}{target} HTTP/1.1", f"Host: {self.host_header}", "User-Agent: Rundlet-Client"]
        lines += [f"{name}: {value}" for name, value in self.extra.items()]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        file: FileBody | None = body if getattr(body, "size", 0) else None  # type: ignore[assignment]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        elif file is not None:
            lines.append(f"Content-Length: {file.size}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        elif method == "POST":
            lines.append("Content-Length: 0")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
        try:
            if body is None or isinstance(body, bytes):
                self.socket.sendall(head + (body or b""))
                return
            self.socket.sendall(head)
            if file is not None:
                file.send_to(self.socket)
                return
            for piece in body:
                if piece:
                    self.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.socket.sendall(b"0\r\n\r\n")
        except BrokenPipeError:
            # The engine may have refused the body early: its answer, waiting to be read, says why.
            return
        except OSError as exc:
            raise ClientError(f"error during connect: write: {exc.strerror or exc}") from exc

    def receive(self, *, head_request: bool = False) -> Response:
        """The response to the request sent last, its body not yet read. Raises ClientError."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MAX_HEADER:
                raise ClientError("malformed HTTP response: header too large")
            if not self.fill():
                raise ClientError("error during connect: EOF")
        head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
        first, *lines = head.decode("iso-8859-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or len(rest) < 3 or not rest[:3].isdigit():
            raise ClientError(f"malformed HTTP response {first[:80]!r}")
        status = int(rest[:3])
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if status == 100:
            return self.receive(head_request=head_request)
        return Response(self, status, headers, bodiless=head_request or status in (101, 204, 304))


class Response:
    """Status, headers (names in lower case) and the body, to be read once, whole or piece by piece."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], *, bodiless: bool) -> None:
        self.connection = connection
        self.status = status
        self.headers = headers
        self._bodiless = bodiless
        if bodiless:
            self._done()

    def _done(self) -> None:
        if self.headers.get("connection", "").lower() == "close":
            self.connection.close()
        elif self.status != 101:
            self.connection.idle = True

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises ClientError when it ends early."""
        return self._body(None)  # type: ignore[return-value]  # without a buffer it is all bytes

    def _body(self, scratch: memoryview | None) -> Iterator[bytes | memoryview]:
        if self._bodiless:
            return
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunked(scratch)
        elif "content-length" in self.headers:
            yield from self._sized(int(self.headers["content-length"]), scratch)
        else:
            self.headers["connection"] = "close"
            yield from self._until_end()
        self._bodiless = True
        self._done()

    def pour(self, write: Callable[[bytes | memoryview], object]) -> None:
        """Give the body to ``write`` as it arrives, each piece valid until it returns. Raises ClientError.

        For what is long: much is read at once, and into one buffer.
        """
        for piece in self._body(memoryview(bytearray(POUR_SIZE))):
            write(piece)

    def _sized(self, left: int, scratch: memoryview | None) -> Iterator[bytes | memoryview]:
        if left < 0:
            raise ClientError(f"malformed HTTP response: length {left}")
        connection = self.connection
        while left:
            if not connection.buffer and scratch is not None:
                count = connection.fill_into(scratch[:left])
                left -= count
                yield scratch[:count]
                continue
            if not connection.buffer and not connection.fill():
                raise ClientError("unexpected EOF")
            piece, connection.buffer = connection.buffer[:left], connection.buffer[left:]
            left -= len(piece)
            yield piece

    def _chunked(self, scratch: memoryview | None) -> Iterator[bytes | memoryview]:
        while True:
            text = self.connection.line().partition(b";")[0]
            try:
                size = int(text, 16)
            except ValueError as exc:
                raise ClientError(f"malformed HTTP response: chunk size {text[:20]!r}") from exc
            if size == 0:
                while self.connection.line():
                    pass
                return
            yield from self._sized(size, scratch)
            self.connection.line()

    def _until_end(self) -> Iterator[bytes]:
        connection = self.connection
        while connection.buffer or connection.fill():
            piece, connection.buffer = connection.buffer, b""
            yield piece

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The whole body as JSON."""
        return loads(self.read())

    def json_stream(self) -> Iterator[Any]:
        """One value after the other, as each is complete."""
        text = ""
        pending = b""
        for piece in self.chunks():
            # A UTF-8 sequence may be cut by a chunk's end: only whole lines, or what decodes, is looked at.
            pending += piece
            try:
                text += pending.decode()
                pending = b""
            except UnicodeDecodeError as exc:
                if len(pending) - exc.start > 4:
                    text += pending.decode("utf-8", "replace")
                    pending = b""
                    continue
                text += pending[: exc.start].decode()
                pending = pending[exc.start :]
            index = skip_whitespace(text, 0)
            while index < len(text):
                try:
                    value, index = scan(text, index)
                except (StopIteration, ValueError):
                    break
                yield value
                index = skip_whitespace(text, index)
            text = text[index:]
        if text.strip():
            raise ClientError(f"the engine's answer ended within a message: {text[:80]!r}")

    def hijack(self) -> Hijacked:
        """Take the socket over: what was read ahead, and then the raw stream."""
        leftover, self.connection.buffer = self.connection.buffer, b""
        framed = self.headers.get("content-type") == "application/vnd.docker.multiplexed-stream"
        return Hijacked(self.connection.socket, leftover, framed=framed)


class Hijacked:
    """A raw two-way stream in place of HTTP. ``framed``: the engine announced stdout and stderr in frames."""

    def __init__(self, socket: Socket, leftover: bytes, *, framed: bool) -> None:
        self.socket = socket
        self.leftover = leftover
        self.framed = framed

    def fileno(self) -> int:
        return self.socket.fileno()

    def pending(self) -> bool:
        """Whether data can be read although the descriptor may not be readable (read ahead, or inside TLS)."""
        if self.leftover:
            return True
        pending = getattr(self.socket, "pending", None)
        return bool(pending and pending())

    def recv(self) -> bytes:
        """What has come, at least one byte; nothing at the end."""
        if self.leftover:
            data, self.leftover = self.leftover, b""
            return data
        try:
            return self.socket.recv(READ_SIZE)
        except ConnectionResetError:
            return b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_some(self, data: bytes | memoryview) -> int:
        """Send what the other side takes without being waited for; how much that was. Within TLS all of it is sent."""
        send = getattr(self.socket, "send", None)
        if send is None:
            self.socket.sendall(bytes(data))
            return len(data)
        try:
            return int(send(data, MSG_DONTWAIT))
        except BlockingIOError:
            return 0

    def close_write(self) -> None:
        """Tell the peer that no more input comes, and go on reading (half-close)."""
        try:
            self.socket.shutdown(1)
        except OSError:
            pass

    def close(self) -> None:
        self.socket.close()
