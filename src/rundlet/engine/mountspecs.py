"""What ``-v``, ``--mount`` and ``--volumes-from`` may say, in Docker's words where they may not. No I/O but one look.

A ``-v`` is the short form of a ``--mount``: it is read into one, and both are held against the same rules.
"""

import os
import posixpath
from typing import Final

from rundlet.api.container_config import BindOptions, Mount, VolumeOptions
from rundlet.errors import InvalidParameterError

PROPAGATION: Final = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES: Final = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    PROPAGATION,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
    frozenset({"idmap"}),  # our own
)
"""One word of each kind at most."""
_OPTIONS: Final = (
    ("bind", "BindOptions"),
    ("volume", "VolumeOptions"),
    ("tmpfs", "TmpfsOptions"),
    ("image", "ImageOptions"),
)
_TYPES: Final = frozenset(kind for kind, _field in _OPTIONS)
_TMPFS_WORDS: Final = frozenset({"exec", "noexec"})
_TMPFS_FLAGS: Final = frozenset(
    "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync mand nomand atime noatime diratime nodiratime "
    "relatime norelatime strictatime nostrictatime private rprivate shared rshared slave rslave unbindable "
    "runbindable".split()
)
_TMPFS_KEYS: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


class InvalidMountError(InvalidParameterError):
    reason = "invalid-mount"


class VolumeSpecError(InvalidMountError):
    """A ``-v`` that can't be understood."""

    def __init__(self, spec: str, why: str = "") -> None:
        super().__init__(f"invalid volume specification: '{spec}'" + (f": {why}" if why else ""))


class ModeError(InvalidMountError):
    """What stands behind a mount's last colon."""

    def __init__(self, mode: str) -> None:
        super().__init__(f"invalid mode: {mode}")


class MountConfigError(InvalidMountError):
    """A mount that can't be carried out."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": {why}')


class PlaceError(InvalidMountError):
    """Nothing can be mounted there."""


class TmpfsOptionError(InvalidMountError):
    """A word of ``--tmpfs`` that a tmpfs doesn't know."""

    def __init__(self, word: str) -> None:
        super().__init__("invalid tmpfs option [" + " ".join(f'"{part}"' for part in word.split("=", 1)) + "]")


class VolumesFromError(InvalidMountError):
    def __init__(self) -> None:
        super().__init__("volumes-from specification cannot be an empty string")


def valid_mode(mode: str) -> bool:
    """Whether ``mode`` is a list of the known words, at most one of each kind; empty: whether nothing was said."""
    words = mode.split(",") if mode else []
    kinds = [next((index for index, kind in enumerate(_MODES) if word in kind), -1) for word in words]
    return -1 not in kinds and len(kinds) == len(set(kinds))


def parse(spec: str) -> tuple[Mount, str]:
    """``[host-path|name:]container-path[:mode]`` as a mount and its mode. Raises VolumeSpecError, ModeError."""
    source, target, mode = "", "", ""
    parts = spec.split(":", 3)
    if len(parts) == 1:
        target = parts[0]
    elif len(parts) == 2:
        source, target = parts
    elif len(parts) == 3:
        source, target, mode = parts
    # A path and a mode is no volume: /path:ro.
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and valid_mode(target)):
        raise VolumeSpecError(spec)
    if not valid_mode(mode):
        raise ModeError(mode)
    words = mode.split(",")
    propagation = next((word for word in words if word in PROPAGATION), "")
    is_bind = source.startswith("/")
    options = BindOptions(propagation=propagation, id_map=is_bind and "idmap" in words)
    mount = Mount(
        type="bind" if is_bind else "volume",
        source=source,
        target=target,
        read_only="ro" in words,
        bind_options=options if options != BindOptions() else None,
        volume_options=VolumeOptions(no_copy=True) if "nocopy" in words else None,
    )
    try:
        check(mount, look=False)
    except MountConfigError as exc:
        raise VolumeSpecError(spec, exc.message) from exc
    return mount, mode


def parse_volumes_from(spec: str) -> tuple[str, str]:
    """The container and the mode. Raises VolumesFromError, ModeError."""
    if not spec:
        raise VolumesFromError
    reference, _, mode = spec.partition(":")
    words = set(mode.split(","))
    if not valid_mode(mode) or words & PROPAGATION or "nocopy" in words:
        raise ModeError(mode)
    return reference, mode


def place(path: str) -> str:
    """The cleaned path of a mount point in the container. Raises PlaceError."""
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean == "/":
        raise PlaceError("invalid specification: destination can't be '/'")
    if not path.startswith("/"):
        raise PlaceError(f"invalid mount path: '{path}' mount path must be absolute")
    return clean


