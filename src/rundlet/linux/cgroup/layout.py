"""Which control groups the machine has, and where they are mounted.

*v2* is one hierarchy for everything. *v1* is one for each controller (or for a few together). *hybrid* is v1 plus a v2
hierarchy without controllers, as systemd once set it up: worth joining for cgroup.kill and device programs.
"""

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from rundlet.linux import userns

V1: Final = "v1"
V2: Final = "v2"
HYBRID: Final = "hybrid"

DELEGATED: Final = "RUNDLET_CGROUP"
"""The environment variable with the v2 group that an ordinary user's engine may use."""
_NAMED: Final = "name="


class Hierarchy(NamedTuple):
    """A v1 hierarchy: its controllers ("memory"; "name=systemd" for one that only has a name), its mount point."""

    controllers: tuple[str, ...]
    mountpoint: str


class Layout(NamedTuple):
    """``version`` is v1, v2 or hybrid; ``unified`` the mount point of v2, where there is one, with its controllers."""

    version: str
    hierarchies: tuple[Hierarchy, ...]
    unified: str | None
    unified_controllers: tuple[str, ...]
    base: str = ""
    """The group, from the hierarchy's root, that ``unified`` is the directory of; empty: the root itself."""

    @property
    def controllers(self) -> frozenset[str]:
        """All controllers that can limit something, of either version."""
        names = {name for hierarchy in self.hierarchies for name in hierarchy.controllers}
        return frozenset(name for name in names if not name.startswith(_NAMED)) | frozenset(self.unified_controllers)

    def mountpoint(self, controller: str) -> str | None:
        """Where the v1 hierarchy of ``controller`` is mounted."""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy.mountpoint
        return None


def detect() -> Layout:
    """Look at the mounts of the calling process. Without any cgroup mount the layout is an empty v1.

    In a user namespace only a group that was given to its user counts, by ``$RUNDLET_CGROUP``: all others are the
    machine's.
    """
    if not userns.INITIAL:
        return _delegated(os.environ.get(DELEGATED, ""))
    with open("/proc/self/mountinfo", "rb") as file:
        hierarchies, unified = parse_mountinfo(os.fsdecode(file.read()).splitlines())
    controllers: tuple[str, ...] = ()
    if unified is not None:
        try:
            with open(f"{unified}/cgroup.controllers", encoding="ascii") as lines:
                controllers = tuple(lines.read().split())
        except OSError:
            pass  # a mount that we may not read has nothing to offer
    if unified is None:
        return Layout(V1, hierarchies, None, ())
    limiting = any(not name.startswith(_NAMED) for hierarchy in hierarchies for name in hierarchy.controllers)
    return Layout(HYBRID if limiting else V2, hierarchies if limiting else (), unified, controllers)


def managed(base: str) -> Layout:
    """Where a service manager makes groups: that of a user has the group ``base``, the machine's the root ("")."""
    return _delegated(base) if base else detect()


def _delegated(base: str) -> Layout:
    """The v2 hierarchy from the group ``base`` on."""
    if base:
        with open("/proc/self/mountinfo", "rb") as file:
            _, unified = parse_mountinfo(os.fsdecode(file.read()).splitlines())
        try:
            with open(f"{unified}{base}/cgroup.controllers", encoding="ascii") as lines:
                return Layout(V2, (), f"{unified}{base}", tuple(lines.read().split()), base)
        except OSError:
            pass  # taken away again
    return Layout(V1, (), None, ())


def unified_options() -> tuple[str, ...]:
    """The options of the v2 hierarchy ("nsdelegate"), which all its mounts share; none without it."""
    with open("/proc/self/mountinfo", "rb") as file:
        lines = os.fsdecode(file.read()).splitlines()
    for line in lines:
        tail = line.partition(" - ")[2].split(" ")
        if tail[0] == "cgroup2":
            return tuple(name for name in tail[-1].split(",") if name not in ("rw", "ro"))
    return ()


def parse_mountinfo(lines: Iterable[str]) -> tuple[tuple[Hierarchy, ...], str | None]:
    """The v1 hierarchies and the v2 mount point in the lines of /proc/self/mountinfo.

    What is mounted several times counts once, under /sys/fs/cgroup if it is there.
    """
    found: dict[tuple[str, ...], str] = {}
    unified: str | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(tail) < 3:
            continue
        mountpoint = _unescape(fields[4])
        if tail[0] == "cgroup2":
            unified = _better(unified, mountpoint)
        elif tail[0] == "cgroup":
            names = tuple(name for name in tail[2].split(",") if name.startswith(_NAMED) or name in _CONTROLLERS)
            if names:
                found[names] = _better(found.get(names), mountpoint)
    return tuple(Hierarchy(names, mountpoint) for names, mountpoint in found.items()), unified


_CONTROLLERS: Final = frozenset(
    "blkio cpu cpuacct cpuset devices freezer hugetlb memory misc net_cls net_prio perf_event pids rdma".split()
)


def _better(old: str | None, new: str) -> str:
    if old is None or (new.startswith("/sys/fs/cgroup") and not old.startswith("/sys/fs/cgroup")):
        return new
    return old


def _unescape(text: str) -> str:
    """Undo the octal escapes (blank, tab, newline, backslash) of the file."""
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
