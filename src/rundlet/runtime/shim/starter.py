"""Setting a container up: a short-lived child of the shim makes what the container runs in, and clones init.

It is a process of its own so that the memory that this takes (three times the shim's own) is given back, and so that
the whole spec never gets into the shim. Init becomes a child of the shim (CLONE_PARENT). What the shim needs to know
comes as one message with descriptors: :class:`Handover`.
"""

import json
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from rundlet.linux import libc, ns, passwd
from rundlet.runtime import protocol
from rundlet.runtime.init import main as init_main
from rundlet.runtime.init import plan
from rundlet.runtime.init.main import Program
from rundlet.runtime.init.program import environment
from rundlet.runtime.init.report import Reporter
from rundlet.runtime.shim import hooks
from rundlet.runtime.shim.cgroups import ContainerCgroup
from rundlet.runtime.shim.resolver import ResolverFds
from rundlet.runtime.shim.sandbox import Sandbox
from rundlet.runtime.shim.stdio import Pipes

Spec = Mapping[str, Any]

_CLONE_PARENT: Final = 0x8000


class Handover(NamedTuple):
    """``network``: the namespace, -1 without one of its own. ``rootfs`` keeps the root's mount.

    ``resolver`` are the sockets that names are asked by; None where there are none, or from an earlier life. ``users``
    is the container's user namespace, -1 without one.
    """

    user: plan.User
    home: str
    warnings: list[str]
    network: int
    rootfs: int
    resolver: ResolverFds | None = None
    users: int = -1


class Former(NamedTuple):
    """Namespaces that a former life of the container left, for the next; -1: none."""

    network: int = -1
    users: int = -1


def spawn(spec_fd: int, former: Former, pipes: Pipes, handover: socket.socket) -> tuple[int, int]:
    """Fork the starter; returns its process number and pidfd. Raises: OSError."""
    shim = os.getpid()
    pid, process_fd = libc.clone3(0)
    if pid == 0:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shim:
            os._exit(1)  # nobody would give back what we make
        run(spec_fd, former, pipes, handover)
    return pid, process_fd


def run(spec_fd: int, former: Former, pipes: Pipes, handover: socket.socket) -> NoReturn:
    """In the child. Ends the process in every case."""
    wiring = pipes.wiring()
    starter = _Starter(former)
    try:
        starter.run(protocol.read_spec(spec_fd), pipes, handover)
    except (passwd.UserError, ValueError) as exc:
        Reporter(wiring.report).failed(starter.step, 0, str(exc).encode())
    except BaseException as exc:
        Reporter(wiring.report).exception(starter.step, exc)
    finally:
        os._exit(0)


def receive(handover: socket.socket) -> Handover:
    """In the shim, once init was reported. Raises: OSError, ProtocolError."""
    handover.setblocking(False)
    try:
        data, fds = protocol.receive_packet(handover)
    finally:
        handover.close()
    message = protocol.decode(data)
    uid, gid, groups = message["user"]
    users = fds.pop() if message["users"] else -1
    rootfs, network = fds[0], fds[1] if len(fds) > 1 else -1
    resolver = ResolverFds(*fds[2:]) if len(fds) > 2 else None
    user = plan.User(uid, gid, tuple(groups))
    return Handover(user, message["home"], message["warnings"], network, rootfs, resolver, users)


def resolve_user(spec: Spec, rootfs: str) -> tuple[plan.User, str]:
    """The container's user and home, by the image's own files. Raises: UserError, OSError."""
    named = spec.get("user")
    if named is None:
        wanted = spec["oci"]["process"].get("user") or {}
        groups = tuple(wanted.get("additionalGids") or ())
        return plan.User(wanted.get("uid", 0), wanted.get("gid", 0), groups), "/"
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = passwd.resolve_user(root, named, spec.get("groups") or ())
    finally:
        os.close(root)
    return plan.User(found.uid, found.gid, tuple(found.additional_gids)), found.home


class _Starter:
    """``step`` is what is being done, for the report of a failure."""

    def __init__(self, former: Former) -> None:
        self.step = "internal"
        self._former = former
        self._line = -1

    def run(self, spec: dict[str, Any], pipes: Pipes, handover: socket.socket) -> None:
        self.step = "hook"
        self._line = hooks.begin(spec)
        self.step = "cgroup"
        cgroup = ContainerCgroup(spec)
        warnings = cgroup.create((spec["oci"].get("linux") or {}).get("resources") or {})
        sandbox = Sandbox(spec, self._former.network, self._former.users)
        self.step = "rootfs"
        sandbox.enter()
        self.step = "network"
        sandbox.connect()
        self.step = "user"
        user, home = resolve_user(spec, sandbox.rootfs)
        pid = self._clone(spec, sandbox, cgroup, user, home, pipes)
        self.step = "internal"
        message = {
            "user": [user.uid, user.gid, list(user.groups)],
            "home": home,
            "warnings": warnings,
            "users": sandbox.user >= 0,
        }
        fds = [sandbox.rootfs_fd]
        if spec["net"]["mode"] in ("new", "none", "join"):
            fds.append(ns.open_namespace("self", "network"))
        if sandbox.resolver is not None:
            fds += [fd for fd in sandbox.resolver if fd >= 0]
        if sandbox.user >= 0:
            fds.append(sandbox.user)
        protocol.send_packet(handover, json.dumps(message).encode(), fds)
        Reporter(pipes.wiring().report).pid(pid)

    def _clone(
        self, spec: Spec, sandbox: Sandbox, cgroup: ContainerCgroup, user: plan.User, home: str, pipes: Pipes
    ) -> int:
        oci = spec["oci"]
        self.step = "seccomp"
        seccomp = b""
        if spec.get("seccomp"):
            with open(spec["seccomp"], "rb") as file:
                seccomp = file.read()
        self.step = "namespace"
        flags = sandbox.open_namespaces()
        private = any(item["type"] == "cgroup" for item in oci["linux"].get("namespaces") or ())
        size = spec["stdio"].get("size") or (0, 0)
        process = oci["process"]
        if sandbox.pid_namespace >= 0:
            libc.setns(sandbox.pid_namespace, ns.CLONE_NEWPID)
        self.step = "cgroup"
        view, birth, join = cgroup.view(private=private), cgroup.birth_fd(), cgroup.join_fds()
        self.step = "user"
        wiring = pipes.wiring()
        if sandbox.users is not None:
            sandbox.users.give((wiring.stdin, wiring.stdout, wiring.stderr), user.uid, user.gid)
        tree = sandbox.enter_users(process)
        prepared = plan.Prepared(
            sandbox.rootfs,
            user,
            sandbox.binds,
            sandbox.namespaces,
            join,
            view,
            seccomp,
            (size[0], size[1]),
            tree,
        )
        self.step = "internal"
        steps = plan.build(oci, spec["id"], prepared)
        variables = environment(process.get("env") or (), home)
        program = Program(process["args"], variables, bool(spec.get("init")))
        kept = prepared.descriptors()
        if self._line >= 0:
            steps, gate = hooks.adapt(steps, oci, self._line, variables)
            kept = (*kept, self._line, gate.asked.fd)
            program = program._replace(gate=gate)
        self.step = "namespace"
        pid, _ = libc.clone3(flags | _CLONE_PARENT, pidfd=False, cgroup_fd=birth)
        if pid == 0:
            init_main.run(steps, program, pipes.wiring(kept))
        if self._line >= 0:
            hooks.tell(self._line, pid)
        return pid
