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
from rundlet.engine import mountspecs
from rundlet.engine.containers import propagation
from rundlet.engine.mountspecs import InvalidMountError, MountConfigError
from rundlet.errors import InternalError, NotFoundError
from rundlet.volume.store import VolumeStore


class DuplicateMountError(InvalidMountError):
    def __init__(self, destination: str) -> None:
        super().__init__(f"Duplicate mount point: {destination}")


class RootPropagationError(InvalidMountError):
    def __init__(self, root: str, source: str, wanted: str) -> None:
        super().__init__(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within '
            f'the daemon root, daemon root: "{root}", bind mount source: "{source}", propagation: "{wanted}"'
        )


class SourceError(InternalError):
    """The host's directory could not be made."""

    reason = "mount-source"

    def __init__(self, path: str, error: OSError) -> None:
        why = (error.strerror or str(error)).lower()
        super().__init__(f"error while creating mount source path '{path}': mkdir {error.filename}: {why}")


def resolve(
    config: ContainerConfig,
    host: HostConfig,
    volumes: VolumeStore,
    mounts_of: Callable[[str], Iterable[MountPoint]],
    image_of: Callable[[str], str],
    root: str = "",
) -> list[MountPoint]:
    """Mount points by Docker's precedence: ``--volumes-from`` < VOLUME < ``-v``/``--mount``.

    ``mounts_of`` tells a container's mount points, ``image_of`` the ID that a reference means; ``root`` is the
    engine's own directory. Makes the named and anonymous volumes. Raises InvalidMountError, and what the two raise.
    """
    found: dict[str, MountPoint] = {}
    for source in host.volumes_from or ():
        for point in _from_container(source, mounts_of):
            found[point.destination] = point
    explicit: dict[str, MountPoint] = {}
    tmpfs = {mountspecs.place(path): options for path, options in host.tmpfs.items()}
    for options in tmpfs.values():
        mountspecs.check_tmpfs(options)
    for spec in host.binds or ():
        _add(explicit, _beside(_bind(spec, volumes), root), tmpfs)
    for mount in host.mounts:
        mounted = _mount(mount, volumes, explicit, tmpfs, image_of)
        if mounted is not None:
            _add(explicit, _beside(mounted, root), tmpfs)
    for path in config.volumes or ():
        destination = mountspecs.place("/" + path)  # as Docker: an image's VOLUME may be relative
        if destination in explicit or destination in found or destination in tmpfs:
            continue
        volume = volumes.create(anonymous=True)
        explicit[destination] = _volume_point(volume.name, volume.path, destination, anonymous=True)
    for destination in (*found, *explicit, *tmpfs):
        mountspecs.check_outside_proc(destination)
    return sorted({**found, **explicit}.values(), key=lambda point: point.destination)


def shallow(point: MountPoint) -> MountPoint:
    """The mount point with what is mounted below a read-only bind as writable as it is."""
    if point.kind != "bind" or point.rw or point.recursive:
        return point
    return msgspec.structs.replace(point, recursive="writable")


def _beside(point: MountPoint, root: str) -> MountPoint:
    """A bind with its propagation: of what holds the engine's directory, the container must not keep what is unmounted
    there. Raises RootPropagationError.
    """
    if point.kind != "bind":
        return point
    beside = bool(root) and propagation.is_beside(point.source, root)
    if beside and point.propagation not in ("", "rslave", "rshared"):
        raise RootPropagationError(root, point.source, point.propagation)
    return msgspec.structs.replace(point, propagation=point.propagation or ("rslave" if beside else "rprivate"))


def _add(points: dict[str, MountPoint], point: MountPoint, tmpfs: dict[str, str]) -> None:
    if point.destination in points or point.destination in tmpfs:
        raise DuplicateMountError(point.destination)
    points[point.destination] = point


def _volume_point(name: str, path: str, destination: str, **fields: Any) -> MountPoint:
    return MountPoint(kind="volume", name=name, source=path, destination=destination, driver="local", **fields)


