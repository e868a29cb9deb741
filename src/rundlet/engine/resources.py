"""Limits against this machine: what it can't do is discarded with Docker's warning, or refused with Docker's words.

``refusals`` says what is wrong everywhere; this says what is wrong here.
"""

import glob
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from rundlet.api.container_config import Resources
from rundlet.engine import machine
from rundlet.errors import InternalError, InvalidParameterError, NotSupportedError
from rundlet.linux import cgroup

_MILLISECOND = 1000  # microseconds
_SECOND = 1_000_000


class Kernel(NamedTuple):
    """What the control groups of this machine know."""

    swappiness: bool
    oom_kill_disable: bool
    weight: bool
    weight_device: bool
    realtime: bool


@cache
def kernel() -> Kernel:
    layout = cgroup.detect()
    if layout.version == cgroup.V2:
        weight = bool(glob.glob(f"{layout.unified}/*/io.weight") or glob.glob(f"{layout.unified}/*/io.bfq.weight"))
        return Kernel(swappiness=False, oom_kill_disable=False, weight=weight, weight_device=weight, realtime=False)

    def has(controller: str, *files: str) -> bool:
        place = layout.mountpoint(controller)
        return place is not None and any(os.path.exists(f"{place}/{file}") for file in files)

    return Kernel(
        swappiness=has("memory", "memory.swappiness"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        weight=has("blkio", "blkio.weight", "blkio.bfq.weight"),
        weight_device=has("blkio", "blkio.weight_device", "blkio.bfq.weight_device"),
        realtime=has("cpu", "cpu.rt_runtime_us"),
    )


def check_storage(options: Mapping[str, str], root: str) -> None:
    """``--storage-opt``, for files below the directory ``root``. Raises InternalError with Docker's words and status,
    NotSupportedError where Docker could limit the size.
    """
    for name in options:
        if name.lower() != "size":
            raise InternalError(f"Unknown option {name.lower()}")
    if options:
        if _has_project_quotas(root):
            raise NotSupportedError("StorageOpt (--storage-opt)")
        raise InternalError("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")


def _has_project_quotas(root: str) -> bool:
    device = os.stat(root).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            if before.split()[2] == number and after.startswith("xfs "):
                return not {"pquota", "prjquota"}.isdisjoint(after.split()[-1].split(","))
    return False


def adapted(resources: Resources, able: Kernel | None = None) -> tuple[dict[str, Any], list[str]]:
    """(fields to replace, warnings): what the kernel can't do is taken away, so that inspect tells the truth.

    Raises InvalidParameterError for what is impossible here. ``able`` is for tests.
    """
    able = able or kernel()
    _check_cpu(resources, able)
    changes: dict[str, Any] = {}
    warnings: list[str] = []
    for name, empty, possible, what in (
        (
            "memory_swappiness",
            None,
            able.swappiness,
            "memory swappiness capabilities or the cgroup is not mounted. Memory swappiness",
        ),
        ("oom_kill_disable", None, able.oom_kill_disable, "OomKillDisable. OomKillDisable"),
        ("blkio_weight", 0, able.weight, "Block I/O weight or the cgroup is not mounted. Weight"),
        (
            "blkio_weight_device",
            None,
            able.weight_device,
            "Block I/O weight_device or the cgroup is not mounted. Weight-device",
        ),
    ):
        if not possible and _asked(name, getattr(resources, name)):
            changes[name] = empty
            warnings.append(f"Your kernel does not support {what} discarded.")
    if resources.memory_swappiness == -1:  # what clients send who ask for none
        changes["memory_swappiness"] = None
    return changes, warnings


def _asked(name: str, value: Any) -> bool:
    """0 is a swappiness, -1 is none."""
    return value is not None and value >= 0 if name == "memory_swappiness" else bool(value)


def _check_cpu(resources: Resources, able: Kernel) -> None:
    available = machine.cpus()
    if not 0 <= resources.nano_cpus <= available * 10**9:
        raise InvalidParameterError(
            f"range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
        )
    if resources.cpu_period and not _MILLISECOND <= resources.cpu_period <= _SECOND:
        raise InvalidParameterError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < resources.cpu_quota < _MILLISECOND:
        raise InvalidParameterError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if (resources.cpu_realtime_period or resources.cpu_realtime_runtime) and not able.realtime:
        raise InvalidParameterError("kernel does not support CPU real-time scheduler")
    if 0 < resources.cpu_realtime_period < resources.cpu_realtime_runtime:
        raise InvalidParameterError("cpu real-time runtime cannot be higher than cpu real-time period")
    for text, kind, what in (
        (resources.cpuset_cpus, "cpus", "CPUs"),
        (resources.cpuset_mems, "mems", "memory nodes"),
    ):
        if text:
            _check_set(text, kind, what)


def _check_set(text: str, kind: str, what: str) -> None:
    try:
        asked = parse_set(text)
    except ValueError:
        raise InvalidParameterError(f"Invalid value {text} for cpuset {kind}: invalid format: {text}") from None
    present = _available(kind)
    if present and not asked <= parse_set(present):
        raise InvalidParameterError(f"Requested {what} are not available - requested {text}, available: {present}")


def parse_set(text: str) -> set[int]:
    """``0-2,5``. Raises: ValueError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if low > high or high > 8192 or low < 0:
            raise ValueError(text)
        found |= set(range(low, high + 1))
    return found


def _available(kind: str) -> str:
    layout = cgroup.detect()
    place = layout.mountpoint("cpuset")
    files = [f"{place}/cpuset.{kind}"] if place else []
    if layout.unified is not None:
        files.append(f"{layout.unified}/cpuset.{kind}.effective")
    files.append(f"/sys/devices/system/{'cpu' if kind == 'cpus' else 'node'}/online")
    for file in files:
        try:
            with open(file) as opened:
                if text := opened.read().strip():
                    return text
        except OSError:
            continue
    return ""
