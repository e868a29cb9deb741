"""TLS in front of the server, with half-closed connections.

A client that has sent all its input says so (``close_notify``) and goes on reading: attach and exec live from that.
asyncio's own TLS ends the whole connection then. So each connection is decrypted here and passed on to the server over
a pair of sockets, on which each side's end of file stays an end of one direction.
"""

import asyncio
import logging
import select
import socket
import ssl
import weakref
from collections.abc import Callable
from typing import Final, cast

_log = logging.getLogger(__name__)

_CHUNK: Final = 65536
_HANDSHAKE: Final = 30.0
"""Seconds in which a client must have shown its certificate."""
_LIMIT: Final = 512 * 1024

Factory = Callable[[], asyncio.BaseProtocol]


class TlsConnection(asyncio.Protocol):
    """The client's side; ``server`` makes the protocol that serves what is inside."""

    def __init__(self, context: ssl.SSLContext, server: Factory) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._inner: _Inner | None = None
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handshaken = False
        self._ended = False
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_LIMIT)
        self._timer = asyncio.get_running_loop().call_later(_HANDSHAKE, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._inner is not None:
            self._inner.close()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        self._incoming.write_eof()
        self._advance()
        return not self._finished

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_reading()

    def send(self, data: bytes) -> None:
        """What the server answers."""
        if self._transport is None:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            _log.debug("tls: %s", error)
            self.abort()
            return
        self._flush()

    def finish(self) -> None:
        """The server has sent its last word."""
        if self._transport is None or self._finished:
            return
        self._finished = True
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # The client has yet to say its own.
        self._flush()
        if self._ended:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def hold(self, *, back: bool) -> None:
        """Take no more (or again) from the client."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if back else self._transport.resume_reading)()

    def close(self) -> None:
        """After what is still to be sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        try:
            if not self._handshaken:
                self._tls.do_handshake()
                self._handshaken = True
                self._open()
            if self._inner is not None:
                self._read(self._inner)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, OSError) as error:
            # The alert that says why still goes out.
            _log.debug("tls: %s", error)
            self._flush()
            if self._transport is not None:
                self._transport.close()
            return
        self._flush()

    def _read(self, inner: "_Inner") -> None:
        """Raises SSLWantReadError at the end of what is there."""
        while not self._ended:
            try:
                data = self._tls.read(_CHUNK)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            if data:
                inner.write(data)
                continue
            self._ended = True
            inner.end()
            if self._finished and self._transport is not None:
                self._transport.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None:
            self._transport.write(data)

    def _open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.hold(back=True)
        self._opening = asyncio.get_running_loop().create_task(self._join(), name="tls connection")

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        try:
            _, inner = await loop.connect_accepted_socket(lambda: _Inner(self), near)
            await loop.connect_accepted_socket(self._server, far)
        except OSError as error:
            _log.error("tls: %s", error)
            near.close()
            far.close()
            self.abort()
            return
        self._inner = inner
        if self._transport is None:
            inner.close()
            return
        self.hold(back=False)
        self._advance()


class TlsGate:
    """Makes the connections of one listening socket, and ends them."""

    def __init__(self, context: ssl.SSLContext, server: Factory) -> None:
        self._context = context
        self._server = server
        self._open: weakref.WeakSet[TlsConnection] = weakref.WeakSet()

    def __call__(self) -> TlsConnection:
        made = TlsConnection(self._context, self._server)
        self._open.add(made)
        return made

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()


def _hung_up(fd: int) -> bool:
    """Whether the other end is closed altogether, not for one direction."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class _Inner(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, outer: TlsConnection) -> None:
        self._outer = outer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_LIMIT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._outer.finish()

    def data_received(self, data: bytes) -> None:
        self._outer.send(data)

    def eof_received(self) -> bool:
        self._outer.finish()
        if self._transport is not None and _hung_up(self._transport.get_extra_info("socket").fileno()):
            self._outer.close()  # Nobody will read what the client may still send.
            return False
        return True

    def pause_writing(self) -> None:
        self._outer.hold(back=True)

    def resume_writing(self) -> None:
        self._outer.hold(back=False)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
