"""Long answers to clients of this machine: more of them on their way at once, so that nobody waits for small pieces."""

import asyncio
import contextlib
import socket
from typing import Final

ROOM: Final = 4 << 20
"""Bytes that a connection may hold; the kernel counts its own part of each piece as well."""
_SO_SNDBUFFORCE: Final = 32


def widen(transport: asyncio.BaseTransport | None) -> None:
    """Let a unix connection take :data:`ROOM` bytes without waiting, or as many as this user may have."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family != socket.AF_UNIX:
        return
    # The first is for root, and without the bound that every user's sockets have.
    for option in (_SO_SNDBUFFORCE, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, ROOM)
            return
