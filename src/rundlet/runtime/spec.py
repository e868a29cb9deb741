"""From what a user asked for to an OCI runtime configuration, with Docker's defaults.

Pure but for one thing: host devices are looked at (``--device``, ``--privileged``). The result is a true OCI bundle's
``config.json``: the native runtime and any other execute the same. See: OCI runtime-spec, config.md, config-linux.md.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.linux import caps

OCI_VERSION: Final = "1.1.0"
DEFAULT_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

Config = dict[str, Any]
NamespaceKind = Literal["pid", "ipc", "uts", "network", "cgroup"]


class Namespace(msgspec.Struct, frozen=True):
    """``new``: one of its own; ``host``: the host's; else the path of the namespace to join."""

    mode: str = "new"


NEW = Namespace()
HOST = Namespace("host")


class DeviceRequest(msgspec.Struct, frozen=True):
    """A host device, or directory of devices, in the container with ``rwm`` or a part of it."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


class Rlimit(msgspec.Struct, frozen=True):
    """``name`` as in ulimit(1): ``nofile``."""

    name: str
    soft: int
    hard: int


class Throttle(msgspec.Struct, frozen=True):
    """Bytes or operations a second for one block device."""

    path: str
    rate: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; 0 or empty: nothing. Bytes, microseconds, billionths of a CPU (``nano_cpus``)."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    oom_kill_disable: bool = False
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    nano_cpus: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0
    read_bps: tuple[Throttle, ...] = ()
    write_bps: tuple[Throttle, ...] = ()
    read_iops: tuple[Throttle, ...] = ()
    write_iops: tuple[Throttle, ...] = ()

    def controllers(self) -> list[str]:
        """The cgroup controllers without which these limits would be ignored."""
        wanted = {
            "memory": self.memory or self.memory_swap or self.memory_reservation or self.oom_kill_disable,
            "cpu": self.cpu_shares or self.cpu_period or self.cpu_quota or self.nano_cpus,
            "cpuset": self.cpuset_cpus or self.cpuset_mems,
            "pids": self.pids,
            "blkio": self.blkio_weight or self.read_bps or self.write_bps or self.read_iops or self.write_iops,
        }
        return [name for name, asked in wanted.items() if asked]


class SpecRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A container as its user asked for it. ``args`` is not empty; ``mounts`` are OCI mounts, in mounting order."""

    args: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    tty: bool = False
    hostname: str = ""
    domainname: str = ""
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    privileged: bool = False
    read_only: bool = False
    mounts: Sequence[Config] = ()
    devices: Sequence[DeviceRequest] = ()
    device_cgroup_rules: Sequence[str] = ()
    masked_paths: Sequence[str] = MASKED_PATHS
    readonly_paths: Sequence[str] = READONLY_PATHS
    shm_size: int = 64 << 20
    sysctls: dict[str, str] = {}
    rlimits: Sequence[Rlimit] = ()
    limits: Limits = Limits()
    namespaces: dict[NamespaceKind, Namespace] = {}
    cgroup_path: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    seccomp: Config | None = None
    oom_score_adj: int = 0
    annotations: dict[str, str] = {}
    rootfs: str = "rootfs"


def build(request: SpecRequest) -> Config:
    """The configuration. Raises InvalidParameterError for a capability, device, rule or limit that does not exist."""
    linux: Config = {
        "namespaces": _namespaces(request),
        "resources": _resources(request),
        "cgroupsPath": request.cgroup_path,
        "devices": _devices(request),
        "sysctl": _sysctls(request),
        "rootfsPropagation": "rslave",
        "maskedPaths": [] if request.privileged else list(request.masked_paths),
        "readonlyPaths": [] if request.privileged else list(request.readonly_paths),
    }
    if request.seccomp is not None:
        linux["seccomp"] = request.seccomp
    config: Config = {
        "ociVersion": OCI_VERSION,
        "process": process(request),
        "root": {"path": request.rootfs, "readonly": request.read_only},
        "hostname": request.hostname,
        "mounts": _mounts(request),
        "linux": linux,
        "annotations": request.annotations,
    }
    if request.domainname:
        config["domainname"] = request.domainname
    return config


