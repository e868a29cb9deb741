"""A file of the client's instead of its bytes: its descriptor comes over the unix socket.

::

    client                                                engine
    POST …, Upgrade: descriptor                    ──▶
                                                   ◀──    101 Switching Protocols
    one byte, with one descriptor (SCM_RIGHTS)     ──▶    reads the file
                                                   ◀──    the answer, as HTTP again; then the connection ends

An archive then crosses no socket. What can't be done so is answered with 421, and the client sends the bytes: a socket
that somebody carries further (ssh, socat) passes no descriptors, and a file system that a process or another machine
answers for (FUSE, NFS) may keep a reader waiting for ever. See: unix(7), RFC 9110 section 7.8.
"""

import asyncio
import io
import os
import socket
import stat
from collections.abc import Iterator
from typing import Final

from rundlet.errors import InvalidParameterError, RundletError
from rundlet.linux import libc, mount
from rundlet.server import answers
from rundlet.server.call import Call

PROTOCOL: Final = "descriptor"
_PIECE: Final = 256 << 10
_PATIENCE: Final = 10.0
"""Seconds for the descriptor to come: the client has it at hand."""
_HEAD: Final = "\r\n".join(
    (
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        f"Upgrade: {PROTOCOL}",
        *(f"{name}: {value}" for name, value in answers.HEADERS.items()),
        "\r\n",
    )
).encode()


class NotLentError(RundletError):
    """The file can't be read here: the client is to send its bytes (421)."""

    status = 421
    reason = "not-lent"


class LentFile:
    """The rest of a client's file, in pieces; read from the place where the client has left it."""

    def __init__(self, fd: int) -> None:
        """``fd`` is owned from now on, also where this raises NotLentError."""
        try:
            _check(fd)
        except BaseException:
            os.close(fd)
            raise
        self._file = io.FileIO(fd)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        self._file.close()


def _check(fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise NotLentError("only a regular file can be read by the engine")
    if libc.filesystem_type(fd) in mount.ANSWERED_BY_OTHERS:
        raise NotLentError("the file lies on a file system that may keep its readers waiting")


async def borrow(call: Call) -> LentFile:
    """The file that the client of ``call`` lends; the answer is the last one on its connection.

    Raises InvalidParameterError for a request that doesn't offer one, NotLentError, ConnectionError.
    """
    if call.header("Upgrade").lower() != PROTOCOL:
        raise InvalidParameterError(f"this endpoint takes a file's descriptor: the request needs Upgrade: {PROTOCOL}")
    transport = call.request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if not isinstance(transport, asyncio.Transport) or sock is None:
        raise ConnectionResetError("client went away")
    if sock.family != socket.AF_UNIX or not sock.getsockname():  # TLS ends in a pair of sockets of our own
        raise NotLentError("descriptors come over unix sockets only")
    # What the transport reads it reads without descriptors: they would be lost.
    transport.pause_reading()
    try:
        with socket.socket(fileno=os.dup(sock.fileno())) as line:
            transport.write(_HEAD)
            call.request.protocol.close()  # after the answer: nothing else is understood on this connection
            fd = await _received(line)
    finally:
        transport.resume_reading()
    return LentFile(fd)


async def _received(line: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()
    loop.add_reader(line, _wake, come)
    try:
        async with asyncio.timeout(_PATIENCE):
            await come
    except TimeoutError as exc:
        raise NotLentError("no descriptor came") from exc
    finally:
        loop.remove_reader(line)
    data, fds, _flags, _address = socket.recv_fds(line, 1, 1, socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise NotLentError("the client went away")
    if not fds:
        raise NotLentError("no descriptor came with the byte: the socket does not lead here directly")
    return fds[0]


def _wake(come: "asyncio.Future[None]") -> None:
    if not come.done():
        come.set_result(None)