def _bind(spec: str, volumes: VolumeStore) -> MountPoint:
    mount, mode = mountspecs.parse(spec)
    destination = mountspecs.place(mount.target)
    if mount.type == "bind":
        options = mount.bind_options
        return MountPoint(
            kind="bind",
            source=posixpath.normpath(mount.source),
            destination=destination,
            mode=mode,
            rw=not mount.read_only,
            propagation=options.propagation if options is not None else "",
            idmap=options is not None and options.id_map,
        )
    volume = volumes.create(mount.source, anonymous=not mount.source)
    if not mount.source:
        return _volume_point(volume.name, volume.path, destination, anonymous=True)
    no_copy = mount.volume_options is not None
    rw = not mount.read_only
    idmap = "idmap" in mode.split(",")
    return _volume_point(volume.name, volume.path, destination, mode=mode or "z", rw=rw, no_copy=no_copy, idmap=idmap)


def _mount(
    mount: Mount,
    volumes: VolumeStore,
    points: dict[str, MountPoint],
    tmpfs: dict[str, str],
    image_of: Callable[[str], str],
) -> MountPoint | None:
    mountspecs.check(mount, look=True)
    destination = mountspecs.place(mount.target)
    match mount.type:
        case "bind":
            return _mount_bind(mount, destination)
        case "volume":
            return _mount_volume(mount, destination, volumes)
        case "image":
            return _mount_image(mount, destination, image_of)
    if destination in points or destination in tmpfs:
        raise DuplicateMountError(destination)
    tmpfs[destination] = _tmpfs_options(mount)
    return None


def _mount_bind(mount: Mount, destination: str) -> MountPoint:
    options = mount.bind_options
    if options is not None and options.create_mountpoint:
        make_source(mount.source)
    return MountPoint(
        kind="bind",
        source=posixpath.normpath(mount.source),
        destination=destination,
        rw=not mount.read_only,
        propagation=options.propagation if options is not None else "",
        recursive=_recursive(options) if options is not None else "",
        idmap=options is not None and options.id_map,
    )


def make_source(path: str) -> None:
    """Make a bind's missing source, a directory. Raises SourceError."""
    if not os.path.lexists(path):
        try:
            os.makedirs(path, 0o755, exist_ok=True)
        except OSError as exc:
            raise SourceError(path, exc) from exc


def _recursive(options: BindOptions) -> str:
    """The one word that is left of the options."""
    if options.non_recursive:
        return "disabled"
    if options.read_only_force_recursive:
        return "readonly"
    return "writable" if options.read_only_non_recursive else ""


def _mount_image(mount: Mount, destination: str, image_of: Callable[[str], str]) -> MountPoint:
    """Read-only always: what is written would be lost with the container."""
    subpath = mount.image_options.subpath if mount.image_options is not None else ""
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


def _mount_volume(mount: Mount, destination: str, volumes: VolumeStore) -> MountPoint:
    options = mount.volume_options
    subpath = options.subpath if options is not None else ""
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
    reference, mode = mountspecs.parse_volumes_from(spec)
    for point in mounts_of(reference):
        # An anonymous volume is anonymous here too: it goes with the last container that has it.
        yield msgspec.structs.replace(point, rw=point.rw and "ro" not in mode.split(","), no_copy=True)


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
    found = {mountspecs.place(path): options for path, options in host.tmpfs.items()}
    for mount in host.mounts:
        if mount.type == "tmpfs":
            found[mountspecs.place(mount.target)] = _tmpfs_options(mount)
    return found


def to_oci(
    points: Iterable[MountPoint],
    tmpfs: dict[str, str],
    layers_of: Callable[[MountPoint], list[str]],
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
    point: MountPoint, layers_of: Callable[[MountPoint], list[str]], *, first_start: bool, mapped: bool
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
    if point.kind == "volume" and not point.no_copy and first_start:
        mount["rundlet_copy_up"] = True
    if mapped and (point.idmap or point.kind == "volume"):
        mount["options"].append("idmap")
    if point.subpath:
        mount["rundlet_subpath"] = point.subpath
    if point.kind == "image":
        mount["rundlet_layers"] = layers_of(point)
    return mount