def process(request: SpecRequest) -> Config:
    """The configuration's ``process``, also for a further process of the same container."""
    capabilities = capability_names(request)
    result: Config = {
        "terminal": request.tty,
        "user": {"uid": 0, "gid": 0},
        "args": list(request.args),
        "env": environment(request),
        "cwd": request.cwd or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "rlimits": [
            {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
            for limit in request.rlimits
        ],
        "noNewPrivileges": request.no_new_privileges,
        "oomScoreAdj": request.oom_score_adj,
    }
    if request.apparmor:
        result["apparmorProfile"] = request.apparmor
    return result


def environment(request: SpecRequest) -> list[str]:
    """Docker's defaults first, the user's variables over them; a later word wins over an earlier of its name."""
    defaults = [DEFAULT_PATH, f"HOSTNAME={request.hostname}"]
    if request.tty:
        defaults.append("TERM=xterm")
    values: dict[str, str] = {}
    for word in (*defaults, *request.env):
        name, _, value = word.partition("=")
        values[name] = value
    return [f"{name}={value}" for name, value in values.items()]


# -- capabilities ---------------------------------------------------------------------------------------------------


def capability_names(request: SpecRequest) -> list[str]:
    """The container's capabilities. Raises InvalidParameterError."""
    known = {name: number for name, number in caps.CAPABILITIES.items() if number <= caps.last_cap()}
    if request.privileged:
        return list(known)
    add, drop = _capabilities(request.cap_add), _capabilities(request.cap_drop)
    if "ALL" in add:
        chosen = [name for name in known if name not in drop]
    elif "ALL" in drop:
        chosen = [name for name in known if name in add]
    else:
        chosen = [name for name in caps.DEFAULT if name not in drop]
        chosen += [name for name in known if name in add and name not in chosen]
    return chosen


def _capabilities(names: Iterable[str]) -> set[str]:
    result = set()
    for name in names:
        full = name.upper()
        if full != "ALL":
            full = full if full.startswith("CAP_") else f"CAP_{full}"
            if full not in caps.CAPABILITIES:
                raise InvalidParameterError(f'invalid capability: unknown capability: "{name}"')
        result.add(full)
    return result


# -- namespaces and sysctls -----------------------------------------------------------------------------------------


def _namespaces(request: SpecRequest) -> list[Config]:
    entries: list[Config] = [{"type": "mount"}]
    kinds: tuple[NamespaceKind, ...] = ("network", "uts", "pid", "ipc", "cgroup")
    for kind in kinds:
        mode = request.namespaces.get(kind, NEW).mode
        if mode == "new":
            entries.append({"type": kind})
        elif mode != "host":
            entries.append({"type": kind, "path": mode})
    return entries


_IPC_SYSCTLS: Final = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced".split()
)


def _sysctls(request: SpecRequest) -> dict[str, str]:
    """The user's, and the two that let a container's programs bind low ports and ping without a capability."""
    private_network = request.namespaces.get("network", NEW).mode == "new"
    private_ipc = request.namespaces.get("ipc", NEW).mode == "new"
    values: dict[str, str] = {}
    if private_network and not request.privileged:
        values = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    for name, value in request.sysctls.items():
        if name.startswith("net."):
            allowed = private_network
        else:
            allowed = private_ipc and (name in _IPC_SYSCTLS or name.startswith("fs.mqueue."))
        if not allowed:
            raise InvalidParameterError(
                f"sysctl '{name}' is not allowed: it is not separate from the host's in this container"
            )
        values[name] = value
    return values


# -- mounts ---------------------------------------------------------------------------------------------------------


def _mounts(request: SpecRequest) -> list[Config]:
    read_only = "rw" if request.privileged else "ro"
    flags = ["nosuid", "noexec", "nodev"]
    defaults: list[Config] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": [*flags]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*flags, read_only]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [read_only, *flags]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": [*flags]},
    ]
    ipc = request.namespaces.get("ipc", NEW).mode
    if ipc == "new":
        options = [*flags, "mode=1777", f"size={request.shm_size}"]
        defaults.append({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options})
    elif ipc == "host":
        for path in ("/dev/shm", "/dev/mqueue"):
            defaults = [mount for mount in defaults if mount["destination"] != path]
            if os.path.isdir(path):
                defaults.append({"destination": path, "type": "bind", "source": path, "options": ["rbind", *flags]})
    named = {mount["destination"] for mount in request.mounts}
    kept = [mount for mount in defaults if mount["destination"] not in named]
    return [*kept, *request.mounts]


# -- devices --------------------------------------------------------------------------------------------------------

_TYPES: Final = {stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
_RULES: Final = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, None, "rwm"),
)


def _devices(request: SpecRequest) -> list[Config]:
    if request.privileged:
        return [
            device
            for path in _nodes_below("/dev")
            if (device := _device(path, path)) is not None and not _is_made_anyway(path)
        ]
    devices = []
    for wanted in request.devices:
        devices += [device for device, _permissions in _requested(wanted)]
    return devices


