"""What is only told: ``state``, ``list``, ``ps``, ``events``, ``features``; and ``update``, which tells back."""

import json
import os
import pwd
import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from rundlet import __version__
from rundlet.linux import caps, pidfd
from rundlet.linux.cgroup import V2, Cgroup, stats
from rundlet.linux.cgroup.files import wait_until
from rundlet.runtime.command import configs, scopes, states
from rundlet.runtime.command.arguments import Arguments
from rundlet.runtime.command.errors import CommandError, UsageError
from rundlet.runtime.command.states import State, States

_EVENTS: Final = 4096  # bytes; of the kernel's notifications only that there are any counts
_KILLING: Final = 2.0  # seconds for a process to be killed for want of memory
_UNITS: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def document(state: State) -> dict[str, Any]:
    """``state``, with the words that runc adds and some clients read."""
    status = state.status()
    return state.document(status) | {"rootfs": state.rootfs, "created": state.created, "owner": ""}


def list_all(everything: States, arguments: Arguments) -> str:
    found = everything.all()
    if arguments.on("quiet"):
        return "".join(f"{state.id}\n" for state in found)
    form = arguments.text("format", "table")
    documents = [document(state) | {"owner": _owner(state)} for state in found]
    if form == "json":
        return compact(documents) + "\n"
    if form != "table":
        raise UsageError(f"invalid format option: {form}")
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [tuple(key.upper() for key in keys), *(tuple(str(item[key]) for key in keys) for item in documents)]
    widths = [max(12, *(len(row[column]) + 3 for row in rows)) for column in range(len(keys))]
    lines = ("".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _owner(state: State) -> str:
    uid = os.stat(state.directory).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def processes(state: State, arguments: Arguments) -> str:
    """``ps``: the numbers as JSON, or the lines of ps(1) about them."""
    pids = state.group().pids()
    form = arguments.text("format", "table")
    if form == "json":
        return compact(pids) + "\n"
    if form != "table":
        raise UsageError(f"invalid format option: {form}")
    import subprocess

    options = arguments.words[1:] or ["-ef"]
    done = subprocess.run(["ps", *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"ps: {done.stderr.strip()}")
    header, *lines = done.stdout.splitlines()
    if "PID" not in header.split():
        raise CommandError("couldn't find PID field in ps output")
    column = header.split().index("PID")
    kept = (line for line in lines if line.split()[column].isdigit() and int(line.split()[column]) in pids)
    return "".join(f"{line}\n" for line in (header, *kept))


def watch(state: State, arguments: Arguments) -> None:
    """``events``: statistics now (``--stats``), or every interval until the container has stopped, and its OOMs."""
    if state.status() == states.STOPPED:
        raise CommandError(f"container with id {state.id} is not running")
    interval = _seconds(arguments.text("interval", "5s"))
    _say_statistics(state)
    if arguments.on("stats"):
        return
    process = pidfd.open(state.pid)
    out_of_memory, group = _oom_events(state), state.group()
    before, due = group.oom_kill_count(), time.monotonic() + interval
    while state.status() != states.STOPPED:
        watched = [process, *out_of_memory]
        ready, _, _ = select.select(watched, [], [], max(0.0, due - time.monotonic()))
        if process in ready:
            return
        if ready:
            os.read(out_of_memory[0], _EVENTS)
            count = _killed(group, before)
            for _ in range(count - before):
                _say({"type": "oom", "id": state.id})
            before = count
        else:
            _say_statistics(state)
            due += interval


def _killed(group: Cgroup, before: int) -> int:
    """How many processes were killed for want of memory, after a notice. v1: it comes before they are counted."""
    if group.layout.version != V2:
        wait_until(lambda: group.oom_kill_count() > before, _KILLING)
    return group.oom_kill_count()


def _oom_events(state: State) -> list[int]:
    try:
        return [state.group().oom_event_fd()]
    except OSError:
        return []  # no memory controller: nothing to be killed by


def _say_statistics(state: State) -> None:
    _say({"type": "stats", "id": state.id, "data": _statistics(state.group().stats())})


def _say(event: Mapping[str, Any]) -> None:
    sys.stdout.write(compact(event) + "\n")
    sys.stdout.flush()


def compact(found: object) -> str:
    """JSON without a space, as Go writes it and scripts look for it."""
    return json.dumps(found, separators=(",", ":"))


def _seconds(text: str) -> float:
    number, unit = text.rstrip("smh"), text[len(text.rstrip("smh")) :]
    try:
        value = float(number) * {"": 1, "s": 1, "ms": 0.001, "m": 60, "h": 3600}[unit]
    except (ValueError, KeyError):
        raise UsageError(f"invalid duration {text!r}") from None
    if value <= 0:
        raise UsageError("duration interval must be greater than 0")
    return value


def _statistics(found: stats.Stats) -> dict[str, Any]:
    memory, cpu = found.memory, found.cpu
    return {
        "cpu": {
            "usage": {"total": cpu.total, "percpu": list(cpu.per_cpu), "kernel": cpu.system, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_time,
            },
        },
        "memory": {
            "usage": {
                "usage": memory.usage,
                "max": memory.max_usage or 0,
                "limit": memory.limit or 0,
                "failcnt": memory.failures or 0,
            },
            "swap": {"usage": memory.swap_usage or 0},
            "raw": memory.detail,
        },
        "pids": {"current": found.pids.current, "limit": found.pids.limit or 0},
        "blkio": {
            "ioServiceBytesRecursive": [_block(item) for item in found.block_bytes],
            "ioServicedRecursive": [_block(item) for item in found.block_operations],
        },
    }


def _block(item: stats.BlockStats) -> dict[str, Any]:
    return {"major": item.major, "minor": item.minor, "op": item.operation.capitalize(), "value": item.value}


def update(state: State, arguments: Arguments) -> list[str]:
    """Change limits; returns warnings. Raises: CommandError."""
    if state.status() == states.STOPPED:
        raise CommandError("container not running")
    try:
        wanted = _resources(arguments)
        warnings = list(state.group().update(wanted))
        if state.scope is not None:
            scopes.limit(state.scope, wanted)
        return warnings
    except (OSError, ValueError) as exc:
        raise CommandError(f"update: {exc}") from exc


def _resources(arguments: Arguments) -> Mapping[str, Any]:
    source = arguments.text("resources")
    if source:
        try:
            data = sys.stdin.buffer.read() if source == "-" else _read(source)
            found = json.loads(data)
        except (OSError, ValueError) as exc:
            raise CommandError(f"resources: {exc}") from exc
        if not isinstance(found, dict):
            raise CommandError("resources: not an object")
        return found
    wanted: dict[str, dict[str, Any]] = {}
    for flag, (group, key, convert) in UPDATES.items():
        if arguments.given(flag):
            try:
                wanted.setdefault(group, {})[key] = convert(arguments.text(flag))
            except ValueError:
                raise UsageError(f"invalid value for {flag}: {arguments.text(flag)}") from None
    return wanted


def size(text: str) -> int:
    """``512m`` in bytes; -1 is no limit. Raises: ValueError."""
    word = text.strip().lower().removesuffix("ib").removesuffix("b")
    if not word:
        raise ValueError(text)
    return int(word[:-1]) * _UNITS[word[-1]] if word[-1] in _UNITS else int(word)


UPDATES: Final[dict[str, tuple[str, str, Callable[[str], int | str]]]] = {
    "blkio-weight": ("blockIO", "weight", int),
    "cpu-period": ("cpu", "period", int),
    "cpu-quota": ("cpu", "quota", int),
    "cpu-burst": ("cpu", "burst", int),
    "cpu-share": ("cpu", "shares", int),
    "cpu-rt-period": ("cpu", "realtimePeriod", int),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", int),
    "cpu-idle": ("cpu", "idle", int),
    "cpuset-cpus": ("cpu", "cpus", str),
    "cpuset-mems": ("cpu", "mems", str),
    "memory": ("memory", "limit", size),
    "memory-swap": ("memory", "swap", size),
    "memory-reservation": ("memory", "reservation", size),
    "pids-limit": ("pids", "limit", int),
}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def features() -> dict[str, Any]:
    """See: OCI runtime-spec, features.md."""
    from rundlet.linux import mempolicy
    from rundlet.linux.seccomp import model
    from rundlet.runtime.init import hooks, options

    flags = model.known_flags()
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": configs.NEWEST_SPEC,
        "hooks": list(hooks.KINDS),
        "mountOptions": options.known(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": caps.names(caps.kernel_mask()),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": model.known_actions(),
                "operators": sorted(model.OPERATORS),
                "archs": sorted(model.ARCHITECTURES),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": list(mempolicy.MODES), "flags": list(mempolicy.FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"org.rundlet.runtime.version": __version__},
    }
