"""Pipes between the event loop and workers."""

import asyncio
import fcntl
from typing import Final

_PIPE_SIZE: Final = 1 << 20


def widen(pipe: int) -> None:
    """Room for a mebibyte, where the user's limit allows it."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except PermissionError:
        pass  # a smaller one is slower, no more


async def readable(fd: int) -> None:
    """Return when ``fd`` has something, or its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Return when ``fd`` has room, or nobody reads it any more."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
