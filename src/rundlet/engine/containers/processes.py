"""Which processes are a container's, and what they use where no control group counts it."""

import os

from rundlet.container.record import Record
from rundlet.engine.containers import groups
from rundlet.engine.context import Context
from rundlet.errors import ConflictError
from rundlet.linux.cgroup.stats import CpuStats, MemoryStats, PidsStats, Stats

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def members(record: Record, context: Context) -> list[int]:
    """Process numbers, in order: those in the control group, or, without one, those of the PID namespace."""
    found = groups.group(record, context)
    return sorted(found.pids()) if found.directories else _by_namespace(record.state.pid)


def check_freezer(record: Record, context: Context) -> None:
    """Raises ConflictError where nothing can stop a container's processes for a while."""
    if not groups.group(record, context).directories:
        raise ConflictError(
            f"container {record.id} can't be paused: there is no control group to freeze (rundlet system doctor says "
            "what this engine lacks)"
        )


def usage(record: Record) -> Stats:
    """The sum over the container's processes: what has ended and was not waited for by its init is not in it."""
    user = system = resident = tasks = 0
    for pid in _by_namespace(record.state.pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        times = [int(word) for word in words[11:15]]  # user, system, and the same of children that were waited for
        user, system = user + times[0] + times[2], system + times[1] + times[3]
        tasks += int(words[17])
        resident += int(words[21]) * _PAGE
    return Stats(
        CpuStats((user + system) * _TICK_NS, user * _TICK_NS, system * _TICK_NS, (), 0, 0, 0),
        MemoryStats(resident, None, None, None, None, {}),
        PidsStats(tasks, None),
        (),
        (),
    )


def _by_namespace(init: int) -> list[int]:
    """All in the PID namespace of ``init``; with the engine's own namespace (--pid host) its descendants."""
    try:
        wanted = os.stat(f"/proc/{init}/ns/pid").st_ino
        ours = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return []
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    if wanted == ours:
        return _descendants(init, pids)
    return [pid for pid in pids if _namespace(pid) == wanted]


def _namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def _descendants(init: int, pids: list[int]) -> list[int]:
    parents: dict[int, int] = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                parents[pid] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {init}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)
