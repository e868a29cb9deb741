"""``create``: everything but the program itself. Leaves the container's first process at its gate.

This process makes the cgroup and the state, and runs the runtime's hooks; a starter forked from it moves into the new
namespaces and clones init from there, as a child of ours (and, once we have ended, of the subreaper who called us).
"""

import json
import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, NamedTuple, NoReturn

from rundlet.linux import libc, ns, passwd
from rundlet.linux.cgroup import Cgroup
from rundlet.runtime.command import configs, filters, gate, imports, late, nodes, notify, resctrl, scopes, states
from rundlet.runtime.command.errors import CommandError, UsageError
from rundlet.runtime.command.listener import Agent
from rundlet.runtime.command.netdevices import Mover
from rundlet.runtime.command.states import State, States
from rundlet.runtime.init import hooks, plan, report
from rundlet.runtime.init import main as init_main
from rundlet.runtime.init.hooks import Synchronizer
from rundlet.runtime.init.main import Program, Wiring
from rundlet.runtime.init.program import environment
from rundlet.runtime.init.report import Report, Reporter
from rundlet.runtime.shim import failures
from rundlet.runtime.shim.cgroups import ContainerCgroup
from rundlet.runtime.shim.sandbox import Sandbox

_CLONE_PARENT: Final = 0x8000
_STDIO: Final = 3
_EMPTYING: Final = 5.0  # seconds


class Request(NamedTuple):
    """What the command line says. ``console`` is a connected socket for the terminal's master, or -1."""

    root: str
    bundle: str
    config: str = configs.FILE
    console: int = -1
    preserved: int = 0
    keyring: bool = True
    plain: bool = False
    systemd: bool = False


def create(container: str, request: Request) -> tuple[State, list[str]]:
    """Returns the created container and warnings. Raises: CommandError; nothing is left then."""
    config = configs.load(request.bundle, request.config)
    if bool(config["process"].get("terminal")) != (request.console >= 0):
        raise UsageError(
            "cannot allocate a terminal without --console-socket"
            if request.console < 0
            else "--console-socket makes no sense for a process without a terminal"
        )
    config, unknown = configs.known_capabilities(configs.with_maps(config))
    placed = configs.cgroup(container, config["linux"], systemd=request.systemd)
    directory = States(request.root).make(container)
    try:
        _check_empty(states.group(placed["path"], placed.get("scope")))
        config = notify.prepared(config, directory)
    except BaseException:
        os.rmdir(directory)  # and no more: what is in that cgroup is somebody else's
        raise
    state = State(
        container,
        directory,
        request.bundle,
        config["root"]["path"],
        0,
        0,
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z",
        placed["path"],
        config.get("annotations") or {},
        any(entry["type"] == "pid" and not entry.get("path") for entry in config["linux"].get("namespaces") or ()),
        config,
        placed.get("scope"),
    )
    held = states.lock(directory)
    creation = _Creation(state, request)
    try:
        warnings = creation.run()
        return creation.state, [*unknown, *warnings]
    except BaseException:
        states.clean_up(creation.state)
        raise
    finally:
        os.close(held)


def _check_empty(group: Cgroup) -> None:
    """Whose limits would hold for the others, and whose end would be theirs? Raises: CommandError."""
    if not group.exists():
        return
    found = group.pids()
    if found:
        raise CommandError(f"container's cgroup is not empty: {len(found)} process(es) found")
    if group.frozen():
        raise CommandError("container's cgroup unexpectedly frozen")


