"""Processes that join a running container."""

import gc
import os
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
        self._running = False
        self._code = 0
        self._finished = False

    def started(self, ok: bool, report: Report | None) -> None:
        if not ok:
            self._failure = report
            return
        self._running = True
        if self.connection is not None:
            self.master = take_master(self.connection, self.hub)
            self.connection = None
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
            self._done(failures.from_report(self._failure, self._program, is_exec=True), 0)
            self._ended_call(self._code)


class Execs:
    """All of a container's."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._running: dict[str, Exec] = {}
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

    def get(self, exec_id: str) -> Exec:
        """Raises: KeyError."""
        return self._running[exec_id]

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
        joining = exec_main.Joining(container.child.pidfd, tuple(container.cgroup.join_fds()))
        birth = container.cgroup.birth_fd(container.child.pid)
        try:
            pid, process_fd = self.spawn(wanted, joining, pipes.wiring(), birth)
        except OSError:
            pipes.discard()
            raise
        finally:
            if birth >= 0:
                os.close(birth)
        for fd in joining.cgroup:
            os.close(fd)
        pipes.connect(item.hub)
        item.connection = pipes.master
        item.child = Child(container.loop, pid, process_fd, pipes.report, item.started, item.ended)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
