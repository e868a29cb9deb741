"""The shim's main: reads the spec, serves requests, and lives as long as its container."""

import fcntl
import os
import signal
import socket
import struct
import termios
from typing import Any, Final

from rundlet.linux import libc
from rundlet.linux.loop import READ, Loop
from rundlet.runtime import protocol
from rundlet.runtime.protocol import Message
from rundlet.runtime.shim import cgroups, failures
from rundlet.runtime.shim.container import CREATED, RUNNING, STARTING, Container
from rundlet.runtime.shim.control import Reply, Server, ok
from rundlet.runtime.shim.execs import Execs
from rundlet.runtime.shim.record import ExitRecord, boot_id
from rundlet.runtime.shim.streams import STDERR, STDIN, STDOUT

_OOM_SCORE: Final = b"-500"
_LINGER: Final = 30.0  # seconds that attached clients get to take the rest of the output
_KILLING: Final = 0.5  # seconds for a process to be killed for want of memory
_STREAMS: Final = (("stdin", STDIN), ("stdout", STDOUT), ("stderr", STDERR))


def warm_up() -> None:
    """In the launcher: look up what is the same for every shim."""
    cgroups.layout()
    boot_id()


def main(spec_fd: int, control_fd: int) -> int:
    """Run one container. Returns the exit status of the shim itself."""
    shim = begin(spec_fd, control_fd)
    shim.run()
    return 0


def begin(spec_fd: int, control_fd: int) -> "Shim":
    """Become the shim of a container, and listen. Also a part of the rehearsal, where the launcher does it."""
    spec = protocol.read_summary(spec_fd)
    if os.getsid(0) != os.getpid():
        os.setsid()
    libc.set_name("rundlet-shim")
    _protect()
    shim = Shim(spec, spec_fd)
    shim.listen(socket.socket(fileno=os.dup(control_fd)))
    return shim


