"""The door to the kernel: raw system calls through libc, by name, raising ``OSError(errno, text, path)``.

Everything else in this room calls :func:`call`. Numbers are kept for the two architectures that Rundlet supports; a
call that is missing from the running kernel raises ``OSError`` with ``ENOSYS``, like any other failure.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from typing import Final, NoReturn, TypeAlias

Argument: TypeAlias = "int | bytes | ctypes.Array[ctypes.c_char] | None"

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_SET_NAME: Final = 15
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_GET_SECUREBITS: Final = 27
PR_SET_SECUREBITS: Final = 28
PR_SET_TIMERSLACK: Final = 29
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
PR_SET_THP_DISABLE: Final = 41
PR_CAP_AMBIENT: Final = 47

# Calls that have one number on every architecture (all since the table was unified in Linux 5.1).
_UNIFIED: Final = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
_X86_64: Final = {
    "clone": 56,
    "fcntl": 72,
    "capget": 125,
    "capset": 126,
    "personality": 135,
    "fstatfs": 138,
    "pivot_root": 155,
    "setfsuid": 122,
    "setfsgid": 123,
    "prctl": 157,
    "mount": 165,
    "umount2": 166,
    "sethostname": 170,
    "setdomainname": 171,
    "set_mempolicy": 238,
    "add_key": 248,
    "keyctl": 250,
    "ioprio_set": 251,
    "inotify_add_watch": 254,
    "inotify_rm_watch": 255,
    "unshare": 272,
    "inotify_init1": 294,
    "setns": 308,
    "sched_setattr": 314,
    "seccomp": 317,
    "bpf": 321,
    "execveat": 322,
    "statx": 332,
}
_AARCH64: Final = {
    "fcntl": 25,
    "inotify_init1": 26,
    "inotify_add_watch": 27,
    "inotify_rm_watch": 28,
    "ioprio_set": 30,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "fstatfs": 44,
    "capget": 90,
    "capset": 91,
    "personality": 92,
    "unshare": 97,
    "setfsuid": 151,
    "setfsgid": 152,
    "sethostname": 161,
    "setdomainname": 162,
    "prctl": 167,
    "add_key": 217,
    "keyctl": 219,
    "clone": 220,
    "set_mempolicy": 237,
    "setns": 268,
    "sched_setattr": 274,
    "seccomp": 277,
    "bpf": 280,
    "execveat": 281,
    "statx": 291,
}
MACHINE: Final = os.uname().machine
NUMBERS: Final[dict[str, int]] = _UNIFIED | (_AARCH64 if MACHINE == "aarch64" else _X86_64)

_SIGCHLD: Final = 17
_CLONE_PIDFD: Final = 0x1000
_CLONE_PARENT: Final = 0x8000
_CLONE_INTO_CGROUP: Final = 0x2_0000_0000
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_KEYCTL_SETPERM: Final = 5
_STATX_MNT_ID: Final = 0x1000
_STX_MNT_ID: Final = 144  # where struct statx has it
_F_ADD_SEALS: Final = 1033
_F_SEAL_ALL: Final = 0xF  # SEAL | SHRINK | GROW | WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_raw = _libc.syscall
_raw.restype = ctypes.c_long
# Every argument is declared as a pointer: ctypes then takes integers (64 bits wide, which the default is not), bytes
# and buffers alike.
_raw.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6
# The same function without giving up the GIL: a cloned child must own it, as nobody else is there to hand it over.
_raw_locked = ctypes.PyDLL(None, use_errno=True).syscall
_raw_locked.restype = ctypes.c_long
_raw_locked.argtypes = _raw.argtypes


def error(number: int, path: str | None = None) -> OSError:
    """The ``OSError`` (or fitting subclass) of errno ``number``, naming ``path`` where there is one; for ``raise``."""
    return OSError(number, os.strerror(number), path)


def syscall(number: int, *arguments: Argument) -> int:
    """Make system call ``number`` with up to six arguments and return its result.

    Integers, ``bytes`` (passed by address), ctypes buffers and None (a null pointer) are taken.

    Raises: OSError without a path.
    """
    result: int = _raw(number, *arguments, *(0,) * (6 - len(arguments)))
    if result == -1:
        raise error(ctypes.get_errno())
    return result


def call(name: str, *arguments: Argument, path: str | None = None) -> int:
    """Make the system call ``name``; ``path`` is what an error message names.

    Raises: OSError(errno, text, path).
    """
    result: int = _raw(NUMBERS[name], *arguments, *(0,) * (6 - len(arguments)))
    if result == -1:
        raise error(ctypes.get_errno(), path)
    return result


def clone3(flags: int, *, pidfd: bool = True, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork with new namespaces: ``(pid, pidfd)`` in the parent (pidfd -1 unless asked), ``(0, -1)`` in the child.

    The exit signal is SIGCHLD (with CLONE_PARENT the kernel takes our own). ``cgroup_fd`` (a cgroup v2 directory)
    starts the child in that cgroup. Python's own bookkeeping around a fork is done, so the child may go on running
    Python; libc's atfork handlers do not run, so call it from a single-threaded process only.

    Raises: OSError; where the kernel or a filter refuses clone3 with ENOSYS, clone is used (not with ``cgroup_fd``).
    """
    descriptor = ctypes.c_int(-1)
    if pidfd:
        flags |= _CLONE_PIDFD
    if cgroup_fd >= 0:
        flags |= _CLONE_INTO_CGROUP
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    arguments = struct.pack(
        "=11Q",
        flags,
        ctypes.addressof(descriptor) if pidfd else 0,
        0,
        0,
        0 if flags & _CLONE_PARENT else _SIGCHLD,
        0,
        0,
        0,
        0,
        0,
        max(cgroup_fd, 0),
    )
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid: int = _raw_locked(NUMBERS["clone3"], arguments, len(arguments), 0, 0, 0, 0)
    number = ctypes.get_errno()
    if pid == -1 and number == errno.ENOSYS and cgroup_fd < 0:
        # clone() with CLONE_PIDFD stores the descriptor at the parent_tid address, the third argument everywhere.
        where = ctypes.addressof(descriptor) if pidfd else 0
        pid = _raw_locked(NUMBERS["clone"], flags | _SIGCHLD, 0, where, 0, 0, 0)
        number = ctypes.get_errno()
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0, -1
    api.PyOS_AfterFork_Parent()
    if pid == -1:
        raise error(number)
    return pid, descriptor.value


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` (``ns.CLONE_*``) for new ones."""
    call("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace ``fd``, or with a pidfd all those in ``flags`` of that process, at once."""
    call("setns", fd, flags)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and move the old one to ``old``; both "." puts the old one on top, ready to unmount."""
    call("pivot_root", os.fsencode(new), os.fsencode(old), path=new)


def prctl(option: int, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0) -> int:
    """Make one of the process-attribute calls (``PR_*``) and return its result."""
    return call("prctl", option, a2, a3, a4, a5)


def set_name(name: str) -> None:
    """Name the calling thread, as ps and top show it (15 bytes; the rest is cut)."""
    call("prctl", PR_SET_NAME, name.encode()[:15] + b"\0")


def sethostname(name: str) -> None:
    data = os.fsencode(name)
    call("sethostname", data, len(data), path=name)


def setdomainname(name: str) -> None:
    data = os.fsencode(name)
    call("setdomainname", data, len(data), path=name)


def keyctl_join_session(name: str | None = None) -> int:
    """Leave the inherited session keyring for a new one and return its serial number.

    A kernel without keyrings, or a filter that hides them, has nothing to leak: ENOSYS and EPERM are the caller's to
    judge.
    """
    return call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None if name is None else os.fsencode(name))


def memfd_seal(fd: int) -> None:
    """Forbid for ever every change of the memory file ``fd``: contents, size, and seals."""
    call("fcntl", fd, _F_ADD_SEALS, _F_SEAL_ALL)


def close_range(first: int, last: int = 0xFFFF_FFFF) -> None:
    """Close all descriptors from ``first`` to ``last``, both included.

    Kernels before 5.9 have no such call: there the open ones are read from /proc.
    """
    try:
        call("close_range", first, last, 0)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            raise
        for entry in os.listdir("/proc/self/fd"):
            if first <= int(entry) <= last:
                try:
                    os.close(int(entry))
                except OSError:
                    pass  # the descriptor of the listing itself


def execveat(fd: int, argv: Sequence[str], env: dict[str, str]) -> NoReturn:
    """Run the program open at ``fd`` (O_PATH is enough) in place of this one.

    Unlike ``os.execve(fd)`` it needs no /proc. Raises: OSError when the program can't be run.
    """
    arguments = [os.fsencode(item) for item in argv]
    environment = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
    argument_array = (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
    environment_array = (ctypes.c_char_p * (len(environment) + 1))(*environment, None)
    call(
        "execveat",
        fd,
        b"",
        ctypes.addressof(argument_array),
        ctypes.addressof(environment_array),
        AT_EMPTY_PATH,
        path=argv[0] if argv else None,
    )
    raise AssertionError("execveat returned")


def filesystem_type(fd: int) -> int:
    """The magic number (``statfs.f_type``) of the file system that ``fd`` lies on."""
    buffer = ctypes.create_string_buffer(256)
    call("fstatfs", fd, buffer)
    kind: int = struct.unpack_from("=l" if struct.calcsize("l") == 4 else "=q", buffer.raw)[0]
    return kind & 0xFFFF_FFFF


def mount_id(fd: int) -> int:
    """The number (/proc/self/mountinfo's) of the mount that ``fd`` was opened through."""
    buffer = ctypes.create_string_buffer(256)
    call("statx", fd, b"", AT_EMPTY_PATH, _STATX_MNT_ID, buffer)
    return int.from_bytes(buffer.raw[_STX_MNT_ID : _STX_MNT_ID + 8], "little")