class _Creation:
    def __init__(self, state: State, request: Request) -> None:
        self.state = state
        self._request = request
        self._hooks: Mapping[str, Any] = state.config.get("hooks") or {}
        self._agent: Agent | None = None

    def run(self) -> list[str]:
        """Returns warnings. Raises: CommandError; ``state`` says what is to be cleaned up then."""
        state, config = self.state, self.state.config
        states.save(state)
        self._agent = Agent.of(config["linux"].get("seccomp"))
        os.mkfifo(state.fifo, 0o622)
        os.chmod(state.fifo, 0o622)  # noqa: S103 - the container's user opens it, by a descriptor that only init has
        specification = configs.specification(state.id, config, {"path": state.cgroup, "scope": state.scope})
        cgroup = ContainerCgroup(specification)
        with scopes.member() if state.scope else nullcontext(0) as first:
            try:
                warnings = cgroup.create(configs.resources(config["linux"]), first)
            except (OSError, ValueError) as exc:
                raise CommandError(f"cgroup: {exc}") from exc
            except (AttributeError, KeyError, TypeError) as exc:
                raise CommandError(f"cgroup: invalid resources: {type(exc).__name__}: {exc}") from exc
            program = filters.program(self._request.root, config["linux"].get("seccomp"), config["process"])
            self._make_classes()
            pid = self._spawn(specification, cgroup, program)
        self.state = self.state._replace(pid=pid, birth=states.born(pid))
        states.save(self.state)
        return warnings

    def _make_classes(self) -> None:
        """Raises: CommandError."""
        wanted = self.state.config["linux"].get("intelRdt")
        if wanted is None:
            return
        try:
            found = resctrl.create(wanted, self.state.id, resctrl.mounted())
        except OSError as exc:
            raise CommandError(f"intelRdt: {exc}") from exc
        self.state = self.state._replace(classes=found._asdict())
        states.save(self.state)

    def _spawn(self, specification: dict[str, Any], cgroup: ContainerCgroup, seccomp: bytes) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starter, _ = libc.clone3(0, pidfd=False)
        if starter == 0:
            os.close(reading)
            ours.close()
            child = _Starter(self.state, self._request, specification, cgroup, seccomp, self._agent)
            child.run(writing, theirs.detach())
        os.close(writing)
        theirs.close()
        try:
            return self._follow(reading, ours, starter)
        finally:
            os.close(reading)
            ours.close()
            if self._agent is not None:
                self._agent.close()
            os.waitpid(starter, 0)

    def _follow(self, reading: int, line: socket.socket, starter: int) -> int:
        """Watch init until it stands at its gate; returns its process number. Raises: CommandError."""
        data, reports, asked = b"", list[Report](), False
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        poll.register(line, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == reading:
                    read = os.read(reading, 8192)
                    data += read
                    reports = report.parse(data)
                    self._hand_on(reports)
                    if not read or any(item.kind == "ready" for item in reports):
                        return self._judge(reports if _pid(reports) else report.parse(data + _rest(reading, starter)))
                else:
                    message, descriptors, _, _ = socket.recv_fds(line, 64, 2, socket.MSG_CMSG_CLOEXEC)
                    if not late.serve(message, descriptors, self.state.config, line):
                        asked = bool(message)
                        poll.unregister(line)
            pid = _pid(reports)
            # Init may be faster than the one who cloned it and says its number.
            if asked and pid:
                asked = False
                self._runtime_hooks(pid, line)

    def _hand_on(self, reports: Sequence[Report]) -> None:
        if self._agent is not None:
            pid = _pid(reports)
            self._agent.serve(reports, pid, self.state._replace(pid=pid).document(states.CREATING))

    def _runtime_hooks(self, pid: int, line: socket.socket) -> None:
        said = self.state._replace(pid=pid).document(states.CREATING)
        try:
            for kind in ("prestart", "createRuntime"):
                hooks.run(kind, self._hooks.get(kind) or (), said)
        except hooks.HookError as exc:
            raise CommandError(str(exc.filename)) from exc
        line.send(json.dumps(said).encode())

    def _judge(self, reports: Sequence[Report]) -> int:
        failed = next((item for item in reports if item.kind == "failed"), None)
        pid = _pid(reports)
        if failed is None and pid and any(item.kind == "ready" for item in reports):
            return pid
        text = failures.explain(failed, self.state.config["process"]["args"][0])[2]
        raise CommandError(f"unable to start container process: error during container init: {text}")


def _rest(reading: int, starter: int) -> bytes:
    """What else is said: init may stand at its gate before the starter has said its number, or has died over it."""
    os.waitid(os.P_PID, starter, os.WEXITED | os.WNOWAIT)
    os.set_blocking(reading, False)
    try:
        return os.read(reading, 8192)
    except BlockingIOError:
        return b""


def _pid(reports: Sequence[Report]) -> int:
    return next((item.errno for item in reports if item.kind == "pid"), 0)


class _Starter:
    """In the child. Like the shim's, with this room's steps."""

    def __init__(
        self,
        state: State,
        request: Request,
        specification: dict[str, Any],
        cgroup: ContainerCgroup,
        seccomp: bytes,
        agent: Agent | None,
    ) -> None:
        self._state = state
        self._request = request
        self._specification = specification
        self._cgroup = cgroup
        self._seccomp = seccomp
        self._agent = agent
        self._step = "internal"

    def run(self, writing: int, line: int) -> NoReturn:
        reporter = Reporter(writing)
        try:
            imports.end()
            reporter.pid(self._set_up(writing, line))
        except (passwd.UserError, ValueError) as exc:
            reporter.failed(self._step, 0, str(exc).encode())
        except BaseException as exc:
            reporter.exception(self._step, exc)
        finally:
            os._exit(0)

    def _set_up(self, writing: int, line_fd: int) -> int:
        config = self._state.config
        fifo = os.open(self._state.fifo, os.O_PATH | os.O_CLOEXEC)
        sandbox = Sandbox(self._specification, user=self._joined_users())
        devices = Mover(config["linux"])
        self._step = "rootfs"
        sandbox.enter()
        self._step = "network"
        sandbox.connect()
        devices.move()
        self._step = "user"
        user, home = resolve(config["process"], sandbox.rootfs)
        self._step = "namespace"
        flags = sandbox.open_namespaces()
        entry = next((item for item in config["linux"]["namespaces"] if item["type"] == "cgroup"), None)
        if entry is not None and entry.get("path"):
            opened = os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)
            sandbox.namespaces.append((opened, ns.CLONE_NEWCGROUP))
        self._step = "cgroup"
        size = self._specification["stdio"]["size"]
        join, view, birth = (
            (*self._cgroup.join_fds(), *self._class_fds()),
            self._cgroup.view(private=entry is not None),
            self._cgroup.birth_fd(),
        )
        if sandbox.pid_namespace >= 0:
            libc.setns(sandbox.pid_namespace, ns.CLONE_NEWPID)
        self._step = "device"
        made = nodes.make(config["linux"], sandbox.users, self._state.directory)
        self._step = "user"
        tree = self._enter_users(sandbox, user)
        prepared = plan.Prepared(
            sandbox.rootfs,
            user,
            sandbox.binds,
            sandbox.namespaces,
            join,
            view,
            self._seccomp,
            (size[0], size[1]),
            tree,
        )
        self._step = "internal"
        steps, gate_ = self._plan(prepared, made, line_fd, fifo)
        process = config["process"]
        variables = environment([*(process.get("env") or ()), *listening()], home)
        program = Program(process["args"], variables, gate=gate_._replace(variables=variables))
        self._step = "namespace"
        pid, _ = libc.clone3(flags & ~ns.CLONE_NEWTIME | _CLONE_PARENT, pidfd=False, cgroup_fd=birth)
        if pid == 0:
            kept = (
                *prepared.descriptors(),
                *made.values(),
                fifo,
                line_fd,
                *range(_STDIO, _STDIO + self._request.preserved),
            )
            kept += () if self._agent is None else (self._agent.reading,)
            init_main.run(steps, program, wiring(writing, self._request.console, kept))
        return pid

    def _class_fds(self) -> tuple[int, ...]:
        classes = self._state.classes
        return resctrl.Classes(**classes).join_fds() if classes else ()

    def _joined_users(self) -> int:
        """The user namespace that the configuration names, -1: none. Raises: OSError."""
        path = configs.joined_users(self._state.config)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1

    def _enter_users(self, sandbox: Sandbox, user: plan.User) -> int:
        """Into the container's user namespace; returns the root's mount. Raises: OSError, ValueError."""
        if sandbox.users is not None and self._request.console < 0:
            sandbox.users.give(tuple(range(_STDIO)), user.uid, user.gid)
        return sandbox.enter_users(self._state.config["process"])

    def _plan(
        self, prepared: plan.Prepared, made: Mapping[str, int], line_fd: int, fifo: int
    ) -> tuple[list[Any], gate.StartGate]:
        config = self._state.config
        wanted = config.get("hooks") or {}
        line = Synchronizer(line_fd)
        asking = any(wanted.get(kind) for kind in ("prestart", "createRuntime", "createContainer", "startContainer"))
        steps = plan.unguarded(nodes.adapt(plan.build(config, self._state.id, prepared), made))
        steps = gate.adapt(
            steps, config, line if asking else None, keyring=self._request.keyring, plain=self._request.plain
        )
        steps = late.adapt(steps, config, line_fd)
        if self._agent is not None:
            steps = self._agent.adapt(steps)
        return steps, gate.StartGate(fifo, line, wanted.get("startContainer") or ())


def resolve(process: Mapping[str, Any], rootfs: str) -> tuple[plan.User, str]:
    """The user as the configuration says it, and the home that the container's own files give them."""
    wanted = process.get("user") or {}
    user = plan.User(wanted.get("uid", 0), wanted.get("gid", 0), tuple(wanted.get("additionalGids") or ()))
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return user, passwd.resolve_user(root, str(user.uid)).home
    except (passwd.UserError, OSError):
        return user, "/"
    finally:
        os.close(root)


def listening() -> list[str]:
    """What sd_listen_fds(3) of a program looks for when systemd's sockets are passed on: it is process 1 now."""
    names = ("LISTEN_FDS", "LISTEN_FDNAMES")
    found = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return [*found, "LISTEN_PID=1"] if os.environ.get("LISTEN_FDS", "").isdigit() else []


def wiring(report_fd: int, console: int, kept: tuple[int, ...] = ()) -> Wiring:
    """Our own standard streams for the container, or a terminal whose master goes to ``console``."""
    streams = (-1, -1, -1) if console >= 0 else (0, 1, 2)
    return Wiring(report_fd, *streams, console, kept)
