"""Starting the user's own engine on demand.

Ten command lines that find no engine at once start one: the first takes ``start.lock``, the others wait for it and
then find the socket.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time

from rundlet.cli import paths
from rundlet.cli.exit import CommandError
from rundlet.client.endpoint import Endpoint
from rundlet.client.errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

READY_TIMEOUT = 60.0
RETURN_TIMEOUT = 30.0
ALREADY = "an engine already runs for"  # in the engine's own line

# What an engine may take over from the shell that happens to start it. Anything else (credentials of a CI job,
# LD_PRELOAD, PYTHON*) stays out of a process that outlives that shell.
ENVIRONMENT = frozenset(
    (
        "PATH HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ TMPDIR XDG_RUNTIME_DIR XDG_DATA_HOME XDG_CONFIG_HOME "
        "XDG_STATE_HOME XDG_CACHE_HOME HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy "
        "all_proxy SSL_CERT_FILE SSL_CERT_DIR DBUS_SESSION_BUS_ADDRESS RUNDLET_ROOT RUNDLET_RUN"
    ).split()
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUN_FROM = "import sys,runpy;sys.path.insert(0,sys.argv.pop(1));runpy.run_module('rundlet.daemon',run_name='__main__')"


def engine_argv(arguments: Sequence[str]) -> list[str]:
    """The command line of an engine that runs this very code, isolated from the caller's environment (-I)."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.basename(home) in ("site-packages", "dist-packages"):
        return [sys.executable, "-I", "-m", "rundlet.daemon", *arguments]
    return [sys.executable, "-I", "-c", RUN_FROM, home, *arguments]


def engine_environment() -> dict[str, str]:
    """The allow-listed part of the environment, with a usable PATH."""
    environment = {name: value for name, value in os.environ.items() if name in ENVIRONMENT}
    found = environment.get("PATH", "").split(":")
    environment["PATH"] = ":".join([*filter(None, found), *(part for part in PATH.split(":") if part not in found)])
    return environment


def listening() -> bool:
    """Whether an engine accepts connections on the user's own socket."""
    try:
        Endpoint(f"unix://{paths.engine_socket()}").connect().close()
    except ConnectError:
        return False
    return True


def start_engine() -> None:
    """Return when an engine listens on the user's own socket. Raises CommandError with the engine's own line."""
    run = paths.run_directory()
    try:
        os.makedirs(run, mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        lock = os.open(f"{run}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise CommandError(f"cannot start the engine: {exc.filename}: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not listening():
            _spawn(run)
    finally:
        os.close(lock)


def _spawn(run: str) -> None:
    reader, writer = os.pipe()
    arguments = ["--data-root", paths.data_root(), "--exec-root", run, "--leave-cgroup", "--ready-fd", str(writer)]
    os.set_inheritable(writer, True)
    log = f"{run}/engine.log"
    here = _here()
    try:
        # The engine outlives this command: nothing of its terminal, session or directory may be kept busy.
        os.chdir("/")
        pid = os.posix_spawn(
            sys.executable,
            engine_argv(arguments),
            engine_environment(),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
        )
    except OSError as exc:
        os.close(reader)
        raise CommandError(f"cannot start the engine: {exc.filename or sys.executable}: {exc.strerror}") from exc
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)
        os.close(writer)
    answer = _await_ready(reader)
    if answer == "ok" or (ALREADY in answer and _appears()):
        return
    if not answer:
        status = _status(pid)
        answer = f"{status}; its log is {log}" + _last_line(log)
    raise CommandError(f"cannot start the engine: {answer}")


def _here() -> int:
    """The working directory, to come back to; -1 for one that this user may not enter (after sudo -u, from /root)."""
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return -1


def _appears() -> bool:
    """Whether the engine that holds the data root listens soon: its launcher starts it again after it was killed."""
    deadline = time.monotonic() + RETURN_TIMEOUT
    while not listening():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _await_ready(reader: int) -> str:
    """The engine's first line; empty when it ended, or took too long, without one."""
    deadline = time.monotonic() + READY_TIMEOUT
    data = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    try:
        while b"\n" not in data:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return ""
            piece = os.read(reader, 4096)
            if not piece:
                break
            data += piece
    finally:
        os.close(reader)
    return data.decode("utf-8", "replace").strip()


def _status(pid: int) -> str:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return f"it did not get ready (process {pid})"
    code = os.waitstatus_to_exitcode(status)
    return f"it was killed by signal {-code}" if code < 0 else f"it ended with status {code}"


def _last_line(log: str) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f"\n{lines[-1]}" if lines else ""
