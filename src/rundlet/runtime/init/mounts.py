"""Steps that build the container's tree of mounts.

Destinations are resolved beneath the root by descriptor and mounts are attached to that descriptor: a link in the
image, or one made by another container at the wrong moment, leads nowhere else (CVE-2021-30465). Bind sources are
descriptors that the shim took in the host's namespace.
"""

import errno
import os
import stat
from typing import Final, NamedTuple

from rundlet.linux import libc, mount, path, roots
from rundlet.runtime.init.options import Options
from rundlet.runtime.init.steps import Context

# File systems that are the container's own: read-only means that nobody can make them writable by another mount.
_OWN_SUPERBLOCK: Final = frozenset({"tmpfs", "sysfs"})
# In a namespace that another user namespace owns (--network host, --cgroupns host) no new instance is to be had.
_BOUND_INSTEAD: Final = {"sysfs": "/sys", "cgroup2": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}
_LOCKED: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC


class EnterRoot(NamedTuple):
    """Open the root file system that the shim mounted."""

    rootfs: str
    propagation: int
    step: str = "rootfs"

    def describe(self) -> str:
        return f"root file system at {self.rootfs}"

    def execute(self, context: Context) -> None:
        context.root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if self.propagation:
            mount.mount_setattr(context.root, "", propagation=self.propagation, recursive=True)


class AttachRoot(NamedTuple):
    """The same in a user namespace of the container's own.

    The mounts that came along from outside are locked, and only a mount that is attached can become the root: so it is
    put onto the one that it is a copy of. That is where this process stands: the path there may be the engine's alone.
    """

    tree: int
    step: str = "rootfs"

    def describe(self) -> str:
        return "root file system in a user namespace"

    def execute(self, context: Context) -> None:
        mount.move_mount(self.tree, libc.AT_FDCWD, ".")
        context.root = self.tree


class MountBind(NamedTuple):
    """Attach a host's file or directory."""

    source: str
    source_fd: int
    destination: str
    options: Options
    step: str = "mount"

    def describe(self) -> str:
        return f"bind {self.source} on {self.destination}"

    def execute(self, context: Context) -> None:
        is_directory = stat.S_ISDIR(os.fstat(self.source_fd).st_mode)
        target = _target(context.root, self.destination, is_directory)
        try:
            apply_options(self.source_fd, self.options)
            mount.move_mount(self.source_fd, target)
        except OSError as exc:
            raise _named(exc, self.destination) from None
        finally:
            os.close(target)
        # Propagation only after it is attached: a mount that is attached under a shared parent becomes shared.
        if self.options.propagation:
            mount.mount_setattr(
                self.source_fd,
                "",
                propagation=self.options.propagation,
                recursive=self.options.propagation_recursive,
            )
        os.close(self.source_fd)


class MountFilesystem(NamedTuple):
    """A new instance of a kernel file system (tmpfs, devpts, sysfs, mqueue, cgroup2 …)."""

    kind: str
    source: str
    destination: str
    options: Options
    step: str = "mount"

    def describe(self) -> str:
        return f"{self.kind} on {self.destination}"

    def execute(self, context: Context) -> None:
        if self.kind == "sysfs":
            _no_link(context.root, self.destination)
        covers = _exists(context.root, self.destination)
        target = _target(context.root, self.destination, True)
        try:
            fd = self._create(target, covers=covers)
            mount.move_mount(fd, target)
            if self.options.propagation:
                mount.mount_setattr(fd, "", propagation=self.options.propagation)
        except OSError as exc:
            raise _named(exc, self.destination) from None
        finally:
            os.close(target)
        if self.destination == "/dev":
            context.dev = fd
        elif self.destination == "/dev/pts":
            context.pts = fd
        else:
            os.close(fd)

    def _create(self, target: int, *, covers: bool) -> int:
        data: dict[str, str | None] = {"source": self.source} if self.source else {}
        if self.kind == "tmpfs" and covers:
            # As runc: a tmpfs looks like the directory that it covers, unless told otherwise.
            data["mode"] = f"{stat.S_IMODE(os.fstat(target).st_mode):04o}"
        if self.kind in _OWN_SUPERBLOCK and self.options.set & mount.MOUNT_ATTR_RDONLY:
            data["ro"] = None
        data.update(self.options.data)
        try:
            return mount.new_filesystem(self.kind, data, self.options.set)
        except PermissionError:
            if self.kind not in _BOUND_INSTEAD:
                raise
        return self._bound(_BOUND_INSTEAD[self.kind])

    def _bound(self, source: str) -> int:
        """What the machine has mounted, with the same attributes: a user namespace may not make another."""
        fd = mount.open_tree(libc.AT_FDCWD, source, mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)
        mount.mount_setattr(fd, "", self.options.set & ~mount.MOUNT_ATTR_ATIME, recursive=True)
        return fd


class MountProc(NamedTuple):
    """The container's procfs: a second mount of the instance that set-up itself writes through."""

    destination: str
    options: Options
    step: str = "mount"

    def describe(self) -> str:
        return f"proc on {self.destination}"

    def execute(self, context: Context) -> None:
        _no_link(context.root, self.destination)
        target = _target(context.root, self.destination, True)
        try:
            fd = _another(context.proc())
            apply_options(fd, self.options._replace(clear=self.options.clear | _LOCKED & ~self.options.set))
            mount.move_mount(fd, target)
            os.close(fd)
        except OSError as exc:
            raise _named(exc, self.destination) from None
        finally:
            os.close(target)