class Shim:
    """Joins the parts: loop, server, container, execs."""

    def __init__(self, spec: dict[str, Any], spec_fd: int) -> None:
        self.spec = spec
        self.loop = Loop()
        self.server = Server(self.loop, spec["socket"], self.handle)
        self.record = ExitRecord(spec["exit_record"])
        self.container = Container(self.loop, spec, spec_fd, self.exited, self.container_event)
        self.execs = Execs(self.container)
        self.recorded = False
        self.held: list[int] = []

    def listen(self, connection: socket.socket) -> None:
        self.server.add(connection)
        self.server.on_alone = self.alone
        self.server.listen()

    def run(self) -> None:
        try:
            self.loop.run()
        except Exception as exc:
            failures.report(f"the supervisor of {self.spec['id']}", exc)
            self.broken(exc)

    def broken(self, exc: Exception) -> None:
        """Something that nobody thought of, and not about one client or exec only: nothing must run on unwatched.

        The container is ended, and it is said why: in its record, and to the engine.
        """
        error = failures.StartError("internal", 0, f"the container's supervisor failed: {exc!r}")
        starting = self.container.state == STARTING
        try:
            self.container.give_up(error)
        finally:
            if not self.recorded and not starting:
                self.exited(-signal.SIGKILL, error)

    def container_event(self, name: str, values: dict[str, Any]) -> None:
        if name == "started":
            self.watch_memory()
        elif name == "restarting":
            self.execs.wind_up()
        self.event(name, **values)

    def event(self, name: str, **values: Any) -> None:
        self.server.event({"event": name, "id": self.spec["id"], **values})

    def handle(self, request: Message, fds: list[int], reply: Reply) -> None:
        operation = getattr(self, f"do_{request.get('op')}", None)
        if operation is None:
            protocol.close_all(fds)
            reply({"error": {"step": "protocol", "errno": 0, "message": f"unknown operation {request.get('op')!r}"}})
            return
        if request["op"] not in ("attach", "exec", "hold", "log"):
            protocol.close_all(fds)
            fds = []
        operation(request, fds, reply)

    # Requests

    def do_hello(self, _request: Message, _fds: list[int], reply: Reply) -> None:
        container = self.container
        reply(
            ok(
                version=protocol.SHIM_VERSION,
                id=self.spec["id"],
                pid=container.pid,
                shim_pid=os.getpid(),
                status="paused" if container.paused else container.state,
                started_at_ns=container.started_ns,
                finished_at_ns=container.finished_ns,
                restart_count=container.policy.count,
                logger_gone=container.logger_gone,
                execs=self.execs.names(),
            )
        )

    def do_attach(self, request: Message, fds: list[int], reply: Reply) -> None:
        if len(fds) != 1:
            protocol.close_all(fds)
            raise failures.StartError("attach", 0, "one descriptor is needed")
        wanted = frozenset(number for name, number in _STREAMS if request.get(name))
        self.container.attach(fds[0], wanted, bytes(request.get("detach_keys") or ()))
        log = self.container.log
        reply(ok(log_size=log.size if log is not None else 0))

    def do_log(self, _request: Message, fds: list[int], reply: Reply) -> None:
        self.container.log_to(fds[0])
        reply(ok())

    def do_start(self, _request: Message, _fds: list[int], reply: Reply) -> None:
        container = self.container
        if container.state != CREATED:
            raise failures.StartError("state", 0, f"container {self.spec['id']} is already started")

        def done(error: failures.StartError | None) -> None:
            if error is None:
                self.watch_memory()
                reply(ok(pid=container.pid, started_at_ns=container.started_ns, warnings=container.warnings))
            else:
                self.start_failed(error, reply)

        container.start(done)

    def do_signal(self, request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.signal(int(request["signal"]))
        reply(ok())

    def do_resize(self, request: Message, _fds: list[int], reply: Reply) -> None:
        _resize(self.container.master, request)
        reply(ok())

    def do_freeze(self, _request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.freeze()
        reply(ok())

    def do_thaw(self, _request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.thaw()
        reply(ok())

    def do_update(self, request: Message, _fds: list[int], reply: Reply) -> None:
        warnings = self.container.cgroup.group.update(request["resources"], frozenset(request.get("strict") or ()))
        reply(ok(warnings=list(warnings)))

    def do_set_restart(self, request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.policy.set(str(request["policy"]), int(request.get("max") or 0))
        reply(ok())  # first: the change may be the end of the shim
        self.container.policy_changed()

    def do_exec(self, request: Message, fds: list[int], reply: Reply) -> None:
        exec_id = request["exec_id"]

        def done(error: failures.StartError | None, pid: int) -> None:
            reply(ok(pid=pid) if error is None else {"error": error.wire()})

        def ended(code: int) -> None:
            self.event("exec_exited", exec_id=exec_id, code=_status(code), signal=-code if code < 0 else None)

        self.execs.start(
            request, fds[0] if fds else -1, done, ended, lambda: self.event("exec_detached", exec_id=exec_id)
        )

    def do_exec_resize(self, request: Message, _fds: list[int], reply: Reply) -> None:
        _resize(self.execs.get(request["exec_id"]).master, request)
        reply(ok())

    def do_exec_signal(self, request: Message, _fds: list[int], reply: Reply) -> None:
        child = self.execs.get(request["exec_id"]).child
        assert child is not None
        child.signal(int(request["signal"]))
        reply(ok())

    def do_hold(self, _request: Message, fds: list[int], reply: Reply) -> None:
        self.held += fds
        reply(ok())

    def do_net_attach(self, request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.attach_network(request)
        reply(ok())

    def do_net_detach(self, request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.detach_network(request)
        reply(ok())

    def do_resolve(self, request: Message, _fds: list[int], reply: Reply) -> None:
        self.container.resolve_by(request["path"])
        reply(ok())

    # The end

    def alone(self) -> None:
        """Without an engine containers run on; but what was never started, nobody starts any more."""
        if self.container.state == CREATED:
            self.finish()

    def watch_memory(self) -> None:
        """Report it when the kernel kills for want of memory, or would, if there is a limit that can be why."""
        cgroup = self.container.cgroup
        if self.spec["facts"]["memory_limit"] <= 0 or (cgroup.watch >= 0 and not cgroup.renewed):
            return
        if cgroup.watch >= 0:
            self.loop.remove(cgroup.watch)
            os.close(cgroup.watch)
            cgroup.watch = -1
        try:
            cgroup.watch = cgroup.group.oom_event_fd()
        except OSError:
            return  # without the controller there is no limit either
        self.loop.add(cgroup.watch, READ, self.memory_event)

    def memory_event(self, _events: int) -> None:
        try:
            found = self.container.cgroup.memory_event()
        except OSError as exc:
            failures.report("memory is not watched any more", exc)
            self.loop.remove(self.container.cgroup.watch)
            return
        if self.container.state == RUNNING and found:
            self.event("oom")
        elif self.container.state == RUNNING:
            self.loop.later(_KILLING, self._look_for_the_killed)

    def _look_for_the_killed(self) -> None:
        """The kernel of cgroup v1 tells before it kills, and counts after."""
        if self.container.state == RUNNING and self.container.cgroup.out_of_memory():
            self.event("oom")

    def start_failed(self, error: failures.StartError, reply: Reply) -> None:
        self.write_record(code=127, finished_ns=self.container.finished_ns, error=error.message)
        self.container.release()
        self.container.leave()
        self.server.unlink()
        self.sync_record()
        reply({"error": error.wire()})
        self.finish()

    def exited(self, code: int, error: failures.StartError | None) -> None:
        """The container has ended for good: tell, then give everything back."""
        container = self.container
        self.execs.wind_up()
        dropped = container.log.dropped if container.log is not None else 0
        status, number = _status(code), -code if code < 0 else None
        self.write_record(
            code=status,
            signal=number,
            oom=container.oom,
            started_ns=container.started_ns,
            finished_ns=container.finished_ns,
            error=error.message if error is not None else None,
            log_dropped=dropped,
        )
        self.container.release()
        self.server.unlink()
        # First the ports: whoever hears of the end may want them again.
        protocol.close_all(self.held)
        self.event(
            "exited",
            code=status,
            signal=number,
            oom=container.oom,
            finished_at_ns=container.finished_ns,
            error=error.message if error is not None else None,
            log_dropped=dropped,
        )
        # Taking back mounts and links costs milliseconds that nobody should wait for: the end of the connection says
        # when that is done, too.
        container.leave()
        self.sync_record()
        container.hub.on_clients_gone = self.execs.on_quiet = self.finish_if_quiet
        self.loop.later(_LINGER, self.finish)
        self.finish_if_quiet()

    def write_record(self, **values: Any) -> None:
        """A disk that fails is no reason to leave anything behind, nor to tell the engine nothing."""
        self.recorded = True
        try:
            self.record.write(**values)
        except OSError as exc:
            failures.report("the exit record can't be written", exc)

    def sync_record(self) -> None:
        try:
            self.record.sync()
        except OSError as exc:
            failures.report("the exit record may not be durable", exc)

    def finish_if_quiet(self) -> None:
        """Once attached clients, and those of execs, have got what there was for them."""
        if not self.container.hub.busy() and not self.execs.busy():
            self.finish()

    def finish(self) -> None:
        self.server.close()
        self.loop.stop()

    def close(self) -> None:
        """After the end, where the process goes on: let go of the last descriptors."""
        self.record.close()
        self.loop.close()
        if self.container.log is not None:
            self.container.log.close()


def _protect() -> None:
    """The supervisor should outlive what it supervises when memory ends."""
    file = -1
    try:
        # Without a file object, whose types, methods and buffer each shim would touch; as in the container's.
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(file, _OOM_SCORE)
    except OSError:
        pass  # needs CAP_SYS_RESOURCE
    finally:
        if file >= 0:
            os.close(file)


def _resize(master: int, request: Message) -> None:
    if master < 0:
        return  # no terminal: nothing to set, and no error for clients that always ask
    size = struct.pack("=4H", int(request["height"]) & 0xFFFF, int(request["width"]) & 0xFFFF, 0, 0)
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)


def _status(code: int) -> int:
    """As a shell and Docker give it: 128 + the signal."""
    return code if code >= 0 else 128 - code
