"""Paths inside an untrusted root: openat2, and what is built on it.

Nothing here ever leaves ``root_fd``: an absolute path or link starts again at the root, ``..`` stops there, and magic
links are refused (CVE-2021-30465 and its kin). The kernel does the walking, so there is no race to win.
"""

import errno
import os
import stat
import struct
from typing import Final

from rundlet.linux import libc

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20

_IN_ROOT: Final = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MAX_LINKS: Final = 40  # the kernel's own limit of links in one walk
_MAX_STEPS: Final = 4096
_RETRIES: Final = 128


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` from ``dirfd`` under the ``RESOLVE_*`` rules; the descriptor is close-on-exec.

    The kernel answers EAGAIN when a rename elsewhere made it unsure about a ``..``; that is tried again.

    Raises: OSError with the path; EXDEV for an attempt to leave under RESOLVE_BENEATH, ELOOP for a refused link.
    """
    how = struct.pack("=3Q", (flags | os.O_CLOEXEC) & 0xFFFF_FFFF, mode, resolve)
    name = os.fsencode(path)
    for _ in range(_RETRIES):
        try:
            return libc.call("openat2", dirfd, name, how, len(how), path=path)
        except BlockingIOError:
            continue
    raise libc.error(errno.EAGAIN, path)


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process whose root directory is ``root_fd`` would, but without magic links."""
    return openat2(root_fd, path, flags, mode, _IN_ROOT)


def makedirs_in_root(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Make the directory ``path`` beneath ``root_fd``, with its parents, and return an O_PATH descriptor of it.

    Links are followed as the container would, dangling ones included: what they point to is made, inside the root.

    Raises: NotADirectoryError, OSError(ELOOP) with too many links; anything mkdir raises.
    """
    flags = os.O_PATH | os.O_DIRECTORY
    links = 0
    for _ in range(_MAX_STEPS):
        try:
            return open_in_root(root_fd, path or ".", flags)
        except FileNotFoundError:
            pass
        prefix, name, rest = _first_missing(root_fd, path)
        parent = open_in_root(root_fd, prefix or ".", flags)
        try:
            target = _make_one(parent, name, mode, path)
        finally:
            os.close(parent)
        if target is not None:
            links += 1
            if links > _MAX_LINKS:
                break
            path = "/".join(part for part in (("" if target.startswith("/") else prefix), target, rest) if part)
    raise libc.error(errno.ELOOP, path)


def touch_in_root(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open (O_PATH) the file ``path`` beneath ``root_fd``, making it, empty, and its parents where they are missing.

    Links are followed inside the root, a dangling one too: what it points to is made, as by :func:`makedirs_in_root`.
    Never opens a device or a FIFO.

    Raises: OSError(ELOOP) with too many links.
    """
    wanted = path
    for _ in range(_MAX_LINKS):
        try:
            return open_in_root(root_fd, path, os.O_PATH)
        except FileNotFoundError:
            pass
        directory, _, name = path.rstrip("/").rpartition("/")
        parent = makedirs_in_root(root_fd, directory)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            try:
                os.close(os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=parent))
            except FileExistsError:  # made meanwhile, or a dangling link
                target = _link_target(parent, name)
                if target is not None:
                    path = target if target.startswith("/") else f"{directory}/{target}"
                    continue
            return openat2(parent, name, os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        finally:
            os.close(parent)
    raise libc.error(errno.ELOOP, wanted)


def _link_target(parent: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def reopen(fd: int, flags: int) -> int:
    """Open again, with ``flags``, the object that ``fd`` (O_PATH, perhaps) stands for; needs /proc of the host."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)


def _first_missing(root_fd: int, path: str) -> tuple[str, str, str]:
    """Split ``path`` at the first component that can't be opened: (what exists, its name, the rest)."""
    parts = [part for part in path.split("/") if part]
    prefix = ""
    for position, name in enumerate(parts):
        longer = f"{prefix}/{name}" if prefix else name
        try:
            os.close(open_in_root(root_fd, longer, os.O_PATH))
        except FileNotFoundError:
            return prefix, name, "/".join(parts[position + 1 :])
        prefix = longer
    # Everything is there now: somebody made it between the two looks. The caller's next look will find it.
    return "", ".", ""


def _make_one(parent: int, name: str, mode: int, path: str) -> str | None:
    """Make the directory ``name`` in ``parent``; where a link lies in its place return what the link says."""
    if name in (".", ".."):
        return None
    try:
        os.mkdir(name, mode, dir_fd=parent)
        return None
    except FileExistsError:
        pass
    try:
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISLNK(kind):
            return os.readlink(name, dir_fd=parent)
    except FileNotFoundError:
        return None  # removed meanwhile; the caller looks again
    if stat.S_ISDIR(kind):
        return None
    raise libc.error(errno.ENOTDIR, path)
