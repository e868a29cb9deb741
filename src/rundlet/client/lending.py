"""A file that an engine of this machine reads by itself: it gets the descriptor, and no byte crosses the socket."""

from __future__ import annotations

import os
import stat
import sys

from rundlet.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rundlet.client.http import Response
    from rundlet.client.session import Session

WORTH = 1 << 20
"""Bytes; fewer are sent before the engine has looked at a descriptor."""
_OFFER = {"Connection": "Upgrade", "Upgrade": "descriptor"}
_NOT_LENT = 421
# Numbers of Linux: the module that has them costs more to load than it helps.
_SOL_SOCKET = 1
_SCM_RIGHTS = 1


def lend(session: Session, path: str, fd: int, query: Mapping[str, Any]) -> Response | None:
    """The answer of an engine that has read the rest of the regular file ``fd`` itself, asked for by ``path``.

    None where the bytes have to be sent: little is left, the engine is elsewhere, is another one than Rundlet, or can't
    read this file. ``fd`` stays the caller's and is where it was then. Raises ApiError, ClientError.
    """
    status = os.fstat(fd)
    if session.endpoint.scheme != "unix" or not stat.S_ISREG(status.st_mode):
        return None
    if status.st_size - os.lseek(fd, 0, os.SEEK_CUR) < WORTH:
        return None
    connection = session.send("POST", path, query=query, headers=_OFFER)
    response = connection.receive()
    if response.status != 101:
        response.read()
        session.release(connection)
        return None
    socket: Any = connection.socket  # a unix one
    try:
        socket.sendmsg((b"\0",), ((_SOL_SOCKET, _SCM_RIGHTS, fd.to_bytes(4, sys.byteorder)),))
    except BrokenPipeError:
        pass  # it has waited long enough: its answer says so
    except OSError as exc:
        raise ClientError(f"error during connect: write: {exc.strerror or exc}") from exc
    try:
        return session.answer(connection)
    except ApiError as exc:
        if exc.status != _NOT_LENT:
            raise
        connection.close()
        return None
