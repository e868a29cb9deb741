"""What limits mean in files: ``linux.resources`` of the OCI runtime specification as lists of writes. Pure functions.

See: OCI runtime-spec, config-linux.md, "Control groups"; the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple


class Setting(NamedTuple):
    """Write ``value`` to ``file`` (a name in the container's cgroup of ``controller``)."""

    controller: str
    file: str
    value: str


_DEFAULT_PERIOD: Final = 100_000


def v1_settings(resources: Mapping[str, Any]) -> list[Setting]:
    """The writes for v1, in an order that is right for a new cgroup; devices are apart.

    Raises: ValueError for what v1 can't do.
    """
    if resources.get("unified"):
        raise ValueError("invalid configuration: unified resources need cgroup v2")
    settings: list[Setting] = []
    memory = _part(resources, "memory")
    _add(settings, "memory", "memory.limit_in_bytes", memory.get("limit"))
    _add(settings, "memory", "memory.memsw.limit_in_bytes", memory.get("swap"))
    _add(settings, "memory", "memory.soft_limit_in_bytes", memory.get("reservation"))
    _add(settings, "memory", "memory.kmem.tcp.limit_in_bytes", memory.get("kernelTCP"))
    if memory.get("swappiness") is not None:
        settings.append(Setting("memory", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        settings.append(Setting("memory", "memory.oom_control", "1"))
    cpu = _part(resources, "cpu")
    _add(settings, "cpu", "cpu.shares", cpu.get("shares"))
    _add(settings, "cpu", "cpu.cfs_period_us", cpu.get("period"))
    _add(settings, "cpu", "cpu.cfs_quota_us", cpu.get("quota"))
    if cpu.get("burst") is not None:
        settings.append(Setting("cpu", "cpu.cfs_burst_us", str(cpu["burst"])))
    _add(settings, "cpu", "cpu.rt_period_us", cpu.get("realtimePeriod"))
    _add(settings, "cpu", "cpu.rt_runtime_us", cpu.get("realtimeRuntime"))
    if cpu.get("idle") is not None:
        settings.append(Setting("cpu", "cpu.idle", str(cpu["idle"])))
    _add(settings, "cpuset", "cpuset.cpus", cpu.get("cpus"))
    _add(settings, "cpuset", "cpuset.mems", cpu.get("mems"))
    settings += _pids(resources)
    settings += _v1_block_io(_part(resources, "blockIO"))
    for page in _items(resources, "hugepageLimits"):
        settings.append(Setting("hugetlb", f"hugetlb.{page['pageSize']}.limit_in_bytes", str(page["limit"])))
    network = _part(resources, "network")
    _add(settings, "net_cls", "net_cls.classid", network.get("classID"))
    for priority in _items(network, "priorities"):
        settings.append(Setting("net_prio", "net_prio.ifpriomap", f"{priority['name']} {priority['priority']}"))
    return settings + _rdma(resources)


def v2_settings(resources: Mapping[str, Any]) -> tuple[list[Setting], list[str]]:
    """The writes for v2, and warnings about what v2 has no counterpart of; devices are apart.

    Raises: ValueError for limits that contradict each other.
    """
    settings: list[Setting] = []
    memory = _part(resources, "memory")
    swap = swap_limit(memory.get("swap"), memory.get("limit"))
    if memory.get("limit"):
        settings.append(Setting("memory", "memory.max", _limit(memory["limit"])))
    if swap is not None:
        settings.append(Setting("memory", "memory.swap.max", _limit(swap)))
    if memory.get("reservation"):
        settings.append(Setting("memory", "memory.low", _limit(memory["reservation"])))
    cpu = _part(resources, "cpu")
    if cpu.get("idle") is not None:
        settings.append(Setting("cpu", "cpu.idle", str(cpu["idle"])))
    if cpu.get("shares"):
        settings.append(Setting("cpu", "cpu.weight", str(cpu_weight(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        settings.append(Setting("cpu", "cpu.max", f"{_limit(quota)} {cpu.get('period') or _DEFAULT_PERIOD}"))
    if cpu.get("burst") is not None:
        settings.append(Setting("cpu", "cpu.max.burst", str(cpu["burst"])))
    _add(settings, "cpuset", "cpuset.cpus", cpu.get("cpus"))
    _add(settings, "cpuset", "cpuset.mems", cpu.get("mems"))
    settings += _pids(resources)
    settings += _v2_block_io(_part(resources, "blockIO"))
    for page in _items(resources, "hugepageLimits"):
        settings.append(Setting("hugetlb", f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    settings += _rdma(resources)
    for file, value in sorted(_part(resources, "unified").items()):
        if "/" in file or "." not in file:
            raise ValueError(f"invalid cgroup file name {file!r}")
        settings.append(Setting(file.split(".")[0], file, str(value)))
    return settings, [f"{what} is not supported by cgroup v2. Discarded." for what in _only_v1(resources)]


def swap_limit(swap: int | None, memory: int | None) -> int | None:
    """v2's limit of swap alone, from OCI's limit of memory and swap together; -1 is no limit, None leaves it.

    Raises: ValueError where the two contradict each other.
    """
    if memory == -1 and not swap:
        return -1
    if not swap:
        return None
    if swap == -1:
        return -1
    if not memory or memory == -1:
        raise ValueError("unable to set swap limit without memory limit")
    if swap < memory:
        raise ValueError("memory+swap limit should be >= memory limit")
    return swap - memory


def cpu_weight(shares: int) -> int:
    """v2's weight (1 to 10,000) for v1's shares (2 to 262,144)."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def io_weight(weight: int) -> int:
    """v2's weight (1 to 10,000) for v1's (10 to 1,000)."""
    return 1 + (weight - 10) * 9999 // 990


def _only_v1(resources: Mapping[str, Any]) -> list[str]:
    memory, cpu = _part(resources, "memory"), _part(resources, "cpu")
    found = {
        "disabling the OOM killer": memory.get("disableOOMKiller"),
        "memory swappiness": memory.get("swappiness") is not None,
        "a kernel TCP memory limit": memory.get("kernelTCP"),
        "realtime scheduling": cpu.get("realtimePeriod") or cpu.get("realtimeRuntime"),
        "network class and priority": _part(resources, "network"),
    }
    return [what for what, given in found.items() if given]


def _pids(resources: Mapping[str, Any]) -> list[Setting]:
    limit = _part(resources, "pids").get("limit")
    return [Setting("pids", "pids.max", _limit(limit))] if limit else []


def _v1_block_io(block: Mapping[str, Any]) -> list[Setting]:
    settings: list[Setting] = []
    _add(settings, "blkio", "blkio.weight", block.get("weight"))
    for device in _items(block, "weightDevice"):
        settings.append(
            Setting("blkio", "blkio.weight_device", f"{device['major']}:{device['minor']} {device['weight']}")
        )
    for key, file in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):
        for device in _items(block, key):
            settings.append(Setting("blkio", file, f"{device['major']}:{device['minor']} {device['rate']}"))
    return settings


def _v2_block_io(block: Mapping[str, Any]) -> list[Setting]:
    settings: list[Setting] = []
    if block.get("weight"):
        settings.append(Setting("io", "io.weight", f"default {io_weight(block['weight'])}"))
    for device in _items(block, "weightDevice"):
        weight = io_weight(device["weight"])
        settings.append(Setting("io", "io.weight", f"{device['major']}:{device['minor']} {weight}"))
    for key, word in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for device in _items(block, key):
            rate = device["rate"] or "max"
            settings.append(Setting("io", "io.max", f"{device['major']}:{device['minor']} {word}={rate}"))
    return settings


def _rdma(resources: Mapping[str, Any]) -> list[Setting]:
    settings: list[Setting] = []
    for device, limits in _part(resources, "rdma").items():
        words = [
            f"{word}={limits[key]}"
            for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limits.get(key) is not None
        ]
        if words:
            settings.append(Setting("rdma", "rdma.max", f"{device} {' '.join(words)}"))
    return settings


def _add(settings: list[Setting], controller: str, file: str, value: int | str | None) -> None:
    """Add a setting unless it is absent, 0 or "": the engine's way to say "leave it"."""
    if value:
        settings.append(Setting(controller, file, str(value)))


def _limit(value: int) -> str:
    return "max" if value < 0 else str(value)


def _part(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def _items(source: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    return source.get(key) or ()
