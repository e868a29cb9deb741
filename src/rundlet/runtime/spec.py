"""What a container is to be, as an OCI runtime configuration with Docker 28's defaults. Engine side, no privileges.

The shim executes the result, or hands it to another OCI runtime as it is. See: OCI runtime-spec, config.md and
config-linux.md.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.linux import caps, userns
from rundlet.runtime import hostdevices

OCI_VERSION: Final = "1.0.2"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM: Final = 64 << 20
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CPU_DEVICES: Final = "/sys/devices/system/cpu"
_CPU_PERIOD: Final = 100_000
_BILLION: Final = 1_000_000_000
_ALLOWED_DEVICES: Final = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
_TTY_GROUP: Final = 5
_ALWAYS_WRITABLE: Final = frozenset({"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"})

NamespaceKind: TypeAlias = Literal["pid", "ipc", "uts", "cgroup", "network"]
_KINDS: Final[tuple[NamespaceKind, ...]] = ("network", "uts", "pid", "ipc", "cgroup")


class CapabilityError(InvalidParameterError):
    """``--cap-add`` or ``--cap-drop`` names a capability that does not exist."""

    reason = "invalid-capability"

    def __init__(self, option: str, name: str) -> None:
        super().__init__(f'invalid {option}: unknown capability: "{name}"')


class Namespace(msgspec.Struct, frozen=True):
    """Where a namespace comes from: ``host``, ``new``, or a path below /proc of the one to join."""

    path: str


HOST: Final = Namespace("host")


class DeviceRequest(msgspec.Struct, frozen=True):
    """``--device host:container:permissions``."""

    path_on_host: str
    path_in_container: str
    permissions: str = "rwm"


class Rlimit(msgspec.Struct, frozen=True):
    """``--ulimit``: ``nofile``, soft, hard; -1 is no limit."""

    name: str
    soft: int
    hard: int


class Throttle(msgspec.Struct, frozen=True):
    """A rate (bytes or operations a second), or a weight, for the block device at ``path``."""

    path: str
    rate: int


class Limits(msgspec.Struct, frozen=True):
    """What the container may use. 0: not asked for; swap -1: no limit. Bytes, microseconds, billionths of a CPU."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    nano_cpus: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0
    weights: Sequence[Throttle] = ()
    read_bps: Sequence[Throttle] = ()
    write_bps: Sequence[Throttle] = ()
    read_iops: Sequence[Throttle] = ()
    write_iops: Sequence[Throttle] = ()

    def controllers(self) -> list[str]:
        """The cgroup controllers without which the container must not start: the user asked for their limits."""
        asked = {
            "memory": self.memory > 0 or self.memory_reservation > 0,
            "cpu": bool(
                self.cpu_shares
                or self.cpu_quota
                or self.cpu_period
                or self.nano_cpus
                or self.cpu_realtime_period
                or self.cpu_realtime_runtime
            ),
            "cpuset": bool(self.cpuset_cpus or self.cpuset_mems),
            "pids": self.pids > 0,
            "blkio": bool(self.weights or self.read_bps or self.write_bps or self.read_iops or self.write_iops),
        }
        return [name for name, wanted in asked.items() if wanted]


class SpecRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that shapes the configuration. ``mounts`` are OCI mounts; empty path lists mean no such paths."""

    args: Sequence[str] = ()
    env: Sequence[str] = ()
    cwd: str = "/"
    tty: bool = False
    hostname: str = ""
    domainname: str = ""
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    privileged: bool = False
    read_only: bool = False
    mounts: Sequence[dict[str, Any]] = ()
    devices: Sequence[DeviceRequest] = ()
    device_cgroup_rules: Sequence[str] = ()
    masked_paths: Sequence[str] = MASKED_PATHS
    readonly_paths: Sequence[str] = READONLY_PATHS
    shm_size: int = DEFAULT_SHM
    sysctls: Mapping[str, str] | None = None
    rlimits: Sequence[Rlimit] = ()
    limits: Limits = Limits()
    namespaces: Mapping[NamespaceKind, Namespace] = {}
    cgroup_path: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    writable_cgroups: bool | None = None  # None: as privileged
    selinux: str = ""
    oom_score_adj: int = 0
    annotations: Mapping[str, str] | None = None
    users: Sequence[tuple[int, int, int]] = ()
    """(inside, outside, how many): the container has users of its own. Empty: the engine's."""
    groups: Sequence[tuple[int, int, int]] = ()


