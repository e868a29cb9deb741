"""``--rootfs DIR``: a container on a copy-on-write view of this machine's own files.

The directory is the lowest layer of the container's overlay. An overlay shows one file system only, so each other one
that is mounted below the directory gets an overlay of its own, with its own upper directory beside the container's;
``diff`` and ``commit`` look at all of them. Kernel file systems are the container's own or not there at all, an
in-memory one is an empty one, one that is read-only here is shown as it is, and the engine's own directories are
covered: they hold other containers' files.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rundlet.container.record import HostRoot, MountPoint, Record
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.image.records import Image
from rundlet.linux import copyup, mount, userns
from rundlet.oci.digest import Digest
from rundlet.storage.files.view import Layers, Sub
from rundlet.storage.snapshot.snapshotter import Rootfs

_OWN: Final = ("/proc", "/sys", "/dev")
_MOST: Final = 64
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_UNSEEN: Final = frozenset(
    "autofs binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts devtmpfs efivarfs fusectl hugetlbfs "
    "mqueue nfsd nsfs overlay proc pstore rpc_pipefs securityfs selinuxfs sysfs tracefs".split()
)
"""The kernel's own, and overlays: other containers' roots."""


class HostRootError(InvalidParameterError):
    reason = "invalid-rootfs"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"invalid rootfs {path!r}: {why}")


def survey(path: str, context: Context) -> HostRoot:
    """What a container on ``path`` will see. Raises HostRootError, NotSupportedError."""
    if not userns.INITIAL:
        raise NotSupportedError("--rootfs without root's rights")
    if context.snapshots.driver != "overlay2":
        raise NotSupportedError("--rootfs without overlayfs, for which this engine's data root is not fit,")
    if not path.startswith("/"):
        raise HostRootError(path, "the path must be absolute")
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        raise HostRootError(path, "no such directory")
    owned = (context.layout.root, context.layout.run)
    for directory in owned:
        if _inside(real, os.path.realpath(directory)):
            raise HostRootError(path, "it is one of the engine's own directories")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        found = arrange(real, [os.path.realpath(directory) for directory in owned], lines)
    if len(found.below) > _MOST:
        raise HostRootError(path, f"more than {_MOST} file systems are mounted below it")
    return found


def arrange(path: str, owned: Iterable[str], mountinfo: Iterable[str]) -> HostRoot:
    """The view of ``path`` by the lines of /proc/self/mountinfo; ``owned`` are the engine's directories."""
    hidden = [_within(path, directory) for directory in owned if _inside(directory, path)]
    skipped = [*_OWN, *hidden]
    below: list[str] = []
    readonly: list[str] = []
    memory: dict[str, str] = {}
    latest: dict[str, tuple[str, str]] = {}  # what is mounted over a mount hides it
    for line in mountinfo:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        latest[_unescaped(fields[4])] = (kind, fields[5])
    for place, (kind, options) in sorted(latest.items(), key=lambda item: item[0].count("/")):
        if not _inside(place, path) or place == path:
            continue
        where = _within(path, place)
        if any(_inside(where, other) for other in skipped):
            continue
        if kind in _UNSEEN or not os.path.isdir(place):
            skipped.append(where)
        elif kind in _MEMORY:
            skipped.append(where)
            memory[where] = f"mode={os.stat(place).st_mode & 0o7777:o}"
        elif "ro" in options.split(","):
            readonly.append(where)
        else:
            below.append(where)
    return HostRoot(path, below, readonly, memory, hidden)


def layer_of(context: Context, image: Image) -> str:
    """The directory of the one layer of an image that was committed from such a container. Raises HostRootError."""
    if image.chain is None:
        raise HostRootError(str(image.id), "the image has no layer")
    layer = context.snapshots.layer(image.chain)
    if layer.parent is not None:
        raise HostRootError(
            str(image.id), "the image has more layers than the one that commit makes of such a container"
        )
    return layer.path


def prepare(root: HostRoot, rootfs: Rootfs, layer: str = "") -> None:
    """Make the upper directories, and see whether overlayfs takes it all. Raises HostRootError, OSError.

    ``layer`` is a directory whose changes they begin with. It can't be a lower directory itself: overlayfs takes no
    two of which one lies in the other, and the engine's layers lie in the machine's root.
    """
    if layer:
        _copy(layer, rootfs.upper)
    _like(root.path, rootfs.upper)
    for item in reversed(list(_subs(root, rootfs))):  # inner ones first
        os.makedirs(item["work"], 0o700)
        kept = f"{rootfs.upper}{item['destination']}"
        if os.path.isdir(kept) and not os.path.islink(kept):
            os.rename(kept, item["upper"])
        else:
            os.mkdir(item["upper"])
        _like(item["lower"][0], item["upper"])
    _free_etc(root, rootfs)
    for lower, upper, work, place in _overlays(root, rootfs):
        try:
            os.close(mount.overlay(lower, upper, work))
        except OSError as exc:
            raise HostRootError(root.path, f"overlayfs can't be mounted on {place}: {exc.strerror}") from exc


