"""What a container gets mounted besides its image: ``-v``, ``--mount``, ``--tmpfs``, image VOLUMEs, ``--volumes-from``.

:func:`resolve` turns the request into mount points (volumes are made here, a host path is only checked);
:func:`to_oci` turns mount points into the bundle's mounts.
"""

import os
import posixpath
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rundlet.api.container_config import ContainerConfig, HostConfig, Mount
from rundlet.container.record import MountPoint
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.volume.store import VolumeStore

PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = PROPAGATION | {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", "default"}


class InvalidMountError(InvalidParameterError):
    reason = "invalid-mount"


class VolumeSpecError(InvalidMountError):
    """A ``-v`` that can't be understood."""

    def __init__(self, spec: str, why: str = "") -> None:
        super().__init__(f"invalid volume specification: '{spec}'" + (f": {why}" if why else ""))


class MountConfigError(InvalidMountError):
    """A ``--mount`` that can't be carried out."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": {why}')


class DuplicateMountError(InvalidMountError):
    def __init__(self, destination: str) -> None:
        super().__init__(f"Duplicate mount point: {destination}")


def resolve(
    config: ContainerConfig,
    host: HostConfig,
    volumes: VolumeStore,
    mounts_of: Callable[[str], Iterable[MountPoint]],
) -> list[MountPoint]:
    """Mount points by Docker's precedence: ``--volumes-from`` < VOLUME < ``-v``/``--mount``.

    Makes the named and anonymous volumes. Raises InvalidMountError, NotSupportedError, and what ``mounts_of`` raises.
    """
    found: dict[str, MountPoint] = {}
    for source in host.volumes_from or ():
        for point in _from_container(source, mounts_of):
            found[point.destination] = point
    explicit: dict[str, MountPoint] = {}
    tmpfs = {_absolute(path, path): options for path, options in host.tmpfs.items()}
    for spec in host.binds or ():
        _add(explicit, _bind(spec, volumes), tmpfs)
    for mount in host.mounts:
        mounted = _mount(mount, volumes, tmpfs)
        if mounted is not None:
            _add(explicit, mounted, tmpfs)
    for path in config.volumes or ():
        destination = _absolute(path, path)
        if destination in explicit or destination in found or destination in tmpfs:
            continue
        volume = volumes.create(anonymous=True)
        explicit[destination] = _volume_point(volume.name, volume.path, destination, anonymous=True)
    return sorted({**found, **explicit}.values(), key=lambda point: point.destination)


def _add(points: dict[str, MountPoint], point: MountPoint, tmpfs: dict[str, str]) -> None:
    if point.destination in points or point.destination in tmpfs:
        raise DuplicateMountError(point.destination)
    points[point.destination] = point


def _absolute(path: str, spec: str) -> str:
    if not path.startswith("/"):
        raise VolumeSpecError(spec, f"invalid mount path: '{path}' mount path must be absolute")
    clean = posixpath.normpath(path)
    clean = "/" + clean.lstrip("/")
    if clean == "/":
        raise VolumeSpecError(spec, "invalid specification: destination can't be '/'")
    return clean


def _volume_point(name: str, path: str, destination: str, **fields: Any) -> MountPoint:
    return MountPoint(kind="volume", name=name, source=path, destination=destination, driver="local", **fields)


def _bind(spec: str, volumes: VolumeStore) -> MountPoint:
    """``[host-path|name:]container-path[:options]``."""
    parts = spec.split(":")
    if len(parts) == 1:
        volume = volumes.create(anonymous=True)
        return _volume_point(volume.name, volume.path, _absolute(parts[0], spec), anonymous=True)
    if len(parts) > 3 or not parts[0] or not parts[1]:
        raise VolumeSpecError(spec)
    source, destination, mode = parts[0], _absolute(parts[1], spec), parts[2] if len(parts) == 3 else ""
    options = [option for option in mode.split(",") if option]
    for option in options:
        if option not in _MODES:
            raise VolumeSpecError(spec, f"invalid mode: {mode}")
    if {"ro", "rw"} <= set(options):
        raise VolumeSpecError(spec, f"invalid mode: {mode}")
    rw = "ro" not in options
    chosen = [option for option in options if option in PROPAGATION]
    if source.startswith("/"):
        return MountPoint(
            kind="bind",
            source=posixpath.normpath(source),
            destination=destination,
            mode=mode,
            rw=rw,
            propagation=chosen[0] if chosen else "rprivate",
        )
    if chosen:
        raise VolumeSpecError(spec, "invalid mode for volumes: propagation is for bind mounts")
    volume = volumes.create(source)
    return _volume_point(volume.name, volume.path, destination, mode=mode or "z", rw=rw, no_copy="nocopy" in options)


def _mount(mount: Mount, volumes: VolumeStore, tmpfs: dict[str, str]) -> MountPoint | None:
    if not mount.target:
        raise MountConfigError(mount.type, "field Target must not be empty")
    if not mount.target.startswith("/"):
        raise MountConfigError(mount.type, f"invalid mount path: '{mount.target}' mount path must be absolute")
    destination = _absolute(mount.target, mount.target)
    match mount.type:
        case "bind":
            return _mount_bind(mount, destination)
        case "volume":
            return _mount_volume(mount, destination, volumes)
        case "tmpfs":
            if mount.source:
                raise MountConfigError("tmpfs", "field Source must not be specified")
            if destination in tmpfs:
                raise DuplicateMountError(destination)
            tmpfs[destination] = _tmpfs_options(mount)
            return None
        case "image" | "npipe" | "cluster":
            raise NotSupportedError(f"mount type {mount.type}")
        case _:
            raise InvalidMountError(f'mount type unknown: "{mount.type}"')


def _mount_bind(mount: Mount, destination: str) -> MountPoint:
    if not mount.source:
        raise MountConfigError("bind", "field Source must not be empty")
    if not mount.source.startswith("/"):
        raise MountConfigError("bind", f"invalid mount path: '{mount.source}' mount path must be absolute")
    options = mount.bind_options
    if not os.path.lexists(mount.source):
        if options is None or not options.create_mountpoint:
            raise MountConfigError("bind", f"bind source path does not exist: {mount.source}")
        os.makedirs(mount.source, 0o755, exist_ok=True)
    propagation = "rprivate"
    if options is not None:
        if options.non_recursive or options.read_only_non_recursive or options.read_only_force_recursive:
            raise NotSupportedError("a bind mount's recursive option")
        propagation = options.propagation or propagation
        if propagation not in PROPAGATION:
            raise MountConfigError("bind", f"invalid propagation mode: {propagation}")
    return MountPoint(
        kind="bind",
        source=posixpath.normpath(mount.source),
        destination=destination,
        rw=not mount.read_only,
        propagation=propagation,
    )


def _mount_volume(mount: Mount, destination: str, volumes: VolumeStore) -> MountPoint:
    options = mount.volume_options
    if options is not None and options.subpath:
        raise NotSupportedError("volume-subpath")
    driver = options.driver_config if options is not None else None
    volume = volumes.create(
        mount.source,
        driver=driver.name if driver is not None else "local",
        labels=dict(options.labels) if options is not None else None,
        options=dict(driver.options) if driver is not None else None,
        anonymous=not mount.source,
    )
    return _volume_point(
        volume.name,
        volume.path,
        destination,
        mode="z",
        rw=not mount.read_only,
        anonymous=not mount.source,
        no_copy=options is not None and options.no_copy,
    )


def _tmpfs_options(mount: Mount) -> str:
    options = mount.tmpfs_options
    words = ["ro"] if mount.read_only else []
    if options is not None:
        if options.size_bytes:
            words.append(f"size={options.size_bytes}")
        if options.mode:
            words.append(f"mode={options.mode:o}")
        words += ["=".join(pair) for pair in options.options]
    return ",".join(words)


def _from_container(spec: str, mounts_of: Callable[[str], Iterable[MountPoint]]) -> Iterable[MountPoint]:
    reference, _, mode = spec.partition(":")
    if mode not in ("", "ro", "rw", "z", "Z"):
        raise VolumeSpecError(spec, f"invalid mode: {mode}")
    for point in mounts_of(reference):
        # The volume stays the other container's: it does not go with ours.
        yield msgspec.structs.replace(point, rw=point.rw and mode != "ro", anonymous=False, no_copy=True)


_TMPFS_FLAGS = ("noexec", "nosuid", "nodev")


def tmpfs_of(host: HostConfig) -> dict[str, str]:
    """Every tmpfs of the request with its options, by destination; ``resolve`` has checked them."""
    found = {_absolute(path, path): options for path, options in host.tmpfs.items()}
    for mount in host.mounts:
        if mount.type == "tmpfs":
            found[_absolute(mount.target, mount.target)] = _tmpfs_options(mount)
    return found


def to_oci(points: Iterable[MountPoint], tmpfs: dict[str, str], *, first_start: bool) -> list[dict[str, Any]]:
    """The bundle's mounts in mounting order: a parent before what lies below it.

    At the container's first start ``rundlet_copy_up`` asks the shim to fill an empty volume from the image's directory.
    """
    mounts: list[dict[str, Any]] = []
    for point in points:
        # Without "ro" it is as writable as its source, and no more.
        options = ["rbind", point.propagation or "rprivate", *(() if point.rw else ("ro",))]
        mount: dict[str, Any] = {
            "type": "bind",
            "source": point.source,
            "destination": point.destination,
            "options": options,
        }
        if point.kind == "volume" and not point.no_copy and first_start:
            mount["rundlet_copy_up"] = True
        mounts.append(mount)
    for destination, text in tmpfs.items():
        words = [word for word in text.split(",") if word]
        defaults = [flag for flag in _TMPFS_FLAGS if flag.removeprefix("no") not in words and flag not in words]
        mounts.append({"type": "tmpfs", "source": "tmpfs", "destination": destination, "options": [*defaults, *words]})
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))
