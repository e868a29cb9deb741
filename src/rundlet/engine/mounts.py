"""What a container gets mounted besides its image: ``-v``, ``--mount``, ``--tmpfs``, image VOLUMEs, ``--volumes-from``.

:func:`resolve` turns the request into mount points (volumes are made here, a host path is only checked);
:func:`to_oci` turns mount points into the bundle's mounts.
"""

import os
import posixpath
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rundlet.api.container_config import BindOptions, ContainerConfig, HostConfig, Mount
from rundlet.container.record import MountPoint
from rundlet.errors import InvalidParameterError, NotFoundError, NotSupportedError
from rundlet.volume.store import VolumeStore

PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = PROPAGATION | {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", "default", "idmap"}


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
    image_of: Callable[[str], str],
) -> list[MountPoint]:
    """Mount points by Docker's precedence: ``--volumes-from`` < VOLUME < ``-v``/``--mount``.

    ``mounts_of`` tells a container's mount points, ``image_of`` the ID that a reference means. Makes the named and
    anonymous volumes. Raises InvalidMountError, NotSupportedError, and what the two raise.
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
        mounted = _mount(mount, volumes, tmpfs, image_of)
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
            idmap="idmap" in options,
        )
    if chosen:
        raise VolumeSpecError(spec, "invalid mode for volumes: propagation is for bind mounts")
    volume = volumes.create(source)
    return _volume_point(
        volume.name,
        volume.path,
        destination,
        mode=mode or "z",
        rw=rw,
        no_copy="nocopy" in options,
        idmap="idmap" in options,
    )


def _mount(
    mount: Mount, volumes: VolumeStore, tmpfs: dict[str, str], image_of: Callable[[str], str]
) -> MountPoint | None:
    if not mount.target:
        raise MountConfigError(mount.type, "field Target must not be empty")
    if not mount.target.startswith("/"):
        raise MountConfigError(mount.type, f"invalid mount path: '{mount.target}' mount path must be absolute")
    try:
        destination = _absolute(mount.target, mount.target)
    except VolumeSpecError:
        raise MountConfigError(mount.type, "invalid specification: destination can't be '/'") from None
    _check_fields(mount)
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
        case "image":
            return _mount_image(mount, destination, image_of)
        case "npipe" | "cluster":
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
    propagation, recursive = "rprivate", ""
    if options is not None:
        propagation = options.propagation or propagation
        if propagation not in PROPAGATION:
            raise MountConfigError("bind", f"invalid propagation mode: {propagation}")
        recursive = _recursive(mount, options)
    return MountPoint(
        kind="bind",
        source=posixpath.normpath(mount.source),
        destination=destination,
        rw=not mount.read_only,
        propagation=propagation,
        recursive=recursive,
        idmap=options is not None and options.id_map,
    )


def _recursive(mount: Mount, options: BindOptions) -> str:
    """Docker's checks, and the one word that is left of the options."""
    if options.read_only_non_recursive and options.read_only_force_recursive:
        raise MountConfigError("bind", "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    for name in ("read_only_non_recursive", "read_only_force_recursive"):
        if getattr(options, name) and not mount.read_only:
            field = name.title().replace("_", "")
            raise MountConfigError("bind", f"mount options conflict: !ReadOnly && BindOptions.{field}")
    if options.read_only_force_recursive and options.propagation not in ("", "rprivate"):
        raise MountConfigError(
            "bind", "mount options conflict: ReadOnlyForceRecursive needs BindOptions.Propagation to be rprivate"
        )
    if options.non_recursive:
        if options.read_only_force_recursive:
            raise MountConfigError("bind", "mount options conflict: NonRecursive && ReadOnlyForceRecursive")
        return "disabled"
    if options.read_only_force_recursive:
        return "readonly"
    return "writable" if options.read_only_non_recursive else ""


def _mount_image(mount: Mount, destination: str, image_of: Callable[[str], str]) -> MountPoint:
    """Read-only always: what is written would be lost with the container."""
    if not mount.source:
        raise MountConfigError("image", "field Source must not be empty")
    subpath = mount.image_options.subpath if mount.image_options is not None else ""
    _check_subpath("image", subpath)
    try:
        image_id = image_of(mount.source)
    except NotFoundError as exc:
        # Not as "not found": a client would pull the container's own image then.
        raise MountConfigError("image", str(exc)) from exc
    return MountPoint(
        kind="image",
        name=image_id,
        source=mount.source,
        destination=destination,
        rw=False,
        subpath=subpath,
    )


def _check_subpath(kind: str, subpath: str) -> None:
    """It must not lead out, whatever links there are: see also the shim, which looks it up beneath."""
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise MountConfigError(kind, f"subpath must be a relative path within the {kind}")


_OPTIONS = (("bind", "BindOptions"), ("volume", "VolumeOptions"), ("tmpfs", "TmpfsOptions"), ("image", "ImageOptions"))


def _check_fields(mount: Mount) -> None:
    """Options of another type make no sense, and must not be ignored."""
    for kind, field in _OPTIONS:
        if kind != mount.type and getattr(mount, f"{kind}_options") is not None:
            raise MountConfigError(mount.type, f"field {field} must not be specified")


def _mount_volume(mount: Mount, destination: str, volumes: VolumeStore) -> MountPoint:
    options = mount.volume_options
    subpath = options.subpath if options is not None else ""
    _check_subpath("volume", subpath)
    if not mount.source and subpath:
        raise MountConfigError("volume", "must not set Subpath when using anonymous volumes")
    if not mount.source and mount.read_only:
        raise MountConfigError("volume", "must not set ReadOnly mode when using anonymous volumes")
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
        subpath=subpath,
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


def check_idmap(points: Iterable[MountPoint], *, mapped: bool) -> None:
    """``mapped``: the container has users of its own. Raises InvalidMountError."""
    for point in points:
        if point.idmap and not mapped:
            raise InvalidMountError(
                f"{point.destination}: idmap is for containers with users of their own (--userns=auto)"
            )


_TMPFS_FLAGS = ("noexec", "nosuid", "nodev")


def tmpfs_of(host: HostConfig) -> dict[str, str]:
    """Every tmpfs of the request with its options, by destination; ``resolve`` has checked them."""
    found = {_absolute(path, path): options for path, options in host.tmpfs.items()}
    for mount in host.mounts:
        if mount.type == "tmpfs":
            found[_absolute(mount.target, mount.target)] = _tmpfs_options(mount)
    return found


def to_oci(
    points: Iterable[MountPoint],
    tmpfs: dict[str, str],
    layers_of: Callable[[str], list[str]],
    *,
    first_start: bool,
    mapped: bool = False,
) -> list[dict[str, Any]]:
    """The bundle's mounts in mounting order: a parent before what lies below it.

    ``mapped``: the container has users of its own; volumes are always shown as theirs, directories of the host when
    asked.
    ``layers_of`` tells the directories of an image's layers, topmost first. Keys of our own ask the shim for what OCI
    has no word for: ``rundlet_copy_up`` to fill an empty volume from the image's directory, at the container's first
    start; ``rundlet_subpath`` for a path beneath the source; ``rundlet_layers`` for an image.
    """
    mounts = [_point(point, layers_of, first_start=first_start, mapped=mapped) for point in points]
    for destination, text in tmpfs.items():
        words = [word for word in text.split(",") if word]
        defaults = [flag for flag in _TMPFS_FLAGS if flag.removeprefix("no") not in words and flag not in words]
        mounts.append({"type": "tmpfs", "source": "tmpfs", "destination": destination, "options": [*defaults, *words]})
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _point(
    point: MountPoint, layers_of: Callable[[str], list[str]], *, first_start: bool, mapped: bool
) -> dict[str, Any]:
    bind = "bind" if point.recursive == "disabled" else "rbind"
    # As Docker since 25: what is mounted below a read-only source is read-only, too.
    readonly = "ro" if point.recursive in ("disabled", "writable") else "rro"
    mount: dict[str, Any] = {
        "type": "bind",
        "source": point.source,
        "destination": point.destination,
        # Without "ro" it is as writable as its source, and no more.
        "options": [bind, point.propagation or "rprivate", *(() if point.rw else (readonly,))],
    }
    if point.kind == "volume" and not point.no_copy and not point.subpath and first_start:
        mount["rundlet_copy_up"] = True
    if mapped and (point.idmap or point.kind == "volume"):
        mount["options"].append("idmap")
    if point.subpath:
        mount["rundlet_subpath"] = point.subpath
    if point.kind == "image":
        mount["rundlet_layers"] = layers_of(point.name)
    return mount
