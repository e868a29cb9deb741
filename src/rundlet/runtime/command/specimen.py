"""``spec``: a config.json to begin with, a shell on a read-only root with few rights."""

import os
from typing import Any, Final

from rundlet.linux.cgroup import detect
from rundlet.linux.cgroup.layout import V2
from rundlet.runtime import spec

_CAPABILITIES: Final = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_FILES: Final = 1024
_TMPFS_SIZE: Final = "size=65536k"


def document() -> dict[str, Any]:
    """For root; a cgroup namespace only where a container sees nothing but its own group anyway (cgroup v2)."""
    kinds = ["pid", "network", "ipc", "uts", "mount"]
    if detect().version == V2:
        kinds.append("cgroup")
    return {
        "ociVersion": spec.OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={spec.DEFAULT_PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": _FILES, "soft": _FILES}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "rundlet",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": list(spec.MASKED_PATHS),
            "readonlyPaths": list(spec.READONLY_PATHS),
        },
    }


def unprivileged() -> dict[str, Any]:
    """The same in a user namespace whose root is who asks: no limits, and /sys as it is."""
    made = document()
    linux = made["linux"]
    linux.pop("resources")
    linux["namespaces"] = [item for item in linux["namespaces"] if item["type"] != "network"] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    kept = [entry for entry in made["mounts"] if entry["destination"] not in ("/sys", "/sys/fs/cgroup")]
    for entry in kept:
        entry["options"] = [option for option in entry.get("options") or () if not option.startswith(("gid=", "uid="))]
    made["mounts"] = [*kept, _mount("none", "/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")]
    return made


def _mounts() -> list[dict[str, Any]]:
    safe = ("nosuid", "noexec", "nodev")
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", _TMPFS_SIZE),
        _mount(
            "devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("tmpfs", "shm", "/dev/shm", *safe, "mode=1777", _TMPFS_SIZE),
        _mount("mqueue", "mqueue", "/dev/mqueue", *safe),
        _mount("sysfs", "sysfs", "/sys", *safe, "ro"),
        _mount("cgroup", "cgroup", "/sys/fs/cgroup", *safe, "relatime", "ro"),
    ]


def _mount(kind: str, source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
