"""The engine's side of the launcher: start it, have it fork shims and workers, start it again when it is gone.

The launcher's process must begin before the engine holds locks, listening sockets, database handles or keys: call
:meth:`Launcher.start` first thing.
"""

import asyncio
import fcntl
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final

from rundlet.errors import InternalError, UnavailableError
from rundlet.runtime import protocol
from rundlet.runtime.protocol import Order
from rundlet.util.layout import Layout

_FD_VARIABLE: Final = "RUNDLET_LAUNCHER_FD"
_ENVIRONMENT: Final = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "RUNDLET_CGROUP",
    "PYTHONDONTWRITEBYTECODE",
)
_BOOTSTRAP: Final = "import sys;sys.path.append({path!r});from rundlet.daemon.launcher import main;main(sys.argv[1:])"
_CHILD_FD: Final = 3
_PAUSE: Final = 1.0  # seconds between a launcher and the one that replaces it unasked


class LauncherError(InternalError):
    """The launcher could not do what it was asked to."""

    reason = "launcher-failed"


class WorkerProcess:
    """One worker, forked by the launcher."""

    def __init__(self, launcher: "Launcher", pid: int, ended: "asyncio.Future[int]") -> None:
        self.pid = pid
        self._launcher = launcher
        self._ended = ended

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it. Raises: UnavailableError when the launcher is gone."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if not self._ended.done():
            self._launcher.post(Order(protocol.KILL, 0, self.pid))


