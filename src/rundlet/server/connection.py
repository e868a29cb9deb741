"""A client's connection that may have said its last word and still wants the answer.

``printf 'GET /info …' | socat - UNIX-CONNECT:…`` and many a script close their sending side after the request. aiohttp
leaves it to asyncio to end the whole connection then; here the requests that came whole are answered first.
"""

import asyncio
import logging
import select
import socket
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from rundlet.server import answers

log = logging.getLogger(__name__)

_LOOK: Final = 1.0
"""Seconds between looks at a client that half-closed: a full close shows as a hang-up only."""
_PATIENCE: Final = 10.0
"""Seconds for the answer over TCP, where a client that left altogether looks the same until it is written to."""


class Connection(RequestHandler):
    """As aiohttp's; its end of file is the end of one direction."""

    __slots__ = ("_deadline", "_look")

    _look: asyncio.Handle | None
    _deadline: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._look = None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """False closes the connection: nothing is to be answered, or what is asked did not come whole."""
        if self._idle() or not self._whole() or self._hung_up():
            return False
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + _PATIENCE
            self._look = loop.call_soon(self._watch)
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP is its client's affair: an answer, and no page in the engine's log for each."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        said = (message or "").partition("\n")[0].rstrip(":")
        log.debug("not HTTP: %s", said)
        answer = answers.json({"message": said or "bad request"}, status)
        answer.force_close()
        return answer

    def _idle(self) -> bool:
        return not self._messages and self._waiter is not None

    def _whole(self) -> bool:
        """Whether the requests that are to be answered came with all of their bodies."""
        bodies = [payload for _, payload in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        return self._payload_parser is None and all(body.is_eof() for body in bodies)

    def _watch(self) -> None:
        """Until everything is answered, or nobody is there any more to read it."""
        transport = self.transport
        if transport is None or transport.is_closing() or transport.get_protocol() is not self:
            return
        loop = asyncio.get_running_loop()
        late = not self._is_local() and loop.time() >= self._deadline
        if late or self._idle() or not self._whole() or self._hung_up():
            transport.abort()
            return
        if not self._messages and self._current_request is not None:
            self.close()  # after the request that is being answered
        self._look = loop.call_later(_LOOK, self._watch)

    def _is_local(self) -> bool:
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        return sock is not None and sock.family == socket.AF_UNIX

    def _hung_up(self) -> bool:
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is None or sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


class Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)