# Files that tools like lxcfs put in the place of the kernel's.
_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"),
        *("sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"),
    )
)


def check_outside_proc(destination: str) -> None:
    """Nothing hides what a container's programs, or its set-up, read in /proc. Raises InvalidMountError."""
    if destination.startswith("/proc/") and destination not in _IN_PROC:
        raise InvalidMountError(f'"{destination}" cannot be mounted because it is inside /proc')


def check_tmpfs(options: str) -> None:
    """What stands behind the colon of a ``--tmpfs``. Raises TmpfsOptionError."""
    for word in filter(None, options.split(",")):
        key, equals, _value = word.partition("=")
        if word not in _TMPFS_FLAGS and not (equals and key in _TMPFS_KEYS):
            raise TmpfsOptionError(word)


def check(mount: Mount, *, look: bool) -> None:
    """Whether ``mount`` makes sense; ``look`` whether a bind's source is there, too. Raises MountConfigError."""
    problem = _target_problem(mount.target) or _type_problem(mount)
    if problem:
        raise MountConfigError(mount.type, problem)
    # Options of another type make no sense, and must not be ignored.
    for kind, field in _OPTIONS:
        if kind != mount.type and getattr(mount, f"{kind}_options") is not None:
            raise MountConfigError(mount.type, f"field {field} must not be specified")
    problem = {"bind": _bind_problem, "volume": _volume_problem, "tmpfs": _tmpfs_problem, "image": _image_problem}[
        mount.type
    ](mount)
    if not problem and look and mount.type == "bind":
        problem = _source_problem(mount)
    if problem:
        raise MountConfigError(mount.type, problem)


def _target_problem(target: str) -> str:
    if not target:
        return "field Target must not be empty"
    try:
        place(target)
    except PlaceError as exc:
        return exc.message
    return ""


def _type_problem(mount: Mount) -> str:
    return "" if mount.type in _TYPES else "mount type unknown"


def _bind_problem(mount: Mount) -> str:
    if not mount.source:
        return "field Source must not be empty"
    propagation = mount.bind_options.propagation if mount.bind_options is not None else ""
    if propagation and propagation not in PROPAGATION:
        return f"invalid propagation mode: {propagation}"
    if not mount.source.startswith("/"):
        return f"invalid mount path: '{mount.source}' mount path must be absolute"
    return _recursion_problem(mount, mount.bind_options) if mount.bind_options is not None else ""


def _recursion_problem(mount: Mount, options: BindOptions) -> str:
    if options.read_only_non_recursive and options.read_only_force_recursive:
        return "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive"
    for name in ("read_only_non_recursive", "read_only_force_recursive"):
        if getattr(options, name) and not mount.read_only:
            return f"mount options conflict: !ReadOnly && BindOptions.{name.title().replace('_', '')}"
    if options.read_only_force_recursive and options.propagation not in ("", "rprivate"):
        return "mount options conflict: ReadOnlyForceRecursive needs BindOptions.Propagation to be rprivate"
    if options.read_only_force_recursive and options.non_recursive:
        return "mount options conflict: NonRecursive && ReadOnlyForceRecursive"
    return ""


def _source_problem(mount: Mount) -> str:
    create = mount.bind_options is not None and mount.bind_options.create_mountpoint
    there = os.path.lexists(mount.source)
    return "" if there or create else f"bind source path does not exist: {mount.source}"


def _volume_problem(mount: Mount) -> str:
    subpath = mount.volume_options.subpath if mount.volume_options is not None else ""
    if subpath and not mount.source:
        return "must not set Subpath when using anonymous volumes"
    if mount.read_only and not mount.source:
        return "must not set ReadOnly mode when using anonymous volumes"
    return _subpath_problem(subpath)


def _image_problem(mount: Mount) -> str:
    if not mount.source:
        return "field Source must not be empty"
    return _subpath_problem(mount.image_options.subpath if mount.image_options is not None else "")


def _subpath_problem(subpath: str) -> str:
    """By its words alone; what links on the way lead to, the shim sees to."""
    leads_out = subpath.startswith("/") or posixpath.normpath(subpath).split("/")[0] == ".."
    return "subpath must be a relative path within the volume" if subpath and leads_out else ""


def _tmpfs_problem(mount: Mount) -> str:
    if mount.source:
        return "field Source must not be specified"
    for option in mount.tmpfs_options.options if mount.tmpfs_options is not None else ():
        if not 1 <= len(option) <= 2:
            return "invalid option array length"
        if option[0] not in _TMPFS_WORDS:
            return f"invalid option: {option[0]}"
    return ""