def rootfs_of(context: Context, record: Record) -> Rootfs:
    """The container's snapshot, over the host's directory where it is on one. Raises SnapshotNotFoundError."""
    found = context.snapshots.container(record.id)
    return found if record.rootfs is None else over(record.rootfs, found)


def over(root: HostRoot, rootfs: Rootfs) -> Rootfs:
    return Rootfs([root.path], rootfs.upper, rootfs.work, rootfs.merged)


def image_layers(context: Context, point: MountPoint) -> list[str]:
    """The directories of a mounted image's layers, topmost first. Raises LayerNotFoundError, NoSuchImageError."""
    if not point.chain:  # an image without files, or a container of an earlier release
        return context.snapshots.stack(context.images.get(point.name).chain)
    return context.snapshots.stack(Digest.parse(point.chain))


def layers_of(context: Context, record: Record) -> Layers:
    """The same for the processes that mount it or read it."""
    rootfs = rootfs_of(context, record)
    found = Layers(lower=rootfs.lower, upper=rootfs.upper, work=rootfs.work, merged=rootfs.merged, binds=[])
    if rootfs.tree:
        found["path"] = rootfs.tree
    if record.rootfs is not None:
        found["below"] = list(_subs(record.rootfs, rootfs))
    return found


def mounts_of(record: Record, covered: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What is mounted over the view, as OCI mounts.

    Not where the user's mounts ``covered`` it anyway: a place to mount it at would be made in what the user mounts.
    """
    root = record.rootfs
    if root is None:
        return []
    kept = [other.rstrip("/") for other in covered]
    return [item for item in _mounts(root) if not any(_inside(item["destination"], other) for other in kept)]


def _mounts(root: HostRoot) -> list[dict[str, Any]]:
    covers = dict.fromkeys(root.hidden, "mode=0700,size=4k,ro")
    found = [
        {
            "type": "tmpfs",
            "source": "tmpfs",
            "destination": place,
            "options": ["nosuid", "nodev", *text.split(",")],
        }
        for place, text in (root.tmpfs | covers).items()
    ]
    for place in root.readonly:
        source = posixpath.join(root.path, place.lstrip("/"))
        options = ["bind", "rprivate", "ro"]
        found.append({"type": "bind", "source": source, "destination": place, "options": options})
    return found


def mount_points(record: Record) -> list[str]:
    """Where that is."""
    return [entry["destination"] for entry in mounts_of(record)]


def _overlays(root: HostRoot, rootfs: Rootfs) -> Iterator[tuple[list[str], str, str, str]]:
    whole = over(root, rootfs)
    yield whole.lower, whole.upper, whole.work, root.path
    for item in _subs(root, rootfs):
        yield item["lower"], item["upper"], item["work"], item["lower"][0]


def _subs(root: HostRoot, rootfs: Rootfs) -> Iterator[Sub]:
    base = os.path.dirname(rootfs.upper)
    for number, place in enumerate(root.below):
        directory = f"{base}/below/{number}"
        source = posixpath.join(root.path, place.lstrip("/"))
        yield Sub(lower=[source], upper=f"{directory}/upper", work=f"{directory}/work", destination=place)


def _free_etc(root: HostRoot, rootfs: Rootfs) -> None:
    """The files that every container gets of its own can't be mounted on a link that leads to what is not there.

    /etc/resolv.conf is one into /run on most machines.
    """
    etc = f"{root.path.rstrip('/')}/etc"
    names = [name for name in ("hosts", "hostname", "resolv.conf") if os.path.islink(f"{etc}/{name}")]
    if names and os.path.isdir(etc) and not os.path.islink(etc):
        os.makedirs(f"{rootfs.upper}/etc", exist_ok=True)
        for name in names:
            if os.path.lexists(f"{rootfs.upper}/etc/{name}"):
                continue
            os.close(os.open(f"{rootfs.upper}/etc/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        _like(etc, f"{rootfs.upper}/etc")
        _like(root.path, rootfs.upper)


def _copy(layer: str, upper: str) -> None:
    source, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (layer, upper))
    try:
        copyup.fill(source, ".", target)
    finally:
        os.close(source)
        os.close(target)


def _like(model: str, path: str) -> None:
    """Owner, mode and times of ``model``: an overlay shows its upper directory's."""
    status = os.stat(model)
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _within(directory: str, path: str) -> str:
    return "/" + path[len(directory.rstrip("/")) :].lstrip("/")


def _unescaped(text: str) -> str:
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
