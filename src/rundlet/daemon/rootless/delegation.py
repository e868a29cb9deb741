"""A control group of the user's own: a scope that the user's service manager makes and hands over (cgroup v2 only).

The keeper asks for it over D-Bus, by systemd's ``busctl``, and moves in with the engine; below it, ``engine`` has the
engine's own processes, since a group whose controllers are handed down may have none itself. Without systemd, or with
cgroup v1, there is none.

See: org.freedesktop.systemd1(5), "StartTransientUnit"; systemd's CGROUP_DELEGATION.md.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from rundlet.daemon.placement import LEAF

_ROOT: Final = "/sys/fs/cgroup"
_CONTROLLERS: Final = ("cpuset", "cpu", "io", "memory", "pids")
_PATH: Final = "/usr/bin:/bin"
_SECONDS: Final = 10.0
_BUS: Final = "org.freedesktop.systemd1"


def obtain(prefix: str, pids: Sequence[int], survivor: int = 0) -> str:
    """The path of a scope with ``pids`` in its leaf; empty when this user can have none.

    ``prefix`` begins the scope's name and is this engine's own. ``survivor`` is a process of an engine before, whose
    scope is taken over.
    """
    if not os.path.exists(f"{_ROOT}/cgroup.controllers"):
        return ""
    base = _scope_of(survivor, prefix) if survivor else ""
    if not base:
        base = _ask(prefix, pids)
    if not base or not os.access(f"{_ROOT}{base}/cgroup.subtree_control", os.W_OK):
        return ""
    try:
        os.makedirs(f"{_ROOT}{base}/{LEAF}", exist_ok=True)
        for pid in pids:
            _write_quietly(f"{_ROOT}{base}/{LEAF}/cgroup.procs", str(pid))
    except OSError:
        return ""
    for controller in _CONTROLLERS:
        _write_quietly(f"{_ROOT}{base}/cgroup.subtree_control", f"+{controller}")
    return base


def bring_in(base: str, pid: int) -> None:
    """Move an engine that was started in another session into the scope ``base``; where that fails it stays outside."""
    if within(base, pid):
        return
    _write_quietly(f"{_ROOT}{base}/{LEAF}/cgroup.procs", str(pid))
    if not within(base, pid):
        _call("AttachProcessesToUnit", "ssau", os.path.basename(base), f"/{LEAF}", "1", str(pid))


def within(base: str, pid: int) -> bool:
    """Whether ``pid`` is where it can start processes in ``base``: in one of the same service manager's groups."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            path = next((line[3:].rstrip() for line in file if line.startswith("0::")), "")
    except OSError:
        return False
    manager = base.partition(".service/")[0] + ".service/"
    return path.startswith(manager)


def _ask(prefix: str, pids: Sequence[int]) -> str:
    """Have the user's manager make the scope; its path when all of ``pids`` are in it."""
    properties = ["PIDs", "au", str(len(pids)), *map(str, pids), "Delegate", "b", "true"]
    properties += ["Description", "s", "Rundlet containers"]
    name = f"{prefix}-{os.getpid()}.scope"
    if not _call("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", "3", *properties, "0"):
        return ""
    # All of them, not the first: a group that hands controllers down takes no more processes, and the manager moves
    # them one by one, those of other sessions by way of the machine's manager.
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        bases = {_scope_of(pid, prefix) for pid in pids}
        if len(bases) == 1 and "" not in bases:
            return bases.pop()
        time.sleep(0.01)
    return ""


def _call(*words: str) -> bool:
    """Call a method of the user's service manager: its name, signature and arguments as busctl takes them."""
    busctl = shutil.which("busctl", path=f"{os.environ.get('PATH', '')}:{_PATH}")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if busctl is None or not os.path.exists(f"{runtime}/bus"):
        return False
    command = [busctl, "--user", "--quiet", "call", _BUS, "/org/freedesktop/systemd1", f"{_BUS}.Manager", *words]
    environment = {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode:
        os.write(2, b"the user's service manager refused: " + done.stderr)
    return not done.returncode


def _scope_of(pid: int, prefix: str) -> str:
    """The path of the scope that ``pid`` is in, if its name begins with ``prefix``."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    parts = path.split("/")
    for depth, part in enumerate(parts):
        if part.startswith(f"{prefix}-") and part.endswith(".scope"):
            return "/".join(parts[: depth + 1])
    return ""


def _write_quietly(path: str, text: str) -> None:
    """A process of another session can't be moved, a controller may not have been handed down to us: then not."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, text.encode())
    except OSError:
        pass
    finally:
        os.close(fd)
