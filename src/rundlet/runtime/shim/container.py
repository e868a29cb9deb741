"""The life of one container: created → starting → running → exited, and back to starting under a restart policy.

| state    | event                         | next     |
|----------|-------------------------------|----------|
| created  | start                         | starting |
| starting | READY and end of file         | running  |
| starting | failure, or end without READY | exited   |
| running  | pidfd readable                | exited, or restarting |
| restarting | timer                       | starting |
| restarting | stop, signal, new policy    | exited   |

Nothing leaves *exited*: the shim cleans up and ends.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from rundlet.linux import libc, ns, passwd
from rundlet.runtime import external, protocol
from rundlet.runtime.init import main as init_main
from rundlet.runtime.init import plan
from rundlet.runtime.init.main import Program
from rundlet.runtime.init.program import environment
from rundlet.runtime.init.report import Report
from rundlet.runtime.logfile import LogWriter
from rundlet.runtime.shim import failures
from rundlet.runtime.shim.cgroups import ContainerCgroup
from rundlet.runtime.shim.child import Child
from rundlet.runtime.shim.loop import Loop
from rundlet.runtime.shim.sandbox import Sandbox
from rundlet.runtime.shim.stdio import Pipes, take_master
from rundlet.runtime.shim.streams import Hub

CREATED: Final = "created"
STARTING: Final = "starting"
RUNNING: Final = "running"
EXITED: Final = "exited"

Spec = Mapping[str, Any]
_TERMINAL_GRACE: Final = 1.0  # seconds
Started = Callable[["failures.StartError | None"], None]


class Container:
    """``on_exit(code)`` is called once, when a container that ran has ended for good and its output is logged."""

    def __init__(self, loop: Loop, spec: Spec, on_exit: Callable[[int], None], on_detach: Callable[[], None]) -> None:
        self.spec = spec
        self.state = CREATED
        self.paused = False
        self.started_ns = 0
        self.finished_ns = 0
        self.oom = False
        self.user = plan.User(0, 0, ())
        self.home = "/"
        self.seccomp = b""
        self.child: Child | external.ExternalProcess | None = None
        self.external: external.ExternalProcess | None = None
        stdio = spec["stdio"]
        log = spec.get("log") or {"driver": "none"}
        self.log: LogWriter | None = None
        if log["driver"] == "json-file":
            self.log = LogWriter(log["path"], log.get("max_size") or 0, log.get("max_file") or 1)
        self.sandbox = Sandbox(spec)
        self.cgroup = ContainerCgroup(spec)
        self.hub = Hub(
            loop, self.log, tty=bool(stdio["tty"]), stdin_once=bool(stdio.get("stdin_once")), on_detach=on_detach
        )
        self.loop = loop
        self._on_exit = on_exit
        self._on_started: Started | None = None
        self._master: socket.socket | None = None
        self._step = "internal"
        self._failure: Report | None = None
        self._program = (spec["oci"]["process"].get("args") or [""])[0]
        self._code = 0
        self.master = -1

    @property
    def pid(self) -> int:
        return self.child.pid if self.child is not None and self.child.alive() else 0

    def start(self, done: Started) -> None:
        """Set everything up and start the program; ``done`` is called with None or the failure."""
        self.state = STARTING
        self._on_started = done
        try:
            self._prepare()
            if spec_runtime(self.spec):
                self._launch_external()
            else:
                self._launch()
        except Exception as exc:
            self._failed(failures.from_exception(self._step, exc))

    def signal(self, number: int) -> None:
        """Raises: ProcessLookupError when it does not run."""
        if self.child is None:
            raise ProcessLookupError("container not running")
        self.child.signal(number)
        if number == 9 and self.paused:
            self.thaw()  # a frozen process dies only when it is thawed

    def freeze(self) -> None:
        self.cgroup.group.freeze()
        self.paused = True

    def thaw(self) -> None:
        self.cgroup.group.thaw()
        self.paused = False

    def _prepare(self) -> None:
        spec = self.spec
        self._step = "cgroup"
        if not spec_runtime(spec):
            self.cgroup.create()
        self._step = "rootfs"
        self.sandbox.enter()
        self._step = "network"
        self.sandbox.connect()
        self._step = "seccomp"
        if spec.get("seccomp"):
            with open(spec["seccomp"], "rb") as file:
                self.seccomp = file.read()

    def _resolve_user(self) -> None:
        wanted = self.spec["oci"]["process"].get("user") or {}
        named = self.spec.get("user")
        if named is None:
            groups = tuple(wanted.get("additionalGids") or ())
            self.user = plan.User(wanted.get("uid", 0), wanted.get("gid", 0), groups)
            return
        root = os.open(self.sandbox.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = passwd.resolve_user(root, named, self.spec.get("groups") or ())
        finally:
            os.close(root)
        self.user = plan.User(found.uid, found.gid, tuple(found.additional_gids))
        self.home = found.home

    def _launch(self) -> None:
        spec, oci = self.spec, self.spec["oci"]
        self._step = "user"
        self._resolve_user()
        self._step = "namespace"
        flags = self.sandbox.open_namespaces()
        self._step = "internal"
        private = any(item["type"] == "cgroup" for item in oci["linux"].get("namespaces") or ())
        size = spec["stdio"].get("size") or (0, 0)
        prepared = plan.Prepared(
            self.sandbox.rootfs,
            self.user,
            dict(self.sandbox.binds),
            tuple(self.sandbox.namespaces),
            tuple(self.cgroup.join_fds()),
            self.cgroup.view(private=private),
            self.seccomp,
            (size[0], size[1]),
        )
        steps = plan.build(oci, spec["id"], prepared)
        process = oci["process"]
        program = Program(process["args"], environment(process.get("env") or (), self.home), bool(spec.get("init")))
        self._step = "stdio"
        pipes = Pipes(tty=bool(spec["stdio"]["tty"]), stdin=bool(spec["stdio"].get("open_stdin")))
        self._step = "namespace"
        if self.sandbox.pid_namespace >= 0:
            libc.setns(self.sandbox.pid_namespace, ns.CLONE_NEWPID)
        birth = self.cgroup.birth_fd()
        pid, process_fd = libc.clone3(flags, cgroup_fd=birth)
        if pid == 0:
            init_main.run(steps, program, pipes.wiring(prepared.descriptors()))
        if birth >= 0:
            os.close(birth)
        protocol.close_all(prepared.descriptors())
        self.sandbox.binds = {}
        pipes.connect(self.hub)
        self._master = pipes.master
        self.child = Child(self.loop, pid, process_fd, pipes.report, self._started, self._ended)

    def _launch_external(self) -> None:
        """Have another OCI runtime start the container in our root file system and network namespace."""
        self._step = "user"
        self._resolve_user()
        self._step = "runtime"
        mode = self.spec["net"]["mode"]
        network = None if mode == "host" else ns.path(os.getpid(), "network")
        config = external.bundle(self.spec, self.sandbox.rootfs, self.user, network, self.home)
        stdio = self.spec["stdio"]
        pipes = Pipes(tty=bool(stdio["tty"]), stdin=bool(stdio.get("open_stdin")), report=False, console=False)
        wiring = pipes.wiring()
        child = external.ExternalProcess(
            self.loop,
            self.spec,
            self._external_started,
            self._failed,
            self._ended,
            self.sandbox.host_network,
        )
        self.child = self.external = child
        try:
            child.start(
                config,
                (wiring.stdin, wiring.stdout, wiring.stderr),
                self._take_console if stdio["tty"] else None,
            )
        finally:
            pipes.connect(self.hub)

    def _external_started(self) -> None:
        self._started(True, None)

    def _take_console(self, connection: socket.socket) -> None:
        self._master = connection

    def _started(self, ok: bool, report: Report | None) -> None:
        if not ok:
            self._failure = report  # the end of the process, which is near, tells: see _ended
            return
        self.state = RUNNING
        self.started_ns = time.time_ns()
        self._take_master()
        if self._on_started:
            self._on_started(None)
            self._on_started = None

    def _take_master(self) -> None:
        if self._master is not None:
            self.master = take_master(self._master, self.hub)
            self._master = None

    def _ended(self, code: int) -> None:
        self.finished_ns = time.time_ns()
        self.oom = self.cgroup.oom_killed()
        if not self._private_pids():
            self._kill_rest()
        if self.state == STARTING:
            self._failed(failures.from_report(self._failure, self._program, is_exec=False))
            return
        self._code = code
        self.hub.drain()
        if self.hub.open() and self.hub.tty:
            # The kernel hands a terminal's last output on in a work queue: wait for its end, but not for ever, as
            # somebody outside may hold the terminal open.
            self.hub.on_output_end = self._finish
            self.loop.later(_TERMINAL_GRACE, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """All output is read."""
        if self.state == EXITED:
            return
        self.state = EXITED
        self.hub.on_output_end = None
        self.hub.close()
        if self.log is not None:
            self.log.finish()
        self._on_exit(self._code)

    def _failed(self, error: failures.StartError) -> None:
        self.state = EXITED
        self.finished_ns = time.time_ns()
        self.hub.close()
        if self._on_started:
            self._on_started(error)
            self._on_started = None

    def release(self) -> None:
        """Remove the cgroup, the runtime's state, and what else must not outlive the container. Never raises."""
        if self.external is not None:
            self.external.delete()
        try:
            self.cgroup.remove()
        except OSError:
            pass  # the engine's start-up check removes what is left

    def _private_pids(self) -> bool:
        """Whether the kernel has killed all processes of the container with its init."""
        entries = self.spec["oci"]["linux"].get("namespaces") or ()
        return any(entry["type"] == "pid" and not entry.get("path") for entry in entries)

    def _kill_rest(self) -> None:
        try:
            self.cgroup.kill()
        except OSError:
            pass  # what can't be killed keeps the group: removing it will say so


def spec_runtime(spec: Spec) -> str | None:
    """The other runtime that the container is to run under."""
    path: str | None = (spec.get("runtime") or {}).get("path")
    return path