def _is_made_anyway(path: str) -> bool:
    return path.startswith(("/dev/pts/", "/dev/shm/", "/dev/mqueue/")) or path in ("/dev/console", "/dev/ptmx")


def _requested(wanted: DeviceRequest) -> list[tuple[Config, str]]:
    """The nodes that one ``--device`` means. Raises InvalidParameterError."""
    if not set(wanted.permissions) <= set("rwm") or not wanted.permissions:
        raise InvalidParameterError(f"invalid device mode: {wanted.permissions}")
    try:
        resolved = os.path.realpath(wanted.host_path, strict=True)
    except OSError as exc:
        raise InvalidParameterError(
            f'error gathering device information while adding custom device "{wanted.host_path}": no such file or '
            "directory"
        ) from exc
    if os.path.isdir(resolved):
        found = []
        for path in _nodes_below(resolved):
            device = _device(path, wanted.container_path + path[len(resolved) :])
            if device is not None:
                found.append((device, wanted.permissions))
        return found
    device = _device(resolved, wanted.container_path)
    if device is None:
        raise InvalidParameterError(
            f'error gathering device information while adding custom device "{wanted.host_path}": not a device node'
        )
    return [(device, wanted.permissions)]


def _nodes_below(root: str) -> list[str]:
    found = []
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if f"{directory}/{name}" not in ("/dev/pts", "/dev/shm", "/dev/mqueue")]
        found += [f"{directory}/{name}" for name in files]
    return sorted(found)


def _device(path: str, container_path: str) -> Config | None:
    """One node as OCI writes it; None when ``path`` is no device (any more)."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    kind = _TYPES.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    return {
        "path": container_path,
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _device_rules(request: SpecRequest) -> list[Config]:
    if request.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[Config] = [{"allow": False, "access": "rwm"}]
    rules += [_rule(*rule) for rule in _RULES]
    for wanted in request.devices:
        for device, permissions in _requested(wanted):
            rules.append(_rule(device["type"], device["major"], device["minor"], permissions))
    rules += [_parse_rule(text) for text in request.device_cgroup_rules]
    return rules


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> Config:
    rule: Config = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


def _parse_rule(text: str) -> Config:
    """``c 1:3 rwm``, with ``*`` for any number. Raises InvalidParameterError."""
    words = text.split()
    try:
        kind, numbers, access = words
        major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
    except ValueError:
        raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'") from None
    if kind not in ("a", "b", "c") or not access or not set(access) <= set("rwm"):
        raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'")
    return _rule(kind, major, minor, access)


# -- limits ---------------------------------------------------------------------------------------------------------


def _resources(request: SpecRequest) -> Config:
    return {"devices": _device_rules(request), **resources(request.limits)}


def resources(limits: Limits) -> Config:
    """The OCI resources of ``limits``; also what an update sends."""
    result: Config = {}
    memory: Config = {}
    if limits.memory:
        memory["limit"] = limits.memory
    if limits.memory_swap:
        memory["swap"] = limits.memory_swap
    if limits.memory_reservation:
        memory["reservation"] = limits.memory_reservation
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu: Config = {}
    if limits.cpu_shares:
        cpu["shares"] = limits.cpu_shares
    if limits.nano_cpus:
        cpu["period"] = 100_000
        cpu["quota"] = limits.nano_cpus * 100_000 // 10**9
    if limits.cpu_period:
        cpu["period"] = limits.cpu_period
    if limits.cpu_quota:
        cpu["quota"] = limits.cpu_quota
    if limits.cpuset_cpus:
        cpu["cpus"] = limits.cpuset_cpus
    if limits.cpuset_mems:
        cpu["mems"] = limits.cpuset_mems
    block = _block_io(limits)
    for name, part in (("memory", memory), ("cpu", cpu), ("blockIO", block)):
        if part:
            result[name] = part
    if limits.pids:
        result["pids"] = {"limit": limits.pids}
    return result


def _block_io(limits: Limits) -> Config:
    block: Config = {}
    if limits.blkio_weight:
        block["weight"] = limits.blkio_weight
    for name, throttles in (
        ("throttleReadBpsDevice", limits.read_bps),
        ("throttleWriteBpsDevice", limits.write_bps),
        ("throttleReadIOPSDevice", limits.read_iops),
        ("throttleWriteIOPSDevice", limits.write_iops),
    ):
        entries = []
        for throttle in throttles:
            device = _device(os.path.realpath(throttle.path), throttle.path)
            if device is None:
                raise InvalidParameterError(f"no such block device: {throttle.path}")
            entries.append({"major": device["major"], "minor": device["minor"], "rate": throttle.rate})
        if entries:
            block[name] = entries
    return block
