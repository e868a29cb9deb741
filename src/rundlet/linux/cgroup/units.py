"""What limits mean to systemd: properties of a unit, so that it keeps what we write to its group. Pure functions.

See: systemd.resource-control(5); only what it has a property for.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rundlet.linux.cgroup.settings import v2_settings
from rundlet.linux.dbus import Variant

Property = tuple[str, Variant]

_INFINITY: Final = 2**64 - 1
_SECOND: Final = 1_000_000  # microseconds
_STEP: Final = 10_000  # systemd counts processor time in whole percents of a second


def properties(resources: Mapping[str, Any]) -> list[Property]:
    """The properties for OCI's ``linux.resources`` on cgroup v2. Raises: ValueError for limits that contradict."""
    found: list[Property] = []
    for setting in v2_settings(resources)[0]:
        convert = _KNOWN.get(setting.file)
        if convert is not None:
            found += convert(setting.value)
    return found


def _number(name: str) -> Callable[[str], list[Property]]:
    def convert(text: str) -> list[Property]:
        value = text.removeprefix("default ")
        if value != "max" and not value.isdigit():
            return []  # for one device only
        return [(name, Variant("t", _INFINITY if value == "max" else int(value)))]

    return convert


def _speed(text: str) -> list[Property]:
    quota, _, period = text.partition(" ")
    share, length = _INFINITY, int(period or 100_000)
    if quota != "max":
        share = -(-int(quota) * _SECOND // length)
        share += -share % _STEP
    return [("CPUQuotaPerSecUSec", Variant("t", share)), ("CPUQuotaPeriodUSec", Variant("t", length))]


def _mask(name: str) -> Callable[[str], list[Property]]:
    def convert(text: str) -> list[Property]:
        bits = 0
        for part in filter(None, text.strip().split(",")):
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                bits |= 1 << number
        return [(name, Variant("ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little")))]

    return convert


_KNOWN: Final[Mapping[str, Callable[[str], list[Property]]]] = {
    "memory.max": _number("MemoryMax"),
    "memory.high": _number("MemoryHigh"),
    "memory.low": _number("MemoryLow"),
    "memory.min": _number("MemoryMin"),
    "memory.swap.max": _number("MemorySwapMax"),
    "cpu.weight": _number("CPUWeight"),
    "cpu.max": _speed,
    "cpuset.cpus": _mask("AllowedCPUs"),
    "cpuset.mems": _mask("AllowedMemoryNodes"),
    "io.weight": _number("IOWeight"),
    "pids.max": _number("TasksMax"),
}
