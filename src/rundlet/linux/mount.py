"""Mounts: the classic call and the descriptor-based ones, plus the few compositions that containers need.

A *mount descriptor* (from :func:`open_tree`, :func:`fsmount`, :func:`overlay`) is a mount that is attached nowhere yet;
:func:`move_mount` attaches it, closing it lets it go. Flags of the two families differ: ``MS_*`` belong to
:func:`mount`, ``MOUNT_ATTR_*`` to the descriptors.
"""

import errno
import os
import struct
from collections.abc import Sequence
from typing import Final

from rundlet.linux import libc, userns

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_MANDLOCK: Final = 64
MS_DIRSYNC: Final = 128
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_SILENT: Final = 32768
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25

MNT_FORCE: Final = 1
MNT_DETACH: Final = 2
MNT_EXPIRE: Final = 4
UMOUNT_NOFOLLOW: Final = 8

MOUNT_ATTR_RDONLY: Final = 0x01
MOUNT_ATTR_NOSUID: Final = 0x02
MOUNT_ATTR_NODEV: Final = 0x04
MOUNT_ATTR_NOEXEC: Final = 0x08
MOUNT_ATTR_ATIME: Final = 0x70  # the mask to clear before setting one of the next three
MOUNT_ATTR_RELATIME: Final = 0x00
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x0010_0000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x0020_0000

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS: Final = 0x01
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
MOVE_MOUNT_T_SYMLINKS: Final = 0x10
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_SET_FD: Final = 5
FSCONFIG_CMD_CREATE: Final = 6
FSCONFIG_CMD_RECONFIGURE: Final = 7

# statfs(2) magic numbers, for checks that a descriptor is what it claims to be.
PROC_SUPER_MAGIC: Final = 0x9FA0
SYSFS_MAGIC: Final = 0x6265_6572
DEVPTS_SUPER_MAGIC: Final = 0x1CD1
TMPFS_MAGIC: Final = 0x0102_1994
CGROUP_SUPER_MAGIC: Final = 0x0027_E0EB
CGROUP2_SUPER_MAGIC: Final = 0x6367_7270
OVERLAYFS_SUPER_MAGIC: Final = 0x794C_7630
ANSWERED_BY_OTHERS: Final = {
    0x6573_5546: "fuse",
    0x6969: "nfs",
    0x517B: "smb",
    0xFF53_4D42: "cifs",
    0xFE53_4D42: "smb2",
    0x0102_1997: "9p",
    0x00C3_6400: "ceph",
    0x5346_414F: "afs",
    0x6B41_4653: "afs",  # the kernel's own
    0x7375_7245: "coda",
    0x0116_1970: "gfs2",
    0x7461_636F: "ocfs2",
    0x0BD0_0BD0: "lustre",
}
"""File systems for which a process (sshfs, say) or other machines answer: a read may never end."""

_MAX_OPTION: Final = 255  # of one fsconfig(2) string
_MAX_OPTIONS: Final = 4095  # of all of mount(2)'s

PROPAGATION: Final[dict[str, int]] = {
    "private": MS_PRIVATE,
    "slave": MS_SLAVE,
    "shared": MS_SHARED,
    "unbindable": MS_UNBINDABLE,
}


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2): ``flags`` are ``MS_*``; ``data`` at most 4,095 bytes of file-system options.

    Raises: OSError with the target.
    """
    libc.call(
        "mount",
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if fstype is None else fstype.encode(),
        flags,
        os.fsencode(data) if data else None,
        path=target,
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2) with ``MNT_*`` or ``UMOUNT_NOFOLLOW``."""
    libc.call("umount2", os.fsencode(target), flags, path=target)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """A descriptor (close-on-exec) of the mount at ``path``, with ``OPEN_TREE_CLONE`` of a detached copy of it.

    ``flags`` may add ``AT_RECURSIVE``, ``AT_EMPTY_PATH``, ``AT_SYMLINK_NOFOLLOW`` of :mod:`rundlet.linux.libc`.
    """
    return libc.call("open_tree", dirfd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_fd: int, to_dirfd: int, to_path: str = "", flags: int = 0, from_path: str = "") -> None:
    """Attach the mount ``from_fd`` at ``to_path`` from ``to_dirfd`` (an empty path: at that descriptor itself)."""
    if not from_path:
        flags |= MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= MOVE_MOUNT_T_EMPTY_PATH
    libc.call(
        "move_mount", from_fd, os.fsencode(from_path), to_dirfd, os.fsencode(to_path), flags, path=to_path or None
    )