def build(request: SpecRequest) -> dict[str, Any]:
    """The OCI configuration. The user stays root here: the shim looks the wanted one up in the mounted root.

    Raises: InvalidParameterError (capability, device, rlimit, device rule).
    """
    devices, rules = _devices(request)
    uts_is_host = _namespace(request, "uts") == HOST
    config: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(request),
        "root": {"path": "rootfs", "readonly": request.read_only},
        "mounts": _mounts(request),
        "linux": {
            "namespaces": _namespaces(request),
            "resources": {"devices": rules} | resources(request.limits),
            "devices": devices,
            "sysctl": _sysctls(request),
            "cgroupsPath": request.cgroup_path,
            "maskedPaths": [] if request.privileged else _masked(request.masked_paths),
            "readonlyPaths": [] if request.privileged else list(request.readonly_paths),
        },
    }
    if request.users:
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = _id_mappings(request.users)
        config["linux"]["gidMappings"] = _id_mappings(request.groups)
    if not uts_is_host:
        config["hostname"] = request.hostname
        if request.domainname:
            config["domainname"] = request.domainname
    if request.annotations:
        config["annotations"] = dict(request.annotations)
    return config


def process(request: SpecRequest) -> dict[str, Any]:
    """The OCI ``process`` of the container, or of an exec in it. Raises: InvalidParameterError."""
    names = capability_names(request)
    result: dict[str, Any] = {
        "terminal": request.tty,
        "user": {"uid": 0, "gid": 0},
        "args": list(request.args),
        "env": _environment(request),
        "cwd": request.cwd or "/",
        # Inheritable stays empty (CVE-2022-24769).
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": request.no_new_privileges,
        "oomScoreAdj": request.oom_score_adj,
    }
    if request.rlimits:
        result["rlimits"] = [_rlimit(limit) for limit in request.rlimits]
    if request.apparmor:
        result["apparmorProfile"] = request.apparmor
    if request.selinux:
        result["selinuxLabel"] = request.selinux
    return result


def check_capabilities(add: Iterable[str], drop: Iterable[str]) -> None:
    """Raises: CapabilityError."""
    for option, names in (("CapAdd", add), ("CapDrop", drop)):
        for name in names:
            _capability(option, name)


def capability_names(request: SpecRequest) -> list[str]:
    """The capabilities that the container has. Raises: CapabilityError."""
    add = [_capability("CapAdd", name) for name in request.cap_add]
    drop = [_capability("CapDrop", name) for name in request.cap_drop]
    every = caps.names(caps.kernel_mask())
    if request.privileged:
        return every
    start = every if "ALL" in add else [] if "ALL" in drop else list(caps.DEFAULT)
    kept = [name for name in start if name not in drop]
    return kept + [name for name in dict.fromkeys(add) if name != "ALL" and name not in kept]


