"""The engine's client of one shim: requests, answers and events over the control socket."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from rundlet.errors import InternalError, UnavailableError
from rundlet.runtime import protocol
from rundlet.runtime.protocol import Message

_CONNECT_TIMEOUT: Final = 5.0


class ShimRequestError(InternalError):
    """A request that the shim refused: ``step`` and ``errno`` say where and why, ``str()`` what the user is told."""

    reason = "runtime-failed"

    def __init__(self, step: str, errno: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.errno = errno


class ShimGoneError(UnavailableError):
    """The connection ended before the answer came."""

    reason = "shim-gone"

    def __init__(self) -> None:
        super().__init__("the container's shim is gone")


class NewerShimError(InternalError):
    """The shim speaks a version that this engine does not know."""

    reason = "newer-shim"

    def __init__(self, found: int) -> None:
        super().__init__(f"the container runs under shim version {found}, this Rundlet knows {protocol.SHIM_VERSION}")


class ShimClient:
    """One connection. Requests may be sent one after another without waiting; the shim handles them in order.

    Events are read with :meth:`events`, by one task. The end of the connection (:meth:`wait_closed`) means that the
    shim has given everything back, or has died.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Takes over ``connection`` (SEQPACKET): the engine's end of the pair given to ``Launcher.shim``."""
        connection.setblocking(False)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._closed = self._loop.create_future()
        self._outbox: list[tuple[bytes, list[int]]] = []
        self._loop.add_reader(connection, self._readable)

    @classmethod
    async def connect(cls, path: str) -> "ShimClient":
        """Connect to a shim that runs. Raises: ShimGoneError when nothing listens there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(connection, path)
        except (OSError, TimeoutError) as exc:
            connection.close()
            raise ShimGoneError from exc
        return cls(connection)

    async def hello(self) -> Message:
        """``version, id, pid, shim_pid, status, started_at_ns, finished_at_ns``.

        Raises: NewerShimError, ShimRequestError.
        """
        answer = await self.request("hello")
        if answer["version"] > protocol.SHIM_VERSION:
            raise NewerShimError(answer["version"])
        return answer

    async def attach(
        self, stream: socket.socket, *, stdin: bool, stdout: bool, stderr: bool, detach_keys: bytes = b""
    ) -> int:
        """Connect ``stream`` (one end of a stream socket pair; the caller closes it) to the container's streams.

        Output is framed as Docker's unless the container has a terminal. ``detach_keys`` (terminal only) end the
        attachment when typed. Returns the size in bytes of the current log file at that moment: what is in it then will
        not come over ``stream``, what comes later will.
        """
        answer = await self.request(
            "attach",
            [stream.fileno()],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            detach_keys=list(detach_keys),
        )
        size: int = answer.get("log_size", 0)
        return size

    async def start(self) -> Message:
        """``pid, started_at_ns, warnings``. Raises: ShimRequestError; the shim has then ended itself and cleaned up."""
        return await self.request("start")

    async def signal(self, number: int) -> None:
        """Send a signal to the container's first process. Raises: ShimRequestError."""
        await self.request("signal", signal=number)

    async def resize(self, height: int, width: int) -> None:
        await self.request("resize", height=height, width=width)

    async def freeze(self) -> None:
        await self.request("freeze")

    async def thaw(self) -> None:
        await self.request("thaw")

    async def update(self, resources: dict[str, Any], strict: Sequence[str] = ()) -> list[str]:
        """Change limits (OCI ``linux.resources``; only what is named). Returns warnings."""
        answer = await self.request("update", resources=resources, strict=list(strict))
        warnings: list[str] = answer["warnings"]
        return warnings

    async def set_restart(self, policy: str, maximum: int = 0) -> None:
        """Docker's restart policy from now on; "no" also ends a wait for the next restart."""
        await self.request("set_restart", policy=policy, max=maximum)

    async def exec(
        self,
        exec_id: str,
        process: dict[str, Any],
        stream: socket.socket | None = None,
        *,
        stdin: bool = False,
        tty: bool = False,
        size: tuple[int, int] = (0, 0),
        user: str | None = None,
        privileged: bool = False,
        detach_keys: bytes = b"",
    ) -> int:
        """Start another process (an OCI ``process``) in the container; returns its process number.

        Without ``stream`` (the caller closes it) nobody sees its output. ``user`` is looked up in the container; None:
        the container's user. Raises: ShimRequestError.
        """
        answer = await self.request(
            "exec",
            [] if stream is None else [stream.fileno()],
            exec_id=exec_id,
            process=process,
            stdin=stdin,
            tty=tty,
            size=list(size),
            user=user,
            privileged=privileged,
            detach_keys=list(detach_keys),
        )
        pid: int = answer["pid"]
        return pid

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        await self.request("exec_resize", exec_id=exec_id, height=height, width=width)

    async def exec_signal(self, exec_id: str, number: int) -> None:
        await self.request("exec_signal", exec_id=exec_id, signal=number)

    async def hold(self, fds: Sequence[int]) -> None:
        """Give the shim descriptors (bound sockets of published ports) to keep open until the container ends."""
        await self.request("hold", fds)

    async def log(self, stream: socket.socket) -> None:
        """Connect a logger: all output of all lives of the container goes to ``stream``, too (the caller closes it)."""
        await self.request("log", [stream.fileno()])

    async def net_attach(
        self,
        link: dict[str, Any],
        routes: Sequence[dict[str, str]],
        sysctls: dict[str, str],
        resolver: str,
    ) -> None:
        """One more interface in the container's network; ``routes`` replace the way out. Raises: ShimRequestError."""
        await self.request("net_attach", link=link, routes=list(routes), sysctls=sysctls, resolver=resolver)

    async def net_detach(self, name: str, routes: Sequence[dict[str, str]]) -> None:
        """The interface ``name`` less. Raises: ShimRequestError."""
        await self.request("net_detach", name=name, routes=list(routes))

    async def resolve(self, path: str) -> None:
        """Name the resolver that the container's look-ups go to from now on. Raises: ShimRequestError."""
        await self.request("resolve", path=path)

    async def events(self) -> AsyncIterator[Message]:
        """``{"event": "exited" | "exec_exited" | "oom" | "restarting" | …}`` until the connection ends."""
        while True:
            message = await self._events.get()
            if message is None:
                return
            yield message

    async def wait_closed(self) -> None:
        """Until the connection has ended."""
        await asyncio.shield(self._closed)

    def close(self) -> None:
        """Let go of the shim, which lives on."""
        self._end()

    def request(self, operation: str, fds: Sequence[int] = (), **values: Any) -> "asyncio.Future[Message]":
        """Send now, answer later: the packet is on its way (descriptors copied) when this returns.

        The future raises: ShimRequestError, ShimGoneError.
        """
        future: asyncio.Future[Message] = self._loop.create_future()
        if self._closed.done():
            future.set_exception(ShimGoneError())
            return future
        self._seq += 1
        seq = self._seq
        try:
            data, memory = protocol.encode_request({"op": operation, "seq": seq, **values})
        except (protocol.ProtocolError, OSError) as exc:
            future.set_exception(ShimRequestError("protocol", errno.E2BIG, f"{operation}: {exc}"))
            return future
        self._waiting[seq] = future
        self._outbox.append((data, [os.dup(fd) for fd in fds] + ([memory] if memory >= 0 else [])))
        self._flush()
        return future

    def _flush(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            try:
                protocol.send_packet(self._socket, data, fds)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                self._end()
                return
            self._outbox.pop(0)
            protocol.close_all(fds)
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data, fds = protocol.receive_packet(self._socket)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, protocol.ProtocolError):
            self._end()
            return
        protocol.close_all(fds)
        if not data:
            self._end()
            return
        try:
            self._take(protocol.decode(data))
        except protocol.ProtocolError:
            self._end()

    def _take(self, message: Message) -> None:
        if "event" in message:
            self._events.put_nowait(message)
            return
        future = self._waiting.pop(message.get("seq", 0), None)
        if future is None or future.done():
            return
        if "error" in message:
            error = message["error"]
            future.set_exception(ShimRequestError(error["step"], error["errno"], error["message"]))
        else:
            future.set_result(message["ok"])

    def _end(self) -> None:
        if self._closed.done():
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._closed.set_result(None)
        for _, fds in self._outbox:
            protocol.close_all(fds)
        self._outbox.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ShimGoneError())
        self._waiting.clear()
        self._events.put_nowait(None)