def mount_setattr(
    fd: int,
    path: str = "",
    set: int = 0,
    clr: int = 0,
    propagation: int = 0,
    *,
    recursive: bool = False,
    userns_fd: int = -1,
) -> None:
    """Change ``MOUNT_ATTR_*`` and propagation (one of ``MS_PRIVATE|SLAVE|SHARED|UNBINDABLE``, or 0) of a mount.

    ``userns_fd`` goes with ``MOUNT_ATTR_IDMAP``. Needs Linux 5.12.
    """
    attributes = struct.pack("=4Q", set, clr, propagation, max(userns_fd, 0))
    flags = (0 if path else libc.AT_EMPTY_PATH) | (libc.AT_RECURSIVE if recursive else 0)
    libc.call("mount_setattr", fd, os.fsencode(path), flags, attributes, len(attributes), path=path or None)


def fsopen(fstype: str) -> int:
    """A descriptor of a file system yet to be configured."""
    return libc.call("fsopen", fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """Set one option or run one command on a descriptor from :func:`fsopen`.

    Raises: OSError; its text carries what the file system has to say, its path is the option.
    """
    try:
        libc.call(
            "fsconfig",
            fd,
            command,
            None if key is None else key.encode(),
            None if value is None else os.fsencode(value),
            aux,
            path=value if key is None else f"{key}={value}",
        )
    except OSError as error:
        said = _complaints(fd)
        if not said:
            raise
        raise OSError(error.errno, f"{error.strerror}: {said}", error.filename) from None


def fsmount(fd: int, attributes: int = 0) -> int:
    """A mount descriptor of the configured file system ``fd``, with ``MOUNT_ATTR_*``."""
    return libc.call("fsmount", fd, FSMOUNT_CLOEXEC, attributes)


def new_filesystem(fstype: str, options: dict[str, str | None] | None = None, attributes: int = 0) -> int:
    """A mount descriptor of a new instance of ``fstype``; an option of value None is a flag."""
    context = fsopen(fstype)
    try:
        for key, value in (options or {}).items():
            fsconfig(context, FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING, key, value)
        fsconfig(context, FSCONFIG_CMD_CREATE)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def attach(fd: int, target: str) -> None:
    """Attach the mount descriptor ``fd`` at the path ``target`` and close it."""
    try:
        move_mount(fd, libc.AT_FDCWD, target)
    finally:
        os.close(fd)


def set_propagation(target: str, propagation: int, recursive: bool = True) -> None:
    """Give the mount at ``target`` (and all below it) a propagation: ``MS_PRIVATE``, ``MS_SLAVE``, ``MS_SHARED``."""
    mount(None, target, None, propagation | (MS_REC if recursive else 0))


def detached_proc() -> int:
    """A descriptor of a procfs of our PID namespace that no mount can shadow, for reads and writes that must be real.

    Use it as the ``dir_fd`` of opens (it is O_PATH itself).

    Raises: OSError(ENOTTY) if what came back is not procfs.
    """
    fd = new_filesystem("proc", None, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
    require_filesystem(fd, PROC_SUPER_MAGIC, "/proc")
    return fd


def require_filesystem(fd: int, magic: int, path: str) -> None:
    """Check that ``fd`` lies on the file system with this ``*_MAGIC`` (CVE-2019-16884, CVE-2025-52881).

    Raises: OSError(EXDEV) with ``path`` if it doesn't; ``fd`` is left open.
    """
    if libc.filesystem_type(fd) != magic:
        raise libc.error(errno.EXDEV, path)


def clone_readonly(path: str) -> int:
    """A descriptor of the file ``path`` that nobody who gets hold of it can write through, root included.

    For executables that a container may reach by /proc/<pid>/exe (CVE-2019-5736): a read-only private clone of the
    file's mount, or, before Linux 5.12, a sealed copy in memory. Run it with ``execveat`` or ``/proc/self/fd``.
    """
    try:
        fd = open_tree(libc.AT_FDCWD, path, OPEN_TREE_CLONE)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            raise
        return sealed_copy(path)
    try:
        mount_setattr(fd, "", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, propagation=MS_PRIVATE)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            raise
        return sealed_copy(path)
    return fd


def sealed_copy(path: str) -> int:
    """A copy of the file ``path`` in memory, sealed against any change, readable and executable by descriptor."""
    memory = os.memfd_create(os.path.basename(path), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = -1
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        while os.sendfile(memory, source, None, 1 << 30):
            pass
        os.fchmod(memory, 0o555)
        libc.memfd_seal(memory)
    except OSError:
        os.close(memory)
        raise
    finally:
        if source >= 0:
            os.close(source)
    return memory


def overlay(
    lowers: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    *,
    readonly: bool = False,
) -> int:
    """A mount descriptor of the directories ``lowers`` (topmost first) under ``upper``, with its ``work`` directory.

    Without ``upper`` the mount is read-only anyway, and needs two lowers. In a user namespace overlayfs's marks are in
    user.* attributes. Up to 127 lowers on every kernel, and more than that from 6.7 on.

    Raises: OSError.
    """
    options = {"redirect_dir": "off", "metacopy": "off", "index": "off"}
    flags: list[str] = []
    if not userns.INITIAL:
        # It implies the other two, and refuses to be told so.
        options, flags = {"index": "off"}, ["userxattr"]
    attributes = MOUNT_ATTR_RDONLY if readonly or upper is None else 0
    held: list[int] = []
    try:
        layers = [_plain(path, held) for path in lowers]
        if upper is not None and work is not None:
            options |= {"upperdir": _plain(upper, held), "workdir": _plain(work, held)}
        if _knows_layers():
            try:
                return _overlay_by_layers(layers, options, flags, attributes)
            except OSError as refused:
                # 6.5 and 6.6 know the interface, but not "lowerdir+".
                if refused.errno != errno.EINVAL:
                    raise
                try:
                    return _overlay_by_options(layers, options, flags, attributes, held)
                except OSError as exc:
                    raise (refused if exc.errno == errno.EINVAL else exc) from None
        return _overlay_by_options(layers, options, flags, attributes, held)
    finally:
        for fd in held:
            os.close(fd)


def _knows_layers() -> bool:
    """Whether "lowerdir+" is worth a try: before 6.5 each try would leave a complaint in the kernel's log."""
    major, minor = os.uname().release.split(".", 2)[:2]
    return (int(major), int("".join(digit for digit in minor if digit.isdigit()) or "0")) >= (6, 5)


def _overlay_by_layers(layers: Sequence[str], options: dict[str, str], flags: Sequence[str], attributes: int) -> int:
    context = fsopen("overlay")
    try:
        fsconfig(context, FSCONFIG_SET_STRING, "source", "overlay")
        for layer in layers:
            fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", layer)
        for key, value in options.items():
            fsconfig(context, FSCONFIG_SET_STRING, key, value)
        for flag in flags:
            fsconfig(context, FSCONFIG_SET_FLAG, flag)
        fsconfig(context, FSCONFIG_CMD_CREATE)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def _overlay_by_options(
    layers: Sequence[str], options: dict[str, str], flags: Sequence[str], attributes: int, held: list[int]
) -> int:
    """The classic way: one string of options, which may not be longer than a page (44 usual layers fill it).

    mount(2) wants a place to mount on: a directory of the moment, which is gone when this returns.
    """
    data = ",".join([f"lowerdir={':'.join(layers)}", *(f"{key}={value}" for key, value in options.items()), *flags])
    if len(os.fsencode(data)) > _MAX_OPTIONS:
        layers = [_by_descriptor(layer, held) for layer in layers]
        data = ",".join([f"lowerdir={':'.join(layers)}", *(f"{key}={value}" for key, value in options.items()), *flags])
    base = "/run" if os.access("/run", os.W_OK) else "/tmp"
    place = f"{base}/.rundlet-{os.urandom(8).hex()}"
    os.mkdir(place, 0o700)
    try:
        try:
            mount("overlay", place, "overlay", MS_RDONLY if attributes & MOUNT_ATTR_RDONLY else 0, data)
        except FileNotFoundError:
            for path in (*layers, *(options[key] for key in ("upperdir", "workdir") if key in options)):
                os.stat(path)  # the one that is missing raises, and is named
            raise
        try:
            return open_tree(libc.AT_FDCWD, place, OPEN_TREE_CLONE)
        finally:
            umount(place, MNT_DETACH)
    finally:
        os.rmdir(place)


def _plain(path: str, held: list[int]) -> str:
    """``path``, or where overlayfs would misread or refuse it a short name of a descriptor that goes to ``held``."""
    if len(os.fsencode(path)) > _MAX_OPTION or any(special in path for special in ":,\\"):
        return _by_descriptor(path, held)
    return path


def _by_descriptor(path: str, held: list[int]) -> str:
    if path.startswith("/proc/self/fd/"):
        return path
    held.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return f"/proc/self/fd/{held[-1]}"


def _complaints(fd: int) -> str:
    """What the file system wrote to its context since the last look; one message for each read, "e text"."""
    said: list[str] = []
    try:
        while len(said) < 8:
            line = os.read(fd, 4096)
            if not line:
                break
            said.append(os.fsdecode(line[2:]).strip())
    except OSError:
        pass  # ENODATA: nothing more
    return "; ".join(said)