def resources(limits: Limits) -> dict[str, Any]:
    """``linux.resources`` without devices; only what was asked for."""
    result: dict[str, Any] = {}
    memory = {
        "limit": limits.memory,
        "swap": limits.memory_swap,
        "reservation": limits.memory_reservation,
        "disableOOMKiller": limits.oom_kill_disable,
    }
    if limits.memory_swappiness is not None and limits.memory_swappiness >= 0:
        memory["swappiness"] = limits.memory_swappiness
    quota, period = limits.cpu_quota, limits.cpu_period
    if limits.nano_cpus > 0:
        period = _CPU_PERIOD
        quota = limits.nano_cpus * period // _BILLION
    cpu = {
        "shares": limits.cpu_shares,
        "quota": quota,
        "period": period,
        "realtimePeriod": limits.cpu_realtime_period,
        "realtimeRuntime": limits.cpu_realtime_runtime,
        "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems,
    }
    block_io: dict[str, Any] = {"weight": limits.blkio_weight}
    for key, throttles in (
        ("throttleReadBpsDevice", limits.read_bps),
        ("throttleWriteBpsDevice", limits.write_bps),
        ("throttleReadIOPSDevice", limits.read_iops),
        ("throttleWriteIOPSDevice", limits.write_iops),
    ):
        block_io[key] = [_throttle(item) for item in throttles]
    block_io["weightDevice"] = [_weight(item) for item in limits.weights]
    for name, values in (("memory", memory), ("cpu", cpu), ("blockIO", block_io)):
        asked = {key: value for key, value in values.items() if value or (key == "swappiness" and value is not None)}
        if asked:
            result[name] = asked
    if limits.pids:
        result["pids"] = {"limit": limits.pids}
    return result


def _capability(option: str, name: str) -> str:
    full = name.upper()
    if full == "ALL":
        return full
    if not full.startswith("CAP_"):
        full = f"CAP_{full}"
    if full not in caps.CAPABILITIES:
        raise CapabilityError(option, full)
    return full


def _environment(request: SpecRequest) -> list[str]:
    """Docker's variables first, then the container's; a later one of the same name replaces an earlier one in place."""
    own = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={request.hostname}"]
    if request.tty:
        own.append("TERM=xterm")
    result: dict[str, str] = {}
    for entry in [*own, *request.env]:
        name, separator, _ = entry.partition("=")
        if separator:
            result[name] = entry
        else:
            result.pop(name, None)  # "-e NAME" without a value takes a variable away
    return list(result.values())


def _rlimit(limit: Rlimit) -> dict[str, Any]:
    import resource

    name = f"RLIMIT_{limit.name.upper()}"
    if not hasattr(resource, name):
        raise InvalidParameterError(f"invalid ulimit type: {limit.name}")
    return {"type": name, "soft": limit.soft, "hard": limit.hard}


def _throttle(throttle: Throttle) -> dict[str, int]:
    major, minor = hostdevices.number(throttle.path)
    return {"major": major, "minor": minor, "rate": throttle.rate}


def _weight(weight: Throttle) -> dict[str, int]:
    major, minor = hostdevices.number(weight.path)
    return {"major": major, "minor": minor, "weight": weight.rate}


def _namespace(request: SpecRequest, kind: NamespaceKind) -> Namespace | None:
    return request.namespaces.get(kind)


def _namespaces(request: SpecRequest) -> list[dict[str, str]]:
    result = [{"type": "mount"}]
    for kind in _KINDS:
        chosen = _namespace(request, kind)
        if chosen == HOST:
            continue
        entry: dict[str, str] = {"type": kind}
        if chosen is not None and chosen.path != "new":
            entry["path"] = chosen.path
        result.append(entry)
    return result


def _id_mappings(lines: Sequence[tuple[int, int, int]]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in lines]


def _last_group(request: SpecRequest) -> int:
    """The highest group that the container can have."""
    return max((inside + size - 1 for inside, _, size in request.groups), default=userns.LAST_GROUP)


def _sysctls(request: SpecRequest) -> dict[str, str]:
    """``--sysctl``, and Docker's two where the network namespace is the container's own."""
    chosen = _namespace(request, "network")
    own = {}
    if chosen is None:
        # Ports below 1024 and ping without capabilities: the namespace is the container's own.
        own["net.ipv4.ip_unprivileged_port_start"] = "0"
        own["net.ipv4.ping_group_range"] = f"0 {min(_last_group(request), 2147483647)}"
    present = {key: value for key, value in own.items() if os.path.exists("/proc/sys/" + key.replace(".", "/"))}
    return present | dict(request.sysctls or {})


