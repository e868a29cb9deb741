"""Steps for what the engine never asks for: scheduling, priority at disks, clocks, CPUs, personality.

Each is made from the configuration by :func:`of_process` or :func:`of_container`, which also check it.
"""

import os
import termios
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from rundlet.linux import libc, mempolicy, scheduling
from rundlet.runtime.command.errors import CommandError
from rundlet.runtime.init.steps import Context, Step

_DEADLINE: Final = scheduling.POLICIES["SCHED_DEADLINE"]  # only for who may run on every processor
_PROCESSORS: Final = 1024  # what the C library's sets are made for
_PERSONALITIES: Final = {"LINUX": 0x0000, "LINUX32": 0x0008}


class Scheduler(NamedTuple):
    """``process.scheduler``."""

    schedule: scheduling.Schedule
    step: str = "limit"

    def describe(self) -> str:
        return f"scheduling policy {self.schedule.policy}"

    def execute(self, context: Context) -> None:
        try:
            self.schedule.set()
        except PermissionError:
            if self.schedule.policy != _DEADLINE or len(os.sched_getaffinity(0)) == os.cpu_count():
                raise
            raise OSError(0, "", "process scheduler can't be used together with AllowedCPUs") from None


class IoPriority(NamedTuple):
    """``process.ioPriority``."""

    kind: int
    priority: int
    step: str = "limit"

    def describe(self) -> str:
        return f"I/O priority {self.kind}:{self.priority}"

    def execute(self, context: Context) -> None:
        scheduling.set_io_priority(self.kind, self.priority)


class Processors(NamedTuple):
    """The CPUs to run on, which a cgroup may have changed meanwhile."""

    numbers: frozenset[int]
    step: str = "limit"

    def describe(self) -> str:
        return f"CPUs {sorted(self.numbers)}"

    def execute(self, context: Context) -> None:
        os.sched_setaffinity(0, self.numbers)


class NewTime(NamedTuple):
    """A time namespace, with ``linux.timeOffsets``."""

    offsets: Mapping[str, tuple[int, int]]
    step: str = "namespace"

    def describe(self) -> str:
        return f"new time namespace {dict(self.offsets)}"

    def execute(self, context: Context) -> None:
        scheduling.enter_new_time(context.proc(), self.offsets)


class Personality(NamedTuple):
    """``linux.personality``: a 32-bit program on a 64-bit kernel, say."""

    domain: str
    step: str = "internal"

    def describe(self) -> str:
        return f"personality {self.domain}"

    def execute(self, context: Context) -> None:
        libc.call("personality", _PERSONALITIES[self.domain], path=self.domain)


class MemoryPolicy(NamedTuple):
    """``linux.memoryPolicy``."""

    mode: int
    nodes: frozenset[int]
    step: str = "limit"

    def describe(self) -> str:
        return f"memory policy {self.mode:#x} of nodes {sorted(self.nodes)}"

    def execute(self, context: Context) -> None:
        mempolicy.apply(self.mode, self.nodes)


class PlainTerminal(NamedTuple):
    """Line ends are the outer terminal's to make, or nobody's where output goes to no terminal: not twice."""

    step: str = "console"

    def describe(self) -> str:
        return "terminal that leaves line ends alone"

    def execute(self, context: Context) -> None:
        attributes = termios.tcgetattr(context.console)
        attributes[1] &= ~termios.ONLCR
        termios.tcsetattr(context.console, termios.TCSANOW, attributes)


# The kernel leaves out those that there aren't, and those that the cgroup doesn't give.
EVERY_PROCESSOR: Final = Processors(frozenset(range(_PROCESSORS)))


def of_process(process: Mapping[str, Any]) -> list[Step]:
    """Raises: CommandError."""
    steps: list[Step] = []
    if process.get("ioPriority"):
        steps.append(_io_priority(process["ioPriority"]))
    if process.get("scheduler"):
        steps.append(_scheduler(process["scheduler"]))
    return steps


def of_container(linux: Mapping[str, Any]) -> list[Step]:
    """Raises: CommandError."""
    time = next((entry for entry in linux.get("namespaces") or () if entry.get("type") == "time"), None)
    offsets = linux.get("timeOffsets") or {}
    if offsets and (time is None or time.get("path")):
        raise CommandError("time namespace offsets need a new time namespace")
    steps: list[Step] = []
    if time is not None and not time.get("path"):
        steps.append(NewTime({clock: _offset(clock, value or {}) for clock, value in offsets.items()}))
    return steps + _personality(linux) + _memory_policy(linux)


