"""Processes that join a running container."""

import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from rundlet.runtime.exec import main as exec_main
from rundlet.runtime.init.report import Report
from rundlet.runtime.init.users import Users
from rundlet.runtime.shim import failures
from rundlet.runtime.shim.child import Child
from rundlet.runtime.shim.container import RUNNING, Container
from rundlet.runtime.shim.stdio import Pipes, take_master
from rundlet.runtime.shim.streams import STDERR, STDIN, STDOUT, Hub

_TIDY: Final = 0.1  # seconds after an exec's end
Done = Callable[["failures.StartError | None", int], None]


class Exec:
    """One of them."""

    def __init__(self, container: Container, hub: Hub, program: str, done: Done, ended: Callable[[int], None]) -> None:
        self.hub = hub
        self.child: Child | None = None
        self.master = -1
        self.connection: socket.socket | None = None
        self._container = container
        self._program = program
        self._done = done
        self._ended_call = ended
        self._failure: Report | None = None
        self._error: failures.StartError | None = None
        self._running = False
        self._code = 0
        self._finished = False

    def started(self, ok: bool, report: Report | None) -> None:
        if not ok:
            self._failure = report
            return
        if self.connection is not None:
            connection, self.connection = self.connection, None
            self.master = take_master(connection, self.hub)
        self._running = True
        assert self.child is not None
        self._done(None, self.child.pid)

    def ended(self, code: int) -> None:
        self._code = code
        self.hub.drain()
        if self.hub.open() and self._running:
            # Its children may hold the pipes open for as long as they live: Docker waits for the end of the output
            # only for a moment, too.
            self.hub.on_output_end = self._finish
            self.hub.loop.later(0.2 if self.hub.tty else 0.05, self._finish)
        else:
            self._finish()

    def wind_up(self) -> None:
        """The container has ended: if the process has, nothing is waited for any more."""
        if self.child is not None:
            self.child.look()
            if not self.child.alive():
                self._finish()

    def broken(self, exc: Exception) -> None:
        """Something that nobody thought of: this exec ends, the container lives on."""
        failures.report("an exec was given up", exc)
        self._code = -signal.SIGKILL
        self._error = failures.from_exception("exec", exc)
        if self.child is not None:
            self.child.abandon()
        self._finish()

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        self.hub.on_output_end = None
        self.hub.drain()
        self.hub.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        if self._running:
            self._ended_call(self._code)
        else:
            error = self._error or failures.from_report(self._failure, self._program, is_exec=True)
            self._done(error, 0)
            self._ended_call(self._code)


class Execs:
    """All of a container's."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._running: dict[str, Exec] = {}
        self._owed: list[Hub] = []  # of execs that are over: clients have not got everything yet
        self.on_quiet: Callable[[], None] | None = None
        self.spawn = exec_main.spawn
        self._tidying = False

    def start(
        self,
        request: Mapping[str, Any],
        stdio_fd: int,
        done: Done,
        ended: Callable[[int], None],
        on_detach: Callable[[], None],
    ) -> None:
        """Start ``request["process"]`` (an OCI process) as ``request["exec_id"]``. Owns ``stdio_fd`` (or -1).

        Raises: StartError when it can't even be tried; ``stdio_fd`` is closed then.
        """
        container = self._container
        exec_id, process = request["exec_id"], request["process"]
        if container.state != RUNNING or container.child is None or not container.child.alive():
            _close(stdio_fd)
            raise failures.StartError("state", 0, f"container {container.spec['id']} is not running")
        if container.paused:
            _close(stdio_fd)
            raise failures.StartError("state", 0, f"container {container.spec['id']} is paused")
        tty = bool(request.get("tty"))
        hub = Hub(container.loop, None, tty=tty, stdin_once=True, on_detach=on_detach)
        if stdio_fd >= 0:
            wanted = {STDOUT, STDERR} | ({STDIN} if request.get("stdin") else set())
            hub.attach(stdio_fd, frozenset(wanted), bytes(request.get("detach_keys") or ()))

        def over(code: int) -> None:
            self._running.pop(exec_id, None)
            ended(code)
            self._tidy_later()
            self._wait_for_clients(hub)

        item = Exec(container, hub, (process.get("args") or [""])[0], done, over)
        try:
            self._fork(item, request, attached=stdio_fd >= 0)
        except Exception as exc:
            hub.close()
            raise failures.from_exception("exec", exc) from exc
        self._running[exec_id] = item

    def _tidy_later(self) -> None:
        """The collector is off (it would unshare the launcher's memory); an exec's parts refer to each other."""
        if not self._tidying:
            self._tidying = True
            self._container.loop.later(_TIDY, self._tidy)

    def _tidy(self) -> None:
        self._tidying = False
        gc.collect()

    def wind_up(self) -> None:
        """The container has ended: those that have, too, are told of first."""
        for item in list(self._running.values()):
            item.wind_up()

    def busy(self) -> bool:
        """Whether one runs, or clients are still owed output; ``on_quiet`` is called at the end of that."""
        return bool(self._running or self._owed)

    def _wait_for_clients(self, hub: Hub) -> None:
        if hub.busy():
            self._owed.append(hub)
            hub.on_clients_gone = lambda: self._clients_gone(hub)
        else:
            self._look_if_quiet()

    def _clients_gone(self, hub: Hub) -> None:
        hub.on_clients_gone = None
        self._owed.remove(hub)
        self._look_if_quiet()

    def _look_if_quiet(self) -> None:
        if not self.busy() and self.on_quiet:
            self.on_quiet()

    def get(self, exec_id: str) -> Exec:
        """Raises: KeyError."""
        return self._running[exec_id]

    def names(self) -> list[str]:
        """Of those that run."""
        return list(self._running)

    def count(self) -> int:
        return len(self._running)

    def _fork(self, item: Exec, request: Mapping[str, Any], *, attached: bool) -> None:
        container, process = self._container, request["process"]
        assert container.child is not None
        tty = bool(request.get("tty"))
        size = request.get("size") or (0, 0)
        wanted = exec_main.Request(
            dict(process) | {"terminal": tty},
            container.spec["id"],
            request.get("user"),
            container.user,
            container.home,
            container.seccomp,  # as runc: a privileged exec gets capabilities, the filter stays
            (size[0], size[1]),
            Users.of(container.spec["facts"]),
        )
        pipes = Pipes(tty=tty, stdin=bool(request.get("stdin")), output=attached)
        opened: list[int] = []
        try:
            joining = exec_main.Joining(container.child.pidfd, tuple(container.cgroup.join_fds()))
            opened += joining.cgroup
            birth = container.cgroup.birth_fd(container.child.pid)
            opened += [birth] if birth >= 0 else []
            pid, process_fd = self.spawn(wanted, joining, pipes.wiring(), birth)
        except BaseException:
            pipes.discard()
            raise
        finally:
            for fd in opened:
                os.close(fd)
        pipes.connect(item.hub)
        item.connection = pipes.master
        item.child = Child(container.loop, pid, process_fd, pipes.report, item.started, item.ended, item.broken)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
