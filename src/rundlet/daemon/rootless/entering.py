"""Takes an ordinary user's process that is to be the engine into its namespaces, and executes it again there.

New ones are made, with users mapped by the keeper, which is started first and stays outside. Where containers of an
earlier engine live in namespaces already, those are joined: by the keeper that holds them, or, if that was killed, by
one of their shims. The process stays the same, so whoever started it (a command, systemd) waits for the right one.
"""

import errno
import fcntl
import os
import socket
import sys
from typing import Any, Final, NoReturn

from rundlet.daemon import placement
from rundlet.daemon.rootless import keeper
from rundlet.errors import RundletError
from rundlet.linux import libc, mount, ns
from rundlet.linux.netlink import Netlink
from rundlet.runtime import protocol

_BOOTSTRAP: Final = (
    "import sys;sys.path.append({path!r});from rundlet.daemon.rootless.keeper import main;main(sys.argv[1:])"
)
_ALL: Final = ns.CLONE_NEWUSER | ns.CLONE_NEWNS | ns.CLONE_NEWNET
_FLAGS: Final = (ns.CLONE_NEWUSER, ns.CLONE_NEWNS, ns.CLONE_NEWNET)
_KEEPER_ENVIRONMENT: Final = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR")


class RootlessError(RundletError):
    """No engine of this user's own is possible here; the message names the obstacle and the remedy."""

    reason = "rootless-impossible"


def enter(run: str) -> NoReturn:
    """Become the engine inside. ``run`` is the engine's run directory. Single-threaded callers only.

    Raises: RootlessError, OSError.
    """
    uid = os.getuid()
    os.makedirs(run, 0o700, exist_ok=True)
    lock = os.open(f"{run}/keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not _join_kept(run):
        survivor = keeper.survivor(run)
        if survivor:
            _join_survivor(run, survivor)
        else:
            _make(run)
    os.close(lock)
    argv = [*sys.orig_argv, "--rootless", str(uid)]
    try:
        os.execv(sys.executable, argv)
    except OSError as exc:
        raise RootlessError(
            f"cannot run {sys.executable} in a user namespace: {exc.strerror}: Python and Rundlet must be where this "
            "user can read them, not in root's home"
        ) from exc


def _join_kept(run: str) -> bool:
    """Join what a keeper holds; False when none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(keeper.socket_path(run))
        except OSError:
            return False
        answer, fds = ask(connection, {"op": "namespaces"})
    if len(fds) != len(_FLAGS):
        raise RootlessError(f"the keeper of the namespaces failed: {answer.get('error')}")
    _join(fds)
    return True


def _join_survivor(run: str, pid: int) -> None:
    """Join the namespaces of a shim, and give them a new keeper."""
    connection = _start_keeper(run)
    with connection:
        ask(connection, {"op": "adopt", "pid": pid})
        _answer, fds = ask(connection, {"op": "namespaces"})
    _join(fds)


def _make(run: str) -> None:
    """New namespaces; the keeper maps their users from outside."""
    connection = _start_keeper(run)
    with connection:
        service = placement.is_service(os.environ, os.getpid())
        try:
            libc.unshare(_ALL)
        except OSError as exc:
            raise RootlessError(obstacle(exc)) from exc
        answer, _ = ask(connection, {"op": "adopt", "pid": os.getpid(), "map": True, "service": service})
    if not answer.get("ok"):
        raise RootlessError(f"cannot set up the user namespace: {answer.get('error')}")
    try:
        mount.set_propagation("/", mount.MS_SLAVE)
        with Netlink() as rtnl:
            rtnl.set_up("lo")
    except OSError as exc:
        # AppArmor lets the namespace be made, but gives no rights in it (Ubuntu 24.04).
        raise RootlessError(obstacle(exc)) from exc


def _join(fds: list[int]) -> None:
    for fd, flag in zip(fds, _FLAGS, strict=True):
        libc.setns(fd, flag)
        os.close(fd)


def obstacle(exc: OSError) -> str:
    """Why there is no user namespace, and what an administrator can do about it, in one line."""
    for name, bad, remedy in (
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with userns for Python",
        ),
    ):
        try:
            with open(name, encoding="ascii") as file:
                if file.read().strip() == bad:
                    key = name.removeprefix("/proc/sys/").replace("/", ".")
                    return (
                        f"user namespaces are forbidden here ({key} is {bad}): an administrator can allow them with "
                        f"{remedy}"
                    )
        except OSError:
            continue
    if exc.errno in (errno.EPERM, errno.EACCES):
        return (
            "user namespaces are forbidden here (EPERM): inside a container its seccomp profile or a missing right "
            "forbids them (start that container with --security-opt seccomp=unconfined, or --privileged)"
        )
    return f"cannot make a user namespace: {exc.strerror}"


def _start_keeper(run: str) -> socket.socket:
    """Start it as a fresh interpreter that has nothing of ours but one end of a connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    interpreter = str(getattr(sys, "_base_executable", "") or sys.executable)
    here = os.path.abspath(__file__)
    for _ in ("rootless", "daemon", "rundlet", "src"):
        here = os.path.dirname(here)
    argv = [interpreter, "-I", "-S", "-c", _BOOTSTRAP.format(path=here), run]
    log = os.open(f"{run}/keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # By way of a child that ends at once: the keeper is not to be the engine's child, which knows nothing of it.
    child = os.fork()
    if child == 0:
        _spawn_keeper(interpreter, argv, log, theirs.fileno())
    os.close(log)
    theirs.close()
    _, status = os.waitpid(child, 0)
    if status:
        raise RootlessError("cannot start the keeper of the namespaces; its log is keeper.log")
    return ours


def _spawn_keeper(interpreter: str, argv: list[str], log: int, connection: int) -> NoReturn:
    status = 1
    try:
        source = connection if connection != keeper.FIRST_FD else os.dup(connection)
        os.posix_spawn(
            interpreter,
            argv,
            {name: os.environ[name] for name in _KEEPER_ENVIRONMENT if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, source, keeper.FIRST_FD),
            ],
            setsid=True,
        )
        status = 0
    finally:
        os._exit(status)


def ask(connection: socket.socket, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """One request on a blocking connection. Raises: RootlessError when the keeper is gone."""
    try:
        protocol.send_packet(connection, protocol.encode(request))
        data, fds = protocol.receive_packet(connection)
    except (OSError, protocol.ProtocolError) as exc:
        raise RootlessError(f"the keeper of the namespaces ended: {exc}") from exc
    if not data:
        raise RootlessError("the keeper of the namespaces ended before it answered; its log is keeper.log")
    return protocol.decode(data), fds
