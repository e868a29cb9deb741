"""What a backend hands to the server when an answer is a stream, and is handed when a request brings one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from socket import socket as Socket
from typing import Protocol, TypeAlias

from rundlet.api.containers import PathStat


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's or exec's standard streams, attached.

    ``socket`` is a connected stream socket whose other end is the supervisor's: what is read from it goes to the client
    as it is (framed as in ``stdcopy`` without a terminal, raw with one), what the client types is written to it, and
    the end of the client's input becomes ``shutdown(SHUT_WR)``. The server owns and closes it. None: there is nothing
    live to follow, only ``backlog``.

    ``backlog`` comes before what the socket says: the log, framed in the same way.
    ``detach_keys`` of an exec are those it was created with.
    ``settled`` is awaited, for ``patience`` seconds at most, between the socket's end and the answer's: clients ask
    for the exit code as soon as they see the end.
    ``on_detach`` is called once when the client typed the detach keys.
    ``spool``: a directory where output is kept for a client that has stopped reading; empty: its source waits.
    """

    tty: bool
    socket: Socket | None = None
    backlog: AsyncIterator[bytes] | None = None
    detach_keys: str = ""
    settled: Callable[[], Awaitable[object]] | None = None
    patience: float = 1.0
    on_detach: Callable[[], None] | None = None
    spool: str = ""


@dataclass(frozen=True, slots=True)
class LogStream:
    """A container's log: ``chunks`` are ready to send, framed as in ``stdcopy`` unless the container has a terminal."""

    tty: bool
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Archive:
    """A path of a container as a tar stream; ``stat`` describes the path itself."""

    stat: PathStat
    chunks: AsyncIterator[bytes]


class LentArchive(Protocol):
    """A file of the client's, to be read in a thread, in pieces. Who has read it closes it."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


SentArchive: TypeAlias = AsyncIterator[bytes] | LentArchive
"""An archive as it arrives, or the client's file itself."""