def _masked(paths: Sequence[str]) -> list[str]:
    """The asked paths and, if the defaults are among them, the thermal counters that every CPU has."""
    result = list(paths)
    if "/sys/devices/virtual/powercap" in result:
        names = sorted(os.listdir(_CPU_DEVICES)) if os.path.isdir(_CPU_DEVICES) else []
        throttles = (f"{_CPU_DEVICES}/{name}/thermal_throttle" for name in names if name[3:].isdigit())
        result += [path for path in throttles if os.path.isdir(path)]
    return result


def _mounts(request: SpecRequest) -> list[dict[str, Any]]:
    """Docker's mounts, less those that the user replaces, then the user's, outer ones first."""
    replaced = {mount["destination"].rstrip("/") for mount in request.mounts}
    defaults = [
        mount
        for mount in _default_mounts(request)
        if mount["destination"] not in replaced
        and not ("/dev" in replaced and mount["destination"].startswith("/dev/"))
    ]
    if request.read_only:
        for mount in defaults:
            if mount["destination"] not in _ALWAYS_WRITABLE and "ro" not in mount["options"]:
                mount["options"].append("ro")
    wanted = sorted(request.mounts, key=lambda mount: mount["destination"].rstrip("/").count("/"))
    return defaults + [dict(mount) for mount in wanted]


def _default_mounts(request: SpecRequest) -> list[dict[str, Any]]:
    readonly = [] if request.privileged else ["ro"]
    writable = request.privileged if request.writable_cgroups is None else request.writable_cgroups
    groups = [] if writable else ["ro"]
    tty = (f"gid={_TTY_GROUP}",) if _last_group(request) >= _TTY_GROUP else ()
    mounts = [
        _mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
        _mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty),
        _mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", *readonly),
        _mount("cgroup", "cgroup", "/sys/fs/cgroup", *groups, "nosuid", "noexec", "nodev"),
    ]
    return mounts + _ipc_mounts(request)


def _ipc_mounts(request: SpecRequest) -> list[dict[str, Any]]:
    """/dev/mqueue and /dev/shm go with the IPC namespace: one's own, the host's, or another container's."""
    queue, shm = "/dev/mqueue", "/dev/shm"
    chosen = _namespace(request, "ipc")
    if chosen == HOST:
        return [
            _mount("bind", path, path, "bind", "nosuid", "noexec", "nodev")
            for path in (queue, shm)
            if os.path.isdir(path)
        ]
    own_queue = _mount("mqueue", "mqueue", queue, "nosuid", "noexec", "nodev")
    if chosen is None:
        size = f"size={request.shm_size}"
        return [own_queue, _mount("tmpfs", "shm", shm, "nosuid", "noexec", "nodev", "mode=1777", size)]
    if chosen.path == "new":
        return [own_queue]
    # The other container's own mount: taken from its mount namespace by the shim.
    other = _mount("bind", shm, shm, "bind", "nosuid", "noexec", "nodev")
    other["mountNamespace"] = f"{chosen.path.rpartition('/')[0]}/mnt"
    return [own_queue, other]


def _mount(kind: str, source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _devices(request: SpecRequest) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Device nodes, and the rules of the device cgroup."""
    custom = [_parse_rule(rule) for rule in request.device_cgroup_rules]
    if request.privileged:
        return hostdevices.all_devices(), [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    for major, minor in _ALLOWED_DEVICES:
        rule: dict[str, Any] = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else rule | {"minor": minor})
    devices: list[dict[str, Any]] = []
    for wanted in request.devices:
        found = hostdevices.requested(wanted.path_on_host, wanted.path_in_container)
        devices += found
        rules += hostdevices.rules(found, wanted.permissions)
    return devices, rules + custom


def _parse_rule(text: str) -> dict[str, Any]:
    """``--device-cgroup-rule "c 42:* rmw"``. Raises: InvalidParameterError."""
    kind, _, rest = text.strip().partition(" ")
    numbers, _, access = rest.strip().partition(" ")
    major, separator, minor = numbers.partition(":")
    valid = (
        kind in ("a", "b", "c")
        and separator
        and all(part == "*" or part.isdigit() for part in (major, minor))
        and access
        and set(access) <= set("rwm")
    )
    if not valid:
        raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule
