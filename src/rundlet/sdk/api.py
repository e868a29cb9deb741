"""Calls of the Engine API, each over a connection of its own, so that threads don't meet."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from rundlet.cli.context import Context
from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError, ClientError, ConnectError
from rundlet.client.session import Session
from rundlet.sdk.errors import EngineError, NotReachableError, from_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rundlet.client.http import Hijacked

_HEADER = 8


class Api:
    """``host`` as for ``-H``; None: as the command line would choose. Every method raises EngineError."""

    def __init__(self, host: str | None = None) -> None:
        self._host = host
        self._sessions: set[Session] = set()
        self._aborted = False
        self._settings: dict[str, Any] = {
            "config": "",
            "context": "",
            "host": [host] if host else [],
            "tls": False,
            "tlscacert": "",
            "tlscert": "",
            "tlskey": "",
            "tlsverify": False,
        }

    def twin(self) -> Api:
        """Another one to the same engine, which can be aborted by itself."""
        return Api(self._host)

    def abort(self) -> None:
        """Let every call that is under way, in whatever thread, end with an error, and every later one."""
        self._aborted = True
        for session in tuple(self._sessions):
            session.interrupt()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Connections for the time of a call; its errors become ours."""
        context = Context("rundlet", self._settings)
        try:
            session = context.session
            self._sessions.add(session)
            if self._aborted:
                session.interrupt()
            try:
                yield session
            finally:
                self._sessions.discard(session)
        except ApiError as exc:
            raise from_status(exc) from exc
        except ConnectError as exc:
            raise NotReachableError(str(exc)) from exc
        except (ClientError, CommandError) as exc:
            raise EngineError(str(exc)) from exc
        finally:
            context.close()

    def get(self, path: str, /, **query: Any) -> Any:
        with self.session() as session:
            return session.get(path, query)

    def post(self, path: str, /, body: Any = None, **query: Any) -> Any:
        with self.session() as session:
            return session.post(path, query, body)

    def delete(self, path: str, /, **query: Any) -> Any:
        with self.session() as session:
            return session.delete(path, query)

    def upload(self, method: str, path: str, data: bytes | Iterator[bytes], /, **query: Any) -> list[Any]:
        """A tar stream as the body; the messages of the answer, the first error among them raised."""
        pieces = iter((data,)) if isinstance(data, bytes) else data
        with self.session() as session:
            return _checked(session.stream(method, path, query=query, stream=pieces))

    def progress(self, path: str, /, **query: Any) -> list[Any]:
        """POST whose answer tells its progress; the first error in it is raised."""
        with self.session() as session:
            return _checked(session.stream("POST", path, query=query))

    def download(self, path: str, /, **query: Any) -> bytes:
        with self.session() as session:
            return session.request("GET", path, query=query).read()

    def messages(self, path: str, /, **query: Any) -> Iterator[Any]:
        """JSON values of an endless answer, until the caller has enough."""
        with self.session() as session:
            yield from session.stream("GET", path, query=query)

    def frames(self, path: str, /, *, framed: bool, **query: Any) -> Iterator[tuple[int, bytes]]:
        """(stream, data) of an answer that is output."""
        with self.session() as session:
            yield from split(session.request("GET", path, query=query).chunks(), framed=framed)

    @contextlib.contextmanager
    def hijacked(self, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Iterator[Hijacked]:
        """A connection that has become a raw stream."""
        with self.session() as session:
            yield session.hijack(path, query, body)


def received(stream: Hijacked) -> Iterator[bytes]:
    """What comes on a raw stream, to its end."""
    while data := stream.recv():
        yield data


def exchange(stream: Hijacked, data: bytes | None) -> Iterator[bytes]:
    """What comes on a raw stream, to its end, while ``data`` and its end are sent; None: nothing is sent."""
    if data is None:
        yield from received(stream)
        return
    # By a thread: whoever gets this may write before it has read all, and stands still until that is read.
    sender = threading.Thread(target=_feed, args=(stream, data), daemon=True)
    sender.start()
    try:
        yield from received(stream)
    finally:
        with contextlib.suppress(OSError):
            stream.socket.shutdown(2)
        sender.join()


def _feed(stream: Hijacked, data: bytes) -> None:
    with contextlib.suppress(OSError):  # who reads it has ended
        stream.send(data)
        stream.close_write()


def split(chunks: Iterator[bytes], *, framed: bool) -> Iterator[tuple[int, bytes]]:
    """Output by its stream (1: stdout, 2: stderr); of a terminal, which knows no frames, all is stdout."""
    if not framed:
        for chunk in chunks:
            yield 1, chunk
        return
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(buffer[4:_HEADER], "big")
            if len(buffer) < end:
                break
            yield buffer[0], buffer[_HEADER:end]
            buffer = buffer[end:]


def _checked(messages: Iterator[Any]) -> list[Any]:
    found = list(messages)
    for message in found:
        if isinstance(message, dict) and "error" in message:
            raise EngineError(str(message["error"]))
    return found
