"""What containers leave on a machine, seen from outside: mounts, network namespaces, links, cgroups, tables, processes.

Two uses: the difference over a whole test run, and, while other engines work beside it, what still carries one engine's
marks (its instance ID and its directories).
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Found = dict[str, set[str]]


def mounts() -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            yield fields[4] + " " + line.partition(" - ")[2].strip()


def links() -> Iterator[str]:
    yield from os.listdir("/sys/class/net")


def cgroups() -> Iterator[str]:
    for directory, children, _ in os.walk("/sys/fs/cgroup"):
        yield directory
        if directory.count("/") > 8:
            children.clear()


def tables() -> Iterator[str]:
    nft = shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if nft is not None:
        done = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=False)
        yield from done.stdout.splitlines()


def _read(pid: str, name: str) -> str:
    try:
        return Path("/proc", pid, name).read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def _link(pid: str, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def processes() -> Iterator[str]:
    """Processes in a PID namespace that is not ours, and those of Rundlet itself."""
    ours = os.readlink("/proc/self/ns/pid")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        command = _read(pid, "cmdline")
        if not command or _read(pid, "stat").rpartition(")")[2].split()[:1] == ["Z"]:
            continue
        foreign = _link(pid, "ns/pid") not in {ours, ""}
        if foreign or "rundlet.daemon" in command or "rundlet" in _read(pid, "cgroup"):
            cgroup = _read(pid, "cgroup").splitlines()
            yield f"{pid} {command[:2000]} [{cgroup[0] if cgroup else ''}]"


def network_namespaces() -> Iterator[str]:
    seen = {_link(pid, "ns/net") for pid in os.listdir("/proc") if pid.isdigit()}
    yield from seen - {""}


KINDS: dict[str, Callable[[], Iterator[str]]] = {
    "mount": mounts,
    "link": links,
    "cgroup": cgroups,
    "table": tables,
    "process": processes,
    "network namespace": network_namespaces,
}


def snapshot() -> Found:
    return {kind: set(find()) for kind, find in KINDS.items()}


def new_since(before: Found, patience: float = 5.0) -> list[str]:
    """What is here now and was not in ``before``; waits ``patience`` seconds, as kernel objects die a little later."""

    def find_all() -> list[str]:
        return [f"{kind}: {item}" for kind, find in KINDS.items() for item in sorted(set(find()) - before[kind])]

    return settle(find_all, patience)


def with_marks(marks: tuple[str, ...], patience: float = 5.0) -> list[str]:
    """What names one of ``marks`` (an instance ID, a directory)."""

    def find_all() -> list[str]:
        found = (f"{kind}: {item}" for kind, find in KINDS.items() for item in sorted(find()))
        return [item for item in found if any(mark in item for mark in marks)]

    return settle(find_all, patience)


def settle(find: Callable[[], list[str]], patience: float) -> list[str]:
    deadline = time.monotonic() + patience
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def report(left: list[str]) -> str:
    shown = "\n".join(left[:20])
    return f"left behind: {len(left)}\n{shown}"
