"""``--systemd-cgroup``: the container's control group is a scope that systemd makes.

``linux.cgroupsPath`` is "SLICE:PREFIX:NAME" then; without one the slice is the manager's usual. See: OCI
runtime-spec, config-linux.md, "Cgroups Path", and what runc makes of it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rundlet.linux import libc, systemd, userns
from rundlet.linux.cgroup import V2, managed
from rundlet.linux.cgroup.units import properties
from rundlet.runtime.command.errors import CommandError, RefusedError

_PREFIX: Final = "rundlet-runtime"


def section(container: str, linux: Mapping[str, Any]) -> dict[str, Any]:
    """As the shim's specification has it: ``path`` below the manager's group, and ``scope``. Raises: CommandError."""
    slice_, prefix, name = _words(container, linux)
    ordinary = not userns.INITIAL
    paths = systemd.sockets(_runtime_directory() if ordinary else "")
    if not paths:
        raise CommandError("systemd not running on this host, cannot use systemd cgroups manager")
    try:
        base = systemd.Manager(paths).control_group() if ordinary else ""
        path = systemd.slice_path(slice_)
    except (OSError, ValueError) as exc:
        raise CommandError(f"systemd cgroup {linux.get('cgroupsPath') or ''}: {exc}") from exc
    if managed(base).version != V2:
        raise RefusedError("--systemd-cgroup without cgroup v2")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    scope = {"id": container, "sockets": list(paths), "slice": slice_, "unit": unit, "base": base}
    return {"path": f"{path}/{unit}", "scope": scope}


def limit(scope: Mapping[str, Any], resources: Mapping[str, Any]) -> None:
    """New limits for it, so that they stay when systemd looks at it again. Raises: CommandError."""
    try:
        systemd.Manager(scope["sockets"]).set_properties(scope["unit"], properties(resources))
    except (OSError, ValueError) as exc:
        raise CommandError(f"systemd does not take the limits of {scope['unit']}: {exc}") from exc


@contextmanager
def member() -> Iterator[int]:
    """A process that a new scope can begin with, until init is in it. Raises: OSError."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid, _ = libc.clone3(0, pidfd=False)
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        yield pid
    finally:
        os.close(writing)
        os.waitpid(pid, 0)


def _words(container: str, linux: Mapping[str, Any]) -> tuple[str, str, str]:
    wanted = linux.get("cgroupsPath") or ""
    usual = "system.slice" if userns.INITIAL else "user.slice"
    if not wanted:
        return usual, _PREFIX, container
    words = wanted.split(":")
    if len(words) != 3:
        raise CommandError(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{wanted}" instead'
        )
    slice_, prefix, name = words
    if not name or "/" in prefix + name or name.endswith(".slice"):
        raise CommandError(f'invalid cgroupsPath "{wanted}": not the name of a scope')
    return slice_ or usual, prefix, name


def _runtime_directory() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.environ.get('_CONTAINERS_ROOTLESS_UID', os.getuid())}"
