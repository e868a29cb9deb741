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

import array
import asyncio
import io
import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from rundlet.errors import InvalidParameterError, RundletError
from rundlet.linux import libc, mount
from rundlet.server import answers
from rundlet.server.call import Call
from rundlet.util import fs

PROTOCOL: Final = "descriptor"
_PIECE: Final = 256 << 10
_PATIENCE: Final = 10.0
"""Seconds for the descriptor to come: the client has it at hand. As many for what is asked about the file."""
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
        """``fd`` is owned from now on, also where this raises NotLentError, OSError. It may take for ever."""
        try:
            _check(fd)
            self._file = io.FileIO(fd)
        except BaseException:
            with suppress(OSError):
                os.close(fd)
            raise

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._piece():
            yield piece

    def _piece(self) -> bytes | None:
        try:
            return self._file.read(_PIECE)
        except OSError as exc:
            raise InvalidParameterError(f"the archive can't be read: {fs.failure(exc)}") from exc

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
    return await _opened(fd)


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
    # Not recv_fds(), which leaves out the flag. There is room for one: the kernel closes what else there is.
    fds = array.array("i")
    data, ancillary, _flags, _address = line.recvmsg(1, socket.CMSG_LEN(fds.itemsize), socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise NotLentError("the client went away")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content)
    if not fds:
        raise NotLentError("no descriptor came with the byte: the socket does not lead here directly")
    return fds[0]


def _wake(come: "asyncio.Future[None]") -> None:
    if not come.done():
        come.set_result(None)


async def _opened(fd: int) -> LentFile:
    """The file ``fd``, looked at in a thread of its own: who answers for a file system may leave any question about the
    file without an answer, also its close, and nobody else is to wait for that."""
    opened: Future[LentFile] = Future()
    threading.Thread(target=_open, args=(fd, opened), name="lent file", daemon=True).start()
    try:
        async with asyncio.timeout(_PATIENCE):
            return await asyncio.wrap_future(opened)
    except TimeoutError as exc:
        raise NotLentError("the file system does not answer") from exc
    except OSError as exc:
        raise NotLentError(f"the file can't be looked at: {fs.failure(exc)}") from exc


def _open(fd: int, opened: "Future[LentFile]") -> None:
    try:
        file = LentFile(fd)
    except Exception as exc:
        if opened.set_running_or_notify_cancel():
            opened.set_exception(exc)
        return
    if opened.set_running_or_notify_cancel():
        opened.set_result(file)
    else:
        file.close()  # nobody waits for it any more
