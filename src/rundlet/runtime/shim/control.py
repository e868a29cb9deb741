"""The shim's control connections: the first one from its launch, later ones by its socket.

Requests are handled in order; answers may come later (start, exec). Every connection gets every event. What an engine
does not read, as it stands still, is kept for it, ``_MOST_WAITING`` bytes at most.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rundlet.linux.loop import READ, WRITE, Loop
from rundlet.runtime import protocol
from rundlet.runtime.protocol import Message
from rundlet.runtime.shim import failures

_BACKLOG: Final = 16
_MOST_WAITING: Final = 4 << 20  # bytes of answers and events
_PAUSE: Final = 0.1  # seconds until connections are taken again, where there was no descriptor for one
_MODE: Final = 0o600

Reply = Callable[[Message], None]
Handler = Callable[[Message, list[int], Reply], None]


class _Connection:
    """A peer's socket, and what it has not read yet."""

    __slots__ = ("socket", "waiting", "waiting_bytes", "watched")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.watched = False  # for room


class Server:
    """``handle(request, fds, reply)`` owns ``fds``; it replies with ``{"ok": …}`` or ``{"error": …}``."""

    def __init__(self, loop: Loop, path: str, handle: Handler) -> None:
        self._loop = loop
        self._path = path
        self._handle = handle
        self._connections: list[_Connection] = []
        self._listener: socket.socket | None = None
        self.on_alone: Callable[[], None] | None = None  # the last connection ended

    def listen(self) -> None:
        """Raises: OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        old = os.umask(0o777 & ~_MODE)
        try:
            listener.bind(self._path)
        finally:
            os.umask(old)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self._loop.add(listener.fileno(), READ, self._accept)

    def add(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        peer = _Connection(connection)
        self._connections.append(peer)
        self._loop.add(connection.fileno(), READ, lambda events: self._ready(peer, events))

    def event(self, message: Message) -> None:
        """Tell every connection."""
        for peer in list(self._connections):
            self._send(peer, message)

    def unlink(self) -> None:
        """Take no more connections; the present ones stay."""
        if self._listener is not None:
            self._loop.remove(self._listener.fileno())
            self._listener.close()
            self._listener = None
            try:
                os.unlink(self._path)
            except OSError:
                pass

    def close(self) -> None:
        self.unlink()
        for peer in list(self._connections):
            self._drop(peer)

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as exc:  # no descriptor, no memory: it would be reported at once again, and again
            failures.report("a connection could not be taken", exc)
            self._loop.remove(self._listener.fileno())
            self._loop.later(_PAUSE, self._accept_again)
            return
        if protocol.peer_is(connection, os.geteuid()):
            self.add(connection)
        else:
            connection.close()

    def _accept_again(self) -> None:
        if self._listener is not None:
            self._loop.add(self._listener.fileno(), READ, self._accept)

    def _ready(self, peer: _Connection, events: int) -> None:
        if events & WRITE:
            self._flush(peer)
        if events & ~WRITE and peer in self._connections:
            self._readable(peer)

    def _readable(self, peer: _Connection) -> None:
        try:
            data, fds = protocol.receive_packet(peer.socket)
        except (BlockingIOError, InterruptedError):
            return
        except protocol.DescriptorsLostError as exc:
            self._refuse(peer, exc)
            return
        except (OSError, protocol.ProtocolError):
            self._drop(peer)
            return
        if not data:
            self._drop(peer)
            return
        try:
            request = protocol.decode_request(data, fds)
            seq = request.get("seq")
        except (OSError, protocol.ProtocolError):
            protocol.close_all(fds)
            self._drop(peer)
            return

        def reply(answer: Message) -> None:
            self._send(peer, {"seq": seq} | answer)

        try:
            self._handle(request, fds, reply)
        except Exception as exc:
            reply({"error": failures.from_exception(str(request.get("op")), exc).wire()})

    def _refuse(self, peer: _Connection, lost: protocol.DescriptorsLostError) -> None:
        """There was no room for what the request brings."""
        try:
            request = protocol.decode(lost.data)
        except protocol.ProtocolError:
            self._drop(peer)
            return
        error = failures.from_exception(str(request.get("op")), OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        self._send(peer, {"seq": request.get("seq"), "error": error.wire()})

    def _send(self, peer: _Connection, message: Message) -> None:
        if peer not in self._connections:
            return
        try:
            data = protocol.encode(message)
        except protocol.ProtocolError as exc:
            data = protocol.encode(
                {"seq": message.get("seq"), "error": failures.from_exception("protocol", exc).wire()}
            )
        peer.waiting.append(data)
        peer.waiting_bytes += len(data)
        if len(peer.waiting) == 1:
            self._flush(peer)
        elif peer.waiting_bytes > _MOST_WAITING:
            self._drop(peer)  # an engine that reads nothing for that long is as good as gone

    def _flush(self, peer: _Connection) -> None:
        try:
            while peer.waiting:
                protocol.send_packet(peer.socket, peer.waiting[0])
                peer.waiting_bytes -= len(peer.waiting.popleft())
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if peer.watched != bool(peer.waiting):
            peer.watched = bool(peer.waiting)
            self._loop.change(peer.socket.fileno(), READ | WRITE if peer.watched else READ)

    def _drop(self, peer: _Connection) -> None:
        if peer in self._connections:
            self._connections.remove(peer)
            self._loop.remove(peer.socket.fileno())
            peer.socket.close()
            if not self._connections and self.on_alone:
                self.on_alone()


def ok(**values: Any) -> Message:
    return {"ok": values}