def of_exec(linux: Mapping[str, Any], process: Mapping[str, Any]) -> list[Step]:
    """What a further process of the container has. Raises: CommandError."""
    steps = of_process(process) + _personality(linux) + _memory_policy(linux)
    affinity = process.get("execCPUAffinity") or {}
    if affinity.get("final"):
        steps.append(Processors(processors(affinity["final"])))
    elif not affinity.get("initial"):
        steps.append(EVERY_PROCESSOR)
    return steps


def _personality(linux: Mapping[str, Any]) -> list[Step]:
    personality = linux.get("personality") or {}
    if personality.get("flags"):
        raise CommandError("additional flags for personality are not supported")
    if not personality:
        return []
    if personality.get("domain") not in _PERSONALITIES:
        raise CommandError(f"unknown personality {personality.get('domain')!r}")
    return [Personality(personality["domain"])]


def _memory_policy(linux: Mapping[str, Any]) -> list[Step]:
    wanted = linux.get("memoryPolicy") or {}
    if not wanted:
        return []
    if wanted.get("mode") not in mempolicy.MODES:
        raise CommandError(f"invalid memory policy mode: {wanted.get('mode')!r}")
    mode = mempolicy.MODES[wanted["mode"]]
    for flag in wanted.get("flags") or ():
        if flag not in mempolicy.FLAGS:
            raise CommandError(f"invalid memory policy flag: {flag!r}")
        mode |= mempolicy.FLAGS[flag]
    try:
        nodes = _numbers(wanted["nodes"], mempolicy.NODES) if wanted.get("nodes") else frozenset()
    except ValueError:
        raise CommandError(f"invalid memory policy node {wanted['nodes']!r}") from None
    return [MemoryPolicy(mode, nodes)]


def processors(text: str) -> frozenset[int]:
    """``0,2-5``. Raises: CommandError."""
    try:
        return _numbers(text, _PROCESSORS)
    except ValueError:
        raise CommandError(f"bad CPU affinity {text!r}") from None


def _numbers(text: str, limit: int) -> frozenset[int]:
    """A list of ranges, of numbers below ``limit``. Raises: ValueError, also where there are none."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[-1] >= limit:
            raise ValueError(text)
        found.update(numbers)
    return frozenset(found)


def _offset(clock: str, value: Mapping[str, Any]) -> tuple[int, int]:
    if clock not in scheduling.CLOCKS:
        raise CommandError(f"unknown clock {clock!r} in time namespace offsets")
    return value.get("secs") or 0, value.get("nanosecs") or 0


def _scheduler(wanted: Mapping[str, Any]) -> Scheduler:
    policy, flags = wanted.get("policy"), wanted.get("flags") or ()
    if policy not in scheduling.POLICIES:
        raise CommandError(f"invalid scheduler policy: {policy}")
    bits = 0
    for flag in flags:
        if flag not in scheduling.FLAGS:
            raise CommandError(f"invalid scheduler flag: {flag}")
        bits |= scheduling.FLAGS[flag]
    times = {name: wanted.get(name) or 0 for name in ("runtime", "deadline", "period")}
    nice, priority = wanted.get("nice") or 0, wanted.get("priority") or 0
    if not -20 <= nice <= 19:
        raise CommandError(f"invalid scheduler.nice: {nice}")
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise CommandError("scheduler.priority can only be specified for SCHED_FIFO or SCHED_RR policy")
    if any(times.values()) and policy != "SCHED_DEADLINE":
        raise CommandError("scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE policy")
    return Scheduler(scheduling.Schedule(scheduling.POLICIES[policy], bits, nice, priority, **times))


def _io_priority(wanted: Mapping[str, Any]) -> IoPriority:
    kind, priority = wanted.get("class"), wanted.get("priority") or 0
    if kind not in scheduling.IO_CLASSES:
        raise CommandError(f"invalid ioPriority.class: {kind}")
    if priority not in range(8):
        raise CommandError(f"invalid ioPriority.priority: {priority}")
    return IoPriority(scheduling.IO_CLASSES[kind], priority)
