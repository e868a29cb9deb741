"""The life of one container.

| state      | event                                          | next                 |
|------------|------------------------------------------------|----------------------|
| created    | start                                          | starting             |
| starting   | READY and end of file on the report pipe       | running              |
| starting   | failure, or an end without READY               | exited               |
| running    | the process ended and its output is read       | exited or restarting |
| restarting | the delay has passed                           | starting             |
| restarting | the policy was changed to "no"                 | exited               |

Nothing leaves *exited*: the shim gives everything back and ends.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from rundlet.linux import libc, ns
from rundlet.linux.loop import Loop, Timer
from rundlet.runtime import external, protocol
from rundlet.runtime.init import plan
from rundlet.runtime.init.report import Report
from rundlet.runtime.logfile import LogWriter
from rundlet.runtime.shim import failures, plumbing, resolver, starter
from rundlet.runtime.shim.announcer import Announcer
from rundlet.runtime.shim.cgroups import ContainerCgroup
from rundlet.runtime.shim.child import Child
from rundlet.runtime.shim.foreign import ForeignStart
from rundlet.runtime.shim.resolver import ResolverFds
from rundlet.runtime.shim.restart import Policy
from rundlet.runtime.shim.sandbox import remove_links
from rundlet.runtime.shim.stdio import Pipes, take_master
from rundlet.runtime.shim.streams import Hub

CREATED: Final = "created"
STARTING: Final = "starting"
RUNNING: Final = "running"
RESTARTING: Final = "restarting"
EXITED: Final = "exited"
_TERMINAL_GRACE: Final = 1.0  # seconds

Spec = Mapping[str, Any]
Started = Callable[["failures.StartError | None"], None]


class Container:
    """Callbacks: ``on_exit(code, error)`` once, when it has ended for good and its output is logged;

    ``on_event(name, values)`` for what the engine should hear of in between.
    """

    # More attributes than instances share a table for: without slots each container would have its own, and to make
    # it would write to the page of every name.
    __slots__ = (
        "_announcer",
        "_code",
        "_console",
        "_failure",
        "_foreign",
        "_handover",
        "_logger",
        "_network",
        "_on_event",
        "_on_exit",
        "_on_started",
        "_pipes",
        "_resolver",
        "_rootfs",
        "_spec_fd",
        "_timer",
        "cgroup",
        "child",
        "finished_ns",
        "home",
        "hub",
        "log",
        "logger_gone",
        "loop",
        "master",
        "oom",
        "paused",
        "policy",
        "seccomp",
        "spawn",
        "spec",
        "started_ns",
        "state",
        "user",
        "users",
        "warnings",
    )

    def __init__(
        self,
        loop: Loop,
        spec: Spec,
        spec_fd: int,
        on_exit: Callable[[int, "failures.StartError | None"], None],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.spec = spec
        self.loop = loop
        self.state = CREATED
        self.paused = False
        self.started_ns = 0
        self.finished_ns = 0
        self.oom = False
        self.user = plan.User(0, 0, ())
        self.home = "/"
        self.warnings: list[str] = []
        self.master = -1
        self.seccomp = b""
        self.child: Child | external.ExternalProcess | None = None
        self.cgroup = ContainerCgroup(spec)
        self.policy = Policy(spec.get("restart") or {})
        log = spec.get("log") or {"driver": "none"}
        self.log: LogWriter | None = None
        if log["driver"] == "json-file":
            self.log = LogWriter(
                log["path"],
                log.get("max_size") or 0,
                log.get("max_file") or 1,
                compress=bool(log.get("compress")),
                attributes=log.get("attributes"),
            )
        self._logger = -1
        self.logger_gone = False
        self.spawn = starter.spawn
        self._on_exit = on_exit
        self._on_event = on_event
        self.hub = self._new_hub()
        self._spec_fd = spec_fd
        self._on_started: Started | None = None
        self._pipes: Pipes | None = None
        self._console: socket.socket | None = None
        self._handover: socket.socket | None = None
        self._foreign: ForeignStart | None = None
        self._failure: Report | None = None
        self._network = -1
        self.users = -1
        self._rootfs = -1
        self._resolver: ResolverFds | None = None
        self._announcer = Announcer(loop)
        self._code = 0
        self._timer: Timer | None = None

    @property
    def pid(self) -> int:
        return self.child.pid if self.child is not None and self.child.alive() else 0

    def start(self, done: Started) -> None:
        """Set everything up and start the program; ``done`` is called with None or the failure."""
        self.state = STARTING
        self._failure = None
        self._on_started = done
        try:
            self._read_filter()
            if (self.spec.get("runtime") or {}).get("path"):
                self._launch_foreign()
            else:
                self._launch()
        except Exception as exc:
            self._failed(failures.from_exception("internal", exc))

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

    def log_to(self, fd: int) -> None:
        """From now on all output also goes to the logger at ``fd``, which is the container's."""
        if self._logger >= 0:
            os.close(self._logger)
        self._logger, self.logger_gone = fd, False
        if self.state != RESTARTING:  # between two lives there are no streams: the next one begins with it
            self.hub.log_to(os.dup(fd))

    def attach(self, fd: int, wanted: frozenset[int], detach_keys: bytes) -> None:
        """A client's stream socket, which is the container's. Raises: StartError, OSError."""
        if self.state in (RESTARTING, EXITED):
            os.close(fd)
            what = "restarting, wait until the container is running" if self.state == RESTARTING else "not running"
            raise failures.StartError("attach", 0, f"container {self.spec['id']} is {what}")
        self.hub.attach(fd, wanted, detach_keys)

    def give_up(self, error: "failures.StartError") -> None:
        """The shim can't go on: kill everything, log what there is. A start that waits for an answer gets ``error``."""
        starting = self._on_started is not None
        self._kill_rest()
        if self.child is not None:
            self.child.abandon()
        self.finished_ns = time.time_ns()
        self.state = EXITED
        self.hub.on_output_end = None
        self.hub.drain()
        self._close_streams()
        if self.log is not None:
            self.log.finish()
        if starting:
            self._failed(error)

    def policy_changed(self) -> None:
        """End a wait for the next start that the policy does not want any more."""
        if self.state == RESTARTING and not self.policy.wanted(self._code):
            self._cancel_timer()
            self._exit(self._code)

    def release(self) -> None:
        """Remove what the engine may want to make anew at once: the cgroup, another runtime's state. Never raises."""
        if self._foreign is not None and self._foreign.process is not None:
            self._foreign.process.delete()
        try:
            self.cgroup.remove()
        except OSError:
            pass  # the engine's start-up check removes what is left

    def leave(self) -> None:
        """Let go of the network and the root file system: milliseconds that nobody should wait for. Never raises."""
        try:
            if self._foreign is not None and self._foreign.host_network >= 0:
                libc.setns(self._foreign.host_network, ns.CLONE_NEWNET)
            remove_links(self.spec["net"].get("links") or ())
        except OSError:
            pass  # they go with the namespace
        self._keep(-1, -1, -1)
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None

    def attach_network(self, change: Spec) -> None:
        """One more interface, and names to look up if ``resolver`` is given. Raises: StartError, OSError."""
        plumbing.attach(self._own_network(), change)
        self.spec["net"]["links"] = [*(self.spec["net"].get("links") or ()), change["link"]]
        self._announce([change["link"]])
        if change.get("resolver"):
            self.resolve_by(change["resolver"])

    def detach_network(self, change: Spec) -> None:
        """One interface less. Raises: StartError, OSError."""
        plumbing.detach(self._own_network(), change)

    def resolve_by(self, path: str) -> None:
        """Have names looked up by the resolver at ``path``, from now on. Raises: StartError, OSError."""
        network = self._own_network()
        if self._resolver is None:
            self._resolver = plumbing.open_resolver(network)
        self._resolver = resolver.hand_over(self._resolver, network, path, self.spec["id"])

    def _own_network(self) -> int:
        if self._network < 0 or self._foreign is not None:
            raise failures.StartError("network", 0, "the container's network can't be changed while it runs")
        return self._network

    def _launch(self) -> None:
        stdio = self.spec["stdio"]
        pipes = Pipes(tty=bool(stdio["tty"]), stdin=bool(stdio.get("open_stdin")))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid, process_fd = self.spawn(self._spec_fd, starter.Former(self._network, self.users), pipes, theirs)
        except OSError:
            pipes.discard()
            ours.close()
            raise
        finally:
            theirs.close()
        pipes.connect(self.hub)
        self._handover, self._console = ours, pipes.master
        self.child = Child(self.loop, pid, process_fd, pipes.report, self._started, self._ended)

    def _read_filter(self) -> None:
        """Execs are ours under every runtime: they need the filter, too."""
        if self.spec.get("seccomp") and not self.seccomp:
            file = os.open(self.spec["seccomp"], os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.seccomp = os.read(file, os.fstat(file).st_size)
            finally:
                os.close(file)

    def _launch_foreign(self) -> None:
        """The shim can move into its network namespace once only: a restart finds itself there already."""
        if self._foreign is None:
            self._foreign = ForeignStart(self.loop, protocol.read_spec(self._spec_fd))
        self.child = self._foreign.run(self.hub, self._foreign_started, self._failed, self._ended, self._take_console)
        self.user, self.home = self._foreign.user, self._foreign.home

    def _foreign_started(self) -> None:
        self._started(True, None)

    def _take_console(self, connection: socket.socket) -> None:
        self._console = connection

    def _started(self, ok: bool, report: Report | None) -> None:
        if not ok:
            self._failure = report  # the end of the process, which is near, tells: see _ended
            return
        self.state = RUNNING
        self.started_ns = time.time_ns()
        if self._handover is not None:
            received = starter.receive(self._handover)
            self._handover = None
            self.user, self.home, self.warnings = received.user, received.home, received.warnings
            self._keep(received.network, received.rootfs, received.users)
            self._resolver = received.resolver or self._resolver
        if self._console is not None:
            self.master = take_master(self._console, self.hub)
            self._console = None
        if self._on_started:
            self._on_started(None)
            self._on_started = None
        self._announce(self.spec["net"].get("links") or ())

    def _announce(self, links: Iterable[Spec]) -> None:
        # Another runtime's container: we are in its network.
        inside = (lambda do: do()) if self._foreign is not None else partial(plumbing.inside_of, self._network)
        self._announcer.begin(links, inside)

    def _keep(self, network: int, rootfs: int, users: int) -> None:
        for fd in (self._network, self._rootfs, self.users):
            if fd >= 0:
                os.close(fd)
        self._network, self._rootfs, self.users = network, rootfs, users

    def _ended(self, code: int) -> None:
        self.finished_ns = time.time_ns()
        self._announcer.stop()
        self.oom = self.cgroup.oom_killed(killed=code == -9)
        if not self.spec["facts"]["private_pids"]:
            self._kill_rest()
        if self.state == STARTING:
            self._failed(failures.from_report(self._failure, self.spec["facts"]["program"], is_exec=False))
            return
        self._code = code
        self.hub.drain()
        if self.hub.open() and self.hub.tty:
            # The kernel hands a terminal's last output on in a work queue: wait for its end, but not for ever, as
            # somebody outside may hold the terminal open.
            self.hub.on_output_end = self._finish
            self._timer = self.loop.later(_TERMINAL_GRACE, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """All output is read."""
        self._cancel_timer()
        if self.state != RUNNING:
            return
        self.hub.on_output_end = None
        self._close_streams()
        if self.log is not None:
            self.log.finish()
        self.paused = False
        lived = (self.finished_ns - self.started_ns) / 1e9
        if self.policy.wanted(self._code):
            self._wait_for_restart(self.policy.delay(lived))
        else:
            self._exit(self._code)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait_for_restart(self, delay: float) -> None:
        self.state = RESTARTING
        self._on_event(
            "restarting",
            {
                "code": self._code if self._code >= 0 else 128 - self._code,
                "oom": self.oom,
                "finished_at_ns": self.finished_ns,
                "restart_count": self.policy.count,
                "delay": delay,
            },
        )
        self._timer = self.loop.later(delay, self._restart)

    def _restart(self) -> None:
        self.hub = self._new_hub()
        try:
            if self._logger >= 0:
                self.hub.log_to(os.dup(self._logger))
        except OSError as exc:
            failures.report("the log can't be written on", exc)
            self._lose_logger()
        if self._foreign is not None and self._foreign.process is not None:
            self._foreign.process.delete()  # with its cgroup: the next life counts from nothing
        self.cgroup.restarted()

        def done(error: "failures.StartError | None") -> None:
            if error is None:
                self._on_event(
                    "started",
                    {"pid": self.pid, "started_at_ns": self.started_ns, "restart_count": self.policy.count},
                )
            else:
                self._exit(127, error)

        self.start(done)

    def _exit(self, code: int, error: "failures.StartError | None" = None) -> None:
        self.state = EXITED
        self._on_exit(code, error)

    def _failed(self, error: failures.StartError) -> None:
        self.state = EXITED
        self.finished_ns = time.time_ns()
        self._close_streams()
        for connection in (self._handover, self._console):
            if connection is not None:
                connection.close()
        self._handover = self._console = None
        if self._on_started:
            done, self._on_started = self._on_started, None
            done(error)

    def _close_streams(self) -> None:
        self.hub.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def _new_hub(self) -> Hub:
        stdio = self.spec["stdio"]
        return Hub(
            self.loop,
            self.log,
            tty=bool(stdio["tty"]),
            stdin_once=bool(stdio.get("stdin_once")),
            on_detach=lambda: self._on_event("detached", {}),
            on_logger_gone=self._lose_logger,
        )

    def _lose_logger(self) -> None:
        """Whoever started it may start another."""
        self.logger_gone = True
        self._on_event("logger_gone", {})

    def _kill_rest(self) -> None:
        try:
            self.cgroup.kill()
        except OSError:
            pass  # what can't be killed keeps the group: removing it will say so