def _another(proc: int) -> int:
    """A second mount of a detached procfs; a second procfs where the kernel (before 6.15) clones attached ones only."""
    try:
        return mount.open_tree(proc, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    try:
        return mount.detached_proc()
    except PermissionError:
        return mount.open_tree(proc, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH | libc.AT_RECURSIVE)


class MountCgroupTree(NamedTuple):
    """cgroup v1: a tmpfs with one mount for each controller, and links for controllers that share one.

    ``private``: the cgroup namespace hides all but the container's own group; otherwise the container's own
    directories (``binds``: name, descriptor) are bound.
    """

    destination: str
    options: Options
    private: bool
    controllers: tuple[tuple[str, str], ...]  # directory, mount options of the hierarchy
    binds: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, str], ...]
    step: str = "mount"

    def describe(self) -> str:
        names = " ".join(name for name, _ in self.controllers or self.binds)
        return f"cgroup v1 ({names}) on {self.destination}"

    def execute(self, context: Context) -> None:
        target = _target(context.root, self.destination, True)
        try:
            readonly = self.options.set & mount.MOUNT_ATTR_RDONLY
            tree = mount.new_filesystem("tmpfs", {"source": "tmpfs", "mode": "755"}, self.options.set & ~readonly)
            mount.move_mount(tree, target)
            for name, data in self.controllers if self.private else ():
                self._attach(tree, name, _hierarchy(name, data, self.options.set))
            for name, fd in () if self.private else self.binds:
                apply_options(fd, self.options)
                self._attach(tree, name, fd)
            for name, to in self.links:
                os.symlink(to, name, dir_fd=tree)
            if readonly:
                mount.mount_setattr(tree, "", set=readonly)
            os.close(tree)
        except OSError as exc:
            raise _named(exc, self.destination) from None
        finally:
            os.close(target)

    def _attach(self, tree: int, name: str, fd: int) -> None:
        os.mkdir(name, 0o755, dir_fd=tree)
        mount.move_mount(fd, tree, name)
        os.close(fd)


class Pivot(NamedTuple):
    """Make the root file system the root, and let go of everything else."""

    step: str = "pivot"

    def describe(self) -> str:
        return "pivot_root"

    def execute(self, context: Context) -> None:
        os.fchdir(context.root)
        roots.pivot()
        os.close(context.root)
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class ReadonlyRoot(NamedTuple):
    """``--read-only``: the root mount only, not what is mounted inside it."""

    step: str = "rootfs"

    def describe(self) -> str:
        return "read-only root"

    def execute(self, context: Context) -> None:
        mount.mount_setattr(context.root, "", set=mount.MOUNT_ATTR_RDONLY)


class RootPropagation(NamedTuple):
    """``linux.rootfsPropagation``, applied when nothing of the host is in sight any more."""

    propagation: int
    recursive: bool
    step: str = "rootfs"

    def describe(self) -> str:
        return "propagation of the root"

    def execute(self, context: Context) -> None:
        mount.mount_setattr(context.root, "", propagation=self.propagation, recursive=self.recursive)


def apply_options(fd: int, options: Options) -> None:
    """Give a mount descriptor the attributes that ``options`` name."""
    if options.set or options.clear:
        mount.mount_setattr(fd, "", options.set, options.clear & ~options.set | _atime(options.set))
    if options.recursive_set or options.recursive_clear:
        mount.mount_setattr(
            fd,
            "",
            options.recursive_set,
            options.recursive_clear & ~options.recursive_set | _atime(options.recursive_set),
            recursive=True,
        )


def _atime(attributes: int) -> int:
    """The kernel wants the whole field cleared when an access-time attribute is set."""
    return mount.MOUNT_ATTR_ATIME if attributes & mount.MOUNT_ATTR_ATIME else 0


def _hierarchy(name: str, data: str, attributes: int) -> int:
    """A cgroup v1 hierarchy, whose root is the container's group because of the cgroup namespace."""
    options: dict[str, str | None] = {"source": name if "name=" in data else "cgroup"}
    for item in data.split(","):
        key, separator, value = item.partition("=")
        options[key] = value if separator else None
    return mount.new_filesystem("cgroup", options, attributes)


def _no_link(root: int, destination: str) -> None:
    """A link could lead elsewhere when parts of it are masked by their names (CVE-2019-19921). Raises: OSError."""
    try:
        place = path.open_in_root(root, destination, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    link = stat.S_ISLNK(os.fstat(place).st_mode)
    os.close(place)
    if link:
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), destination)


def _exists(root: int, destination: str) -> bool:
    try:
        os.close(path.open_in_root(root, destination, os.O_PATH))
    except FileNotFoundError:
        return False
    return True


def _target(root: int, destination: str, is_directory: bool) -> int:
    if is_directory:
        return path.makedirs_in_root(root, destination)
    return path.touch_in_root(root, destination)


def _named(exc: OSError, destination: str) -> OSError:
    """The same error, saying where in the container."""
    said = f"{destination}" if exc.filename is None else f"{destination} ({exc.filename})"
    return OSError(exc.errno, exc.strerror, said)
