"""Keeps a process for many containers running: connects to the one that runs, or has the launcher fork another.

It lives for as long as a container or this connection needs it, and outlives the engine. Its end shows as the end of
the connection.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from rundlet.errors import RundletError
from rundlet.runtime.launch import Launcher

_log = logging.getLogger(__name__)
_BACKLOG = 512
_HELLO = json.dumps({"engine": True}).encode()
_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class WorkerKeeper:
    """``kind`` is the launcher's name for the process, ``path`` the socket that it listens at."""

    def __init__(self, launcher: Launcher, kind: str, path: str) -> None:
        self._launcher = launcher
        self._kind = kind
        self._path = path
        self.on_started: Callable[[], Awaitable[None]] = _nothing
        """Awaited when a new process runs, which knows no container yet."""
        self._connection: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._restart: asyncio.Task[None] | None = None

    async def ensure(self) -> None:
        """Have the process, from now on. Raises LauncherError, OSError."""
        if self._connection is not None:
            return
        async with self._lock:
            if self._connection is not None or self._closed:
                return
            found = self._connected()
            self._watch(found or await self._started())
        if found is None:
            await self.on_started()

    def close(self) -> None:
        """The engine ends; the process stays while containers need it."""
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        self._drop()

    def tell(self, message: bytes) -> None:
        """Say something on the engine's own connection; lost when the process has just ended."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(message, socket.MSG_NOSIGNAL)

    def descriptors(self, opened: contextlib.ExitStack) -> list[int]:
        """What the process gets besides its listening socket; ``opened`` closes our copies. Raises OSError."""
        return []

    def _connected(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            connection.connect(self._path)
            connection.send(_HELLO, socket.MSG_NOSIGNAL)
        except OSError:
            connection.close()
            return None
        return connection

    async def _started(self) -> socket.socket:
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as opened:
            opened.callback(listener.close)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            listener.bind(self._path)
            listener.listen(_BACKLOG)
            await self._launcher.worker(self._kind, [listener.fileno(), *self.descriptors(opened)])
        connection = self._connected()
        if connection is None:
            raise OSError(f"the {self._kind} at {self._path} ended at once")
        return connection

    def _watch(self, connection: socket.socket) -> None:
        self._connection = connection
        asyncio.get_running_loop().add_reader(connection, self._ended)

    def _drop(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None

    def _ended(self) -> None:
        """It never sends anything: this is its end."""
        self._drop()
        if not self._closed:
            _log.warning("the %s ended: another one is started", self._kind)
            self._restart = asyncio.get_running_loop().create_task(self._restarted(), name=self._kind)

    async def _restarted(self) -> None:
        pause = _PAUSE
        while self._connection is None and not self._closed:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                await self.ensure()
            except (RundletError, OSError) as error:
                _log.error("cannot start the %s: %s", self._kind, error)


async def _nothing() -> None:
    return None
