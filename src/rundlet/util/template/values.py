"""Go's view of JSON-like data: type names, truth, order of keys, and how values are printed."""

from __future__ import annotations

from math import isnan

from rundlet.util.template.errors import ExecutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# Fields of the Engine API that are lists or maps in Docker's Go types: their null is an empty one, not a nil pointer.
NULL_LISTS = frozenset(
    (
        "Aliases Args Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps "
        "BlkioWeightDevice CapAdd CapDrop Cmd Config DeviceCgroupRules DeviceRequests Devices Dns DnsOptions "
        "DnsSearch Entrypoint Env ExecIDs ExtraHosts GroupAdd Links MaskedPaths Mounts OnBuild ReadonlyPaths "
        "Manifests RepoDigests RepoTags SecurityOpt Shell Ulimits VolumesFrom"
    ).split()
)
NULL_MAPS = frozenset(
    (
        "Annotations AuxiliaryAddresses DriverOpts ExposedPorts Labels Networks Options PortBindings Ports StorageOpt "
        "Sysctls Tmpfs Volumes"
    ).split()
)


# Fields whose Go name, which templates may use, is not their name in JSON.
GO_NAMES = {
    "APIVersion": "ApiVersion",
    "CPUCfsPeriod": "CpuCfsPeriod",
    "CPUCfsQuota": "CpuCfsQuota",
    "CPUPeriod": "CpuPeriod",
    "CPUQuota": "CpuQuota",
    "CPURealtimePeriod": "CpuRealtimePeriod",
    "CPURealtimeRuntime": "CpuRealtimeRuntime",
    "CPUShares": "CpuShares",
    "DNS": "Dns",
    "DNSOptions": "DnsOptions",
    "DNSSearch": "DnsSearch",
    "HTTPProxy": "HttpProxy",
    "HTTPSProxy": "HttpsProxy",
    "HostIP": "HostIp",
    "ID": "Id",
    "NanoCPUs": "NanoCpus",
    "OSVersion": "OsVersion",
}


def null_text(name: str) -> str:
    """How Docker prints a field that is null in JSON."""
    if name in NULL_LISTS:
        return "[]"
    return "map[]" if name in NULL_MAPS else "<nil>"


class Missing:
    """Go's invalid value: what a map gives for a key that it has not. Prints as ``<no value>``."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


def type_name(value: Any) -> str:
    """The Go type that a decoder would have made of a value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, (list, tuple)):
        return "[]interface {}"
    return "nil"


def truth(value: Any) -> bool:
    """False for zero values and empty collections."""
    return value is not MISSING and bool(value)


def sorted_items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Entries in the order in which Go prints and ranges over a map."""
    return sorted(value.items())


def go_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """A float with the shortest digits that read back the same, exponents from 1e+21 on (as %v does)."""
    if isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0 or verb != "g":
        return _exponent(f"{value:.{6 if precision < 0 else precision}{verb}}")
    text = repr(value)
    exponent = text.partition("e")[2]
    if exponent:
        if -5 < int(exponent) < 21:
            text = f"{value:.0f}" if int(exponent) > 0 else text
    elif abs(value) >= 1e21 or (value and abs(value) < 1e-4):
        text = f"{value:e}"
    return _exponent(text.removesuffix(".0") if "e" not in text else text.replace(".0e", "e"))


def _exponent(text: str) -> str:
    """Two digits at least in an exponent, with its sign."""
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    number = int(exponent)
    return f"{mantissa}e{'-' if number < 0 else '+'}{abs(number):02d}"


def go_string(value: Any) -> str:
    """A value as ``{{.}}`` and %v print it."""
    if isinstance(value, str):
        return value
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_string(member)}" for key, member in sorted_items(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_string(member) for member in value) + "]"
    return str(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "int" if isinstance(value, int) else "float"
    return "string" if isinstance(value, str) else "other"


def equal(left: Any, right: Any) -> bool:
    """``eq``. Raises ExecutionError for what Go refuses to compare."""
    left, right = (None if value is MISSING else value for value in (left, right))
    if left is None or right is None:
        return left is right
    kinds = _kind(left), _kind(right)
    if "other" in kinds:
        raise ExecutionError(f"non-comparable type {type_name(left if kinds[0] == 'other' else right)}")
    if kinds[0] != kinds[1]:
        raise ExecutionError("incompatible types for comparison")
    return bool(left == right)


def less(left: Any, right: Any) -> bool:
    """``lt``. Raises ExecutionError."""
    kinds = _kind(left), _kind(right)
    if "bool" in kinds or "other" in kinds:
        raise ExecutionError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise ExecutionError("incompatible types for comparison")
    return bool(left < right)