class Launcher:
    """A connection to a launcher process."""

    def __init__(self, layout: Layout, engine: Sequence[str]) -> None:
        self._layout = layout
        self._engine = list(engine)
        self._socket: socket.socket | None = None
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[Order]] = {}
        self._workers: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, int] = {}
        self._starting = asyncio.Lock()
        self._writable = asyncio.Lock()
        self._closed = False
        self._started = -_PAUSE  # when the last one was, on the loop's clock
        self._successor: asyncio.Task[None] | None = None
        self.pid = 0  # of the launcher; 0 while there is none, or when it is not our child

    @classmethod
    async def start(cls, layout: Layout, engine: Sequence[str] = ()) -> "Launcher":
        """Start a launcher, or adopt the one that started this engine.

        ``engine`` is the command (absolute path first) that starts this engine again should it die without
        :meth:`bye`; empty: it is not started again.

        Raises: LauncherError.
        """
        launcher = cls(layout, engine)
        inherited = os.environ.pop(_FD_VARIABLE, "")
        if inherited.isdigit() and await launcher._adopt(int(inherited)):
            return launcher
        await launcher._connected()
        return launcher

    async def shim(self, container_id: str, spec: bytes, control: socket.socket) -> int:
        """Fork a shim for ``spec`` (JSON) with ``control`` (SEQPACKET) as its end of the first connection.

        The caller closes ``control``. Returns the shim's process number. Raises: LauncherError.
        """
        memory = os.memfd_create("spec", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(protocol.pack_spec(json.loads(spec)))
            _seal(memory)
            answer = await self._request(protocol.SHIM, container_id[:64], [memory, control.fileno()])
        finally:
            os.close(memory)
        return answer.value

    async def worker(self, kind: str, fds: Sequence[int]) -> WorkerProcess:
        """Fork a worker of ``kind`` with ``fds`` (which the caller closes). Raises: LauncherError."""
        answer = await self._request(protocol.WORKER, kind, fds)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if answer.value in self._early:
            future.set_result(self._early.pop(answer.value))
        else:
            self._workers[answer.value] = future
        return WorkerProcess(self, answer.value, future)

    def bye(self) -> None:
        """The engine ends on purpose and is not to be started again. Closes the connection."""
        self._closed = True
        if self._successor is not None:
            self._successor.cancel()
        self.post(Order(protocol.BYE))
        self._drop(expected=True)

    def post(self, order: Order) -> None:
        """Send without an answer; nothing happens where there is no launcher."""
        if self._socket is not None:
            try:
                self._socket.send(order.encode())
            except OSError:
                pass  # the reader sees the end of the connection

    async def _request(self, kind: int, name: str, fds: Sequence[int]) -> Order:
        connection = await self._connected()
        self._seq += 1
        seq = self._seq
        future: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        self._waiting[seq] = future
        try:
            await self._send(connection, Order(kind, seq, 0, name), fds)
            answer = await future
        except OSError as exc:
            raise LauncherError(f"cannot reach the launcher: {exc}") from exc
        finally:
            self._waiting.pop(seq, None)
        if answer.kind == protocol.FAILED:
            raise LauncherError(f"the launcher failed: {os.strerror(answer.value)}")
        return answer

    async def _send(self, connection: socket.socket, order: Order, fds: Sequence[int]) -> None:
        async with self._writable:
            while True:
                try:
                    protocol.send_packet(connection, order.encode(), list(fds))
                    return
                except BlockingIOError:
                    await _writable(connection)

    async def _connected(self) -> socket.socket:
        async with self._starting:
            if self._socket is None:
                if self._closed:
                    raise UnavailableError("the engine is shutting down")
                self._watch(self._spawn())
                self._started = asyncio.get_running_loop().time()
            assert self._socket is not None
            return self._socket

    async def _succeed(self) -> None:
        """Start another launcher: at once, unless the last one hardly lived. A request may be quicker."""
        try:
            await asyncio.sleep(max(0.0, self._started + _PAUSE - asyncio.get_running_loop().time()))
            await self._connected()
        except (LauncherError, UnavailableError):
            pass  # the next request tries again, and says so

    async def _adopt(self, fd: int) -> bool:
        """Take over the launcher at ``fd``. False: it is gone, or of another version, which ends after its children."""
        try:
            connection = socket.socket(fileno=fd)
        except OSError:
            return False
        os.set_inheritable(fd, False)
        self._watch(connection)
        try:
            answer = await self._request(protocol.HELLO, "", ())
        except LauncherError:
            return False  # it was killed since it started us, and nobody but us can start another
        if answer.value == protocol.LAUNCHER_VERSION:
            return True
        self.post(Order(protocol.BYE))
        self._drop(expected=True)
        return False

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        interpreter = str(getattr(sys, "_base_executable", "") or sys.executable)
        bootstrap = _BOOTSTRAP.format(path=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        argv = [interpreter, "-I", "-S", "-c", bootstrap, interpreter, bootstrap, *self._engine]
        log = os.open(
            f"{self._layout.run}/launcher.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        source = theirs.fileno() if theirs.fileno() != _CHILD_FD else os.dup(theirs.fileno())
        try:
            self.pid = os.posix_spawn(
                interpreter,
                argv,
                {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, source, _CHILD_FD),
                ],
                setsid=True,
            )
        except OSError as exc:
            ours.close()
            raise LauncherError(f"cannot start the launcher: {exc}") from exc
        finally:
            os.close(log)
            if source != theirs.fileno():
                os.close(source)
            theirs.close()
        return ours

    def _watch(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        asyncio.get_running_loop().add_reader(connection, self._readable)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data, fds = protocol.receive_packet(self._socket)
            protocol.close_all(fds)
            if not data:
                self._drop()
                return
            self._take(Order.decode(data))
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, protocol.ProtocolError):
            self._drop()

    def _take(self, order: Order) -> None:
        if order.kind == protocol.ENDED:
            future = self._workers.pop(order.value, None)
            if future is None:
                self._note_early(order.value, int(order.name))
            elif not future.done():
                future.set_result(int(order.name))
            return
        waiting = self._waiting.get(order.seq)
        if waiting is not None and not waiting.done():
            waiting.set_result(order)

    def _note_early(self, pid: int, code: int) -> None:
        """A worker may end before its STARTED was looked at. Shims end here too: keep only the last few."""
        self._early[pid] = code
        while len(self._early) > 64:
            self._early.pop(next(iter(self._early)))

    def _drop(self, *, expected: bool = False) -> None:
        """The connection is gone: what waited for it fails; another launcher starts, as it watches over the engine."""
        if self._socket is None:
            return
        if not expected:
            self._successor = asyncio.get_running_loop().create_task(self._succeed(), name="another launcher")
        if self.pid and not expected:
            _reap(self.pid)
        self.pid = 0
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        self._early.clear()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(LauncherError("the launcher ended"))
        for future in self._workers.values():
            if not future.done():
                future.set_exception(UnavailableError("the launcher ended"))
                future.exception()  # seen: nobody needs to wait for a worker
        self._workers.clear()


def _seal(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def _reap(pid: int, tries: int = 50) -> None:
    """Collect a launcher that died, so that it does not stay a zombie; it may take a moment to end."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
    if not done and tries:
        asyncio.get_running_loop().call_later(0.1, _reap, pid, tries - 1)


async def _writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(connection, wake)
    try:
        await ready
    finally:
        loop.remove_writer(connection)
