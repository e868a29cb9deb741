"""Locks the calling process into one directory, for good: the worker that reads what a registry sent runs so.

After :func:`confine` the process sees nothing but the directory, has no network, keeps the capabilities that making
files takes, and can make only the system calls on a short list. Standard library and ``linux`` only; the calling
process must be single-threaded and must have imported all that it will use.
"""

import errno
import os
import resource
import struct
from collections.abc import Sequence
from typing import Final

from rundlet.linux import caps, libc, mount, ns, roots
from rundlet.linux.seccomp import loader

CAPABILITIES: Final = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP")
MEMORY_LIMIT: Final = 1 << 30
"""Bytes of address space: a reader that is led to hoard fails with one line instead of taking the machine along."""

_MOUNT_ATTRIBUTES: Final = (
    mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC | mount.MOUNT_ATTR_NOATIME
)

# What CPython needs to run on, and what making, changing and listing files by descriptor takes. There is no socket,
# no open by path alone that could matter, no clone, execve, ptrace, mount, bpf, keyctl or io_uring.
_X86_64: Final = {
    "read": 0,
    "write": 1,
    "open": 2,
    "close": 3,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "dup": 32,
    "getpid": 39,
    "exit": 60,
    "fcntl": 72,
    "fsync": 74,
    "ftruncate": 77,
    "readlink": 89,
    "fchmod": 91,
    "fchown": 93,
    "umask": 95,
    "sigaltstack": 131,
    "gettid": 186,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "getxattr": 191,
    "lgetxattr": 192,
    "fgetxattr": 193,
    "listxattr": 194,
    "llistxattr": 195,
    "flistxattr": 196,
    "futex": 202,
    "getdents64": 217,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "openat": 257,
    "mkdirat": 258,
    "mknodat": 259,
    "fchownat": 260,
    "newfstatat": 262,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "readlinkat": 267,
    "fchmodat": 268,
    "utimensat": 280,
    "fallocate": 285,
    "renameat2": 316,
    "getrandom": 318,
    "statx": 332,
    "rseq": 334,
    "close_range": 436,
    "openat2": 437,
    "fchmodat2": 452,
}
_AARCH64: Final = {
    "setxattr": 5,
    "lsetxattr": 6,
    "fsetxattr": 7,
    "getxattr": 8,
    "lgetxattr": 9,
    "fgetxattr": 10,
    "listxattr": 11,
    "llistxattr": 12,
    "flistxattr": 13,
    "dup": 23,
    "fcntl": 25,
    "mknodat": 33,
    "mkdirat": 34,
    "unlinkat": 35,
    "symlinkat": 36,
    "linkat": 37,
    "renameat": 38,
    "ftruncate": 46,
    "fallocate": 47,
    "fchmod": 52,
    "fchmodat": 53,
    "fchownat": 54,
    "fchown": 55,
    "openat": 56,
    "close": 57,
    "getdents64": 61,
    "lseek": 62,
    "read": 63,
    "write": 64,
    "readv": 65,
    "writev": 66,
    "pread64": 67,
    "readlinkat": 78,
    "newfstatat": 79,
    "fstat": 80,
    "fsync": 82,
    "utimensat": 88,
    "exit": 93,
    "exit_group": 94,
    "futex": 98,
    "clock_gettime": 113,
    "clock_nanosleep": 115,
    "sched_yield": 124,
    "restart_syscall": 128,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "umask": 166,
    "getpid": 172,
    "gettid": 178,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "mmap": 222,
    "mprotect": 226,
    "madvise": 233,
    "renameat2": 276,
    "getrandom": 278,
    "statx": 291,
    "rseq": 293,
    "close_range": 436,
    "openat2": 437,
    "fchmodat2": 452,
}
_AUDIT_ARCH: Final = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}


def confine(directory_fd: int, capabilities: Sequence[str] = CAPABILITIES, *, readonly: bool = False) -> int:
    """Make ``directory_fd`` the root and the current directory, and drop all but the named capabilities.

    ``readonly`` lets nothing be changed there. Returns a descriptor of the new root; the old one, from which ``..``
    would lead outside, is closed.

    Raises: OSError naming the step that the kernel refused; the process must then end without reading anything.
    """
    limit()
    # The new mount namespace takes the current directory along; a descriptor would stay in the old one.
    os.fchdir(directory_fd)
    libc.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS)
    roots.isolate(mount.MS_PRIVATE)
    _pivot(readonly)
    os.close(directory_fd)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    restrict(capabilities)
    return root


def limit() -> None:
    """No core dump, nobody may look into the process, and an end to its memory. Raises: OSError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    libc.prctl(libc.PR_SET_DUMPABLE, 0)


def restrict(capabilities: Sequence[str]) -> None:
    """Keep the named capabilities and the system calls on the list, for good. Raises: OSError."""
    _drop_rights(capabilities)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if _PROGRAM:
        try:
            loader.load(_PROGRAM)
        except OSError as exc:
            if exc.errno != errno.ENOSYS:  # a kernel built without filters: the rest still holds
                raise


def _pivot(readonly: bool) -> None:
    tree = mount.open_tree(libc.AT_FDCWD, ".", mount.OPEN_TREE_CLONE)
    try:
        mount.move_mount(tree, libc.AT_FDCWD, ".", mount.MOVE_MOUNT_F_EMPTY_PATH)
        os.fchdir(tree)
    finally:
        os.close(tree)
    attributes = _MOUNT_ATTRIBUTES | (mount.MOUNT_ATTR_RDONLY if readonly else 0)
    try:
        mount.mount_setattr(libc.AT_FDCWD, ".", attributes, mount.MOUNT_ATTR_ATIME)
    except PermissionError:
        # In a user namespace, whose root may not change how the machine's own mounts keep access times.
        mount.mount_setattr(libc.AT_FDCWD, ".", attributes & ~mount.MOUNT_ATTR_NOATIME)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:  # before Linux 5.12; nothing in the directory is run or opened as a device
            raise
    roots.pivot()


def _drop_rights(capabilities: Sequence[str]) -> None:
    keep = caps.mask(capabilities)
    caps.drop_bounding(keep)
    keep &= caps.get_capabilities()[1]
    caps.set_capabilities(keep, keep, 0)


def filter_program(machine: str = libc.MACHINE) -> bytes:
    """The filter for the loader: calls on the list pass, others fail with EPERM; empty on a machine without a list."""
    if machine not in _AUDIT_ARCH:
        return b""
    architecture, numbers = _AUDIT_ARCH[machine]
    load, jump_equal, answer = 0x20, 0x15, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
    program = [(load, 0, 0, 4), (jump_equal, 1, 0, architecture), (answer, 0, 0, kill), (load, 0, 0, 0)]
    for number in sorted(set(numbers.values())):
        program += [(jump_equal, 0, 1, number), (answer, 0, 0, allow)]
    program.append((answer, 0, 0, refuse))
    header = struct.pack(loader.HEADER, loader.MAGIC, 0)
    return header + b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_PROGRAM: Final = filter_program()
"""Made once, by the launcher, for all the workers that are forked from it."""
