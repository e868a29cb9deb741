"""The shim's control connections: the first one from its launch, later ones by its socket.

Requests are handled in order; answers may come later (start, exec). Every connection gets every event.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, Final

from rundlet.runtime import protocol
from rundlet.runtime.protocol import Message
from rundlet.runtime.shim import failures
from rundlet.runtime.shim.loop import READ, Loop

_BACKLOG: Final = 16
_MODE: Final = 0o600

Reply = Callable[[Message], None]
Handler = Callable[[Message, list[int], Reply], None]


class Server:
    """``handle(request, fds, reply)`` owns ``fds``; it replies with ``{"ok": …}`` or ``{"error": …}``."""

    def __init__(self, loop: Loop, path: str, handle: Handler) -> None:
        self._loop = loop
        self._path = path
        self._handle = handle
        self._connections: list[socket.socket] = []
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
        self._connections.append(connection)
        self._loop.add(connection.fileno(), READ, lambda _events: self._readable(connection))

    def event(self, message: Message) -> None:
        """Tell every connection."""
        for connection in list(self._connections):
            self._send(connection, message)

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
        for connection in list(self._connections):
            self._drop(connection)

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if protocol.peer_is(connection, os.geteuid()):
            self.add(connection)
        else:
            connection.close()

    def _readable(self, connection: socket.socket) -> None:
        try:
            data, fds = protocol.receive_packet(connection)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, protocol.ProtocolError):
            self._drop(connection)
            return
        if not data:
            self._drop(connection)
            return
        try:
            request = protocol.decode_request(data, fds)
            seq = request.get("seq")
        except (OSError, protocol.ProtocolError):
            protocol.close_all(fds)
            self._drop(connection)
            return

        def reply(answer: Message) -> None:
            self._send(connection, {"seq": seq} | answer)

        try:
            self._handle(request, fds, reply)
        except Exception as exc:
            reply({"error": failures.from_exception(str(request.get("op")), exc).wire()})

    def _send(self, connection: socket.socket, message: Message) -> None:
        if connection not in self._connections:
            return
        try:
            data = protocol.encode(message)
        except protocol.ProtocolError as exc:
            data = protocol.encode(
                {"seq": message.get("seq"), "error": failures.from_exception("protocol", exc).wire()}
            )
        try:
            protocol.send_packet(connection, data)
        except OSError:
            # An engine that doesn't read its answers (the buffer holds hundreds) is as good as gone.
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._loop.remove(connection.fileno())
            connection.close()
            if not self._connections and self.on_alone:
                self.on_alone()


def ok(**values: Any) -> Message:
    return {"ok": values}
