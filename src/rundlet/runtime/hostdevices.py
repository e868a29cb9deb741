"""Device nodes of the host, for ``--device`` and ``--privileged``."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rundlet.errors import InvalidParameterError

# Directories of /dev that are file systems or fixtures of their own; the console is made from the container's terminal.
_SKIPPED: Final = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
_SKIPPED_FILES: Final = frozenset({"/dev/console"})


class DeviceError(InvalidParameterError):
    """``--device`` names something that is no device."""

    reason = "invalid-device"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f'error gathering device information while adding custom device "{path}": {why}')


def all_devices() -> list[dict[str, Any]]:
    """Every node below the host's /dev, as OCI devices."""
    return list(_below("/dev", "/dev"))


def requested(host_path: str, container_path: str) -> list[dict[str, Any]]:
    """The device at ``host_path``, or all below it, under their names in the container. Raises: DeviceError.

    A directory is walked to its last corner: not on an event loop.
    """
    if not host_path:  # the current directory to realpath
        raise DeviceError(host_path, os.strerror(errno.ENOENT).lower())
    try:
        real = os.path.realpath(host_path, strict=True)
        found = os.stat(real)
    except OSError as exc:
        raise DeviceError(host_path, (exc.strerror or "").lower()) from exc
    if stat.S_ISDIR(found.st_mode):
        devices = list(_below(real, container_path))
        if not devices:
            raise DeviceError(host_path, "not a device node")
        return devices
    device = _device(found, container_path)
    if device is None:
        raise DeviceError(host_path, "not a device node")
    return [device]


def rules(devices: Iterable[dict[str, Any]], permissions: str) -> list[dict[str, Any]]:
    """The cgroup rules that let a container use these devices."""
    return [
        {
            "allow": True,
            "type": device["type"],
            "major": device["major"],
            "minor": device["minor"],
            "access": permissions,
        }
        for device in devices
        if device["type"] != "p"
    ]


def number(path: str) -> tuple[int, int]:
    """Major and minor number of the device at ``path``. Raises: InvalidParameterError."""
    try:
        found = os.stat(path)
    except OSError as exc:
        raise InvalidParameterError(f"stat {path}: {(exc.strerror or '').lower()}") from exc
    return os.major(found.st_rdev), os.minor(found.st_rdev)


def _below(directory: str, shown: str) -> Iterator[dict[str, Any]]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink() or entry.path in _SKIPPED_FILES:
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SKIPPED:
                yield from _below(entry.path, f"{shown}/{entry.name}")
            continue
        try:
            device = _device(entry.stat(follow_symlinks=False), f"{shown}/{entry.name}")
        except OSError:
            continue  # it went while we looked
        if device is not None:
            yield device


def _device(found: os.stat_result, path: str) -> dict[str, Any] | None:
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    return {
        "path": path,
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }
