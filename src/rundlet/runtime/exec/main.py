"""The main of an exec; see the package's description."""

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

from rundlet.linux import libc, ns, passwd, pidfd
from rundlet.runtime.init import devices, plan, rights
from rundlet.runtime.init import main as init_main
from rundlet.runtime.init.main import Program, Wiring
from rundlet.runtime.init.program import environment
from rundlet.runtime.init.report import Reporter
from rundlet.runtime.init.steps import Context, Step
from rundlet.runtime.init.users import BecomeRoot, Users

_CLONE_PARENT: Final = 0x8000
_JOINED: Final = (
    ns.CLONE_NEWNS | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC | ns.CLONE_NEWPID | ns.CLONE_NEWNET | ns.CLONE_NEWCGROUP
)


class Joining(NamedTuple):
    """What to join: the container's init, and the cgroup files that "0" is written to."""

    init: int
    cgroup: tuple[int, ...]
    more: int = 0  # CLONE_* flags of namespaces that the engine's containers never have of their own


class OpenRoot(NamedTuple):
    """The root of the mount namespace that was joined."""

    step: str = "rootfs"

    def describe(self) -> str:
        return "the container's root"

    def execute(self, context: Context) -> None:
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class Request(NamedTuple):
    """What is to be run, as it came from the engine, and the container's own user for when it names none.

    Built into steps in the child: the shim neither needs the memory nor keeps the secrets.
    """

    process: dict[str, Any]
    container: str
    user: str | None
    default_user: plan.User
    home: str
    seccomp: bytes
    size: tuple[int, int]
    users: Users | None = None
    guarded: bool = True  # dies with its parent
    adapt: Callable[[list[Step]], list[Step]] | None = None  # what a caller other than the shim adds


def spawn(request: Request, joining: Joining, wiring: Wiring, birth: int) -> tuple[int, int]:
    """Fork the first process, into the v2 cgroup ``birth``; returns its number and pidfd. Raises: OSError."""
    pid, process_fd = libc.clone3(0, cgroup_fd=birth)
    if pid == 0:
        run(request, joining, wiring)
    return pid, process_fd


def run(request: Request, joining: Joining, wiring: Wiring) -> NoReturn:
    """In the child of the shim. Ends the process in every case."""
    reporter = Reporter(wiring.report)
    step = "internal"
    try:
        keep = {joining.init, *joining.cgroup, *wiring.keep}
        init_main.close_others(
            {wiring.report, wiring.master_to, wiring.stdin, wiring.stdout, wiring.stderr, *keep, 0, 1, 2} - {-1}
        )
        step = "user"
        user, home = _user(request, joining.init)
        flags = _JOINED | joining.more
        if request.users is not None:
            request.users.give((wiring.stdin, wiring.stdout, wiring.stderr), user.uid, user.gid)
            request.users.prepare(request.process)
            flags |= ns.CLONE_NEWUSER
        step = "internal"
        steps = build(request, user)
        if not request.guarded:
            steps = plan.unguarded(steps)
        if request.adapt is not None:
            steps = request.adapt(steps)
        what = Program(request.process["args"], environment(request.process.get("env") or (), home))
        step = "cgroup"
        for fd in joining.cgroup:
            os.write(fd, b"0")
            os.close(fd)
        step = "namespace"
        libc.setns(joining.init, flags)
        os.close(joining.init)
        pid, _ = libc.clone3(_CLONE_PARENT, pidfd=False)
        if pid == 0:
            init_main.run(steps, what, wiring)
        reporter.pid(pid)
    except ValueError as exc:
        reporter.failed(step, 0, str(exc).encode())
    except BaseException as exc:
        reporter.exception(step, exc)
    finally:
        os._exit(0)


def _user(request: Request, init: int) -> tuple[plan.User, str]:
    """By the container's own files as they are now; by default the container's user."""
    if request.user is None:
        return request.default_user, request.home
    path = f"/proc/{pidfd.pid(init)}/root"
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = passwd.resolve_user(root, request.user, ())
    finally:
        os.close(root)
    return plan.User(found.uid, found.gid, tuple(found.additional_gids)), found.home


def build(request: Request, user: plan.User) -> list[Step]:
    """The steps of an exec. Raises: ValueError for a value that can't be carried out."""
    process, size = request.process, request.size
    steps: list[Step] = [OpenRoot(), plan.NewSession(f"_ses.{request.container}")]
    if request.users is not None:
        steps.append(BecomeRoot())
    elif process.get("oomScoreAdj") is not None:
        steps.append(rights.OomScore(int(process["oomScoreAdj"])))
    if process.get("terminal"):
        steps.append(devices.OpenTerminal(size[0], size[1], user.uid, False))
    steps += plan.process_steps(process, user, request.seccomp, create_cwd=False)
    return steps
