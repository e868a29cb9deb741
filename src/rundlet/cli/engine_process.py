"""The user's own engine as a process: whether it runs, which it is, and ending it."""

from __future__ import annotations

import fcntl
import os
import select
import time

from rundlet.cli import paths
from rundlet.cli.exit import CommandError

STOP_TIMEOUT = 20.0


def is_running() -> bool:
    """Whether an engine holds its lock on the data root. Raises CommandError when that can't be looked at."""
    path = f"{paths.data_root()}/engine.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is_engine(pid: int) -> bool:
    """Whether ``pid`` is a process that runs the engine's module: a stale pidfile must never end a stranger."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"rundlet.daemon" in file.read()
    except OSError:
        return False


def _pid_from_file() -> int:
    for path in (f"{paths.run_directory()}/rundlet.pid", f"{paths.data_root()}/engine.lock"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                text = file.read(32).split()
        except OSError:
            continue
        if text and text[0].isdigit() and _is_engine(int(text[0])):
            return int(text[0])
    return 0


def _pid_from_socket() -> int:
    """Who listens on the engine's socket, from the kernel; 0 when nobody does, or systemd does in its place."""
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(paths.engine_socket())
        # struct ucred: pid, uid, gid
        pid = int.from_bytes(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[:4], "little")
    except OSError:
        return 0
    finally:
        sock.close()
    return pid if _is_engine(pid) else 0


def engine_pid() -> int:
    """The running engine's process; 0 when none is found."""
    return _pid_from_file() or _pid_from_socket()


def stop() -> bool:
    """End the engine (SIGTERM) and wait until it is gone; False when none runs. Raises CommandError."""
    if not is_running():
        return False
    pid = engine_pid()
    if not pid:
        raise CommandError("an engine holds the data root's lock, but its process could not be found")
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # Between finding the pid and holding the descriptor it may have become someone else's.
        if not _is_engine(pid):
            return True
        _terminate(fd, pid)
    finally:
        os.close(fd)
    return True


def _terminate(fd: int, pid: int) -> None:
    from signal import SIGTERM, pidfd_send_signal

    try:
        pidfd_send_signal(fd, SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise CommandError(f"the engine (process {pid}) belongs to another user") from exc
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + STOP_TIMEOUT
    while not poll.poll(max(0, int((deadline - time.monotonic()) * 1000))):
        if time.monotonic() >= deadline:
            raise CommandError(f"the engine (process {pid}) did not end within {STOP_TIMEOUT:.0f} seconds")
