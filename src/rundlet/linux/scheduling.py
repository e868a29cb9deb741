"""How the kernel treats the calling thread: scheduling policy, priority at disks, and what its clocks say.

See: sched_setattr(2), ioprio_set(2), time_namespaces(7).
"""

import os
import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from rundlet.linux import libc, ns

POLICIES: Final = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
CLOCKS: Final = ("monotonic", "boottime")
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQII")
_IO_CLASS_SHIFT: Final = 13
_IOPRIO_WHO_PROCESS: Final = 1


class Schedule(NamedTuple):
    """``runtime``, ``deadline`` and ``period`` are nanoseconds, of SCHED_DEADLINE only."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0

    def set(self) -> None:
        """For the calling thread. Raises: OSError."""
        data = _ATTRIBUTES.pack(
            _ATTRIBUTES.size,
            self.policy,
            self.flags,
            self.nice,
            self.priority,
            self.runtime,
            self.deadline,
            self.period,
            0,
            0,
        )
        libc.call("sched_setattr", 0, data, 0, path="scheduler")


def set_io_priority(kind: int, priority: int) -> None:
    """For the calling process. Raises: OSError."""
    libc.call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, kind << _IO_CLASS_SHIFT | priority, path="ioPriority")


def enter_new_time(proc: int, offsets: Mapping[str, tuple[int, int]]) -> None:
    """Move into a new time namespace whose clocks are ahead by seconds and nanoseconds, each of :data:`CLOCKS`.

    ``proc`` is a descriptor of a procfs that knows us. Raises: OSError.
    """
    libc.unshare(ns.CLONE_NEWTIME)
    if offsets:
        lines = (f"{clock} {seconds} {nanoseconds}\n" for clock, (seconds, nanoseconds) in offsets.items())
        _write(proc, "self/timens_offsets", lines)
    made = os.open("self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        libc.setns(made, ns.CLONE_NEWTIME)
    finally:
        os.close(made)


def _write(proc: int, name: str, lines: Iterable[str]) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(fd, "".join(lines).encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, f"/proc/{name}") from None
    finally:
        os.close(fd)
