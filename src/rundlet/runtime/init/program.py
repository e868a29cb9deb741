"""Finding and executing the container's program: the last steps, and the pid 1 of ``--init``."""

import errno
import os
import signal
import stat
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from rundlet.linux import libc
from rundlet.runtime.init.steps import Context

# What find() reports for a name that is in no directory of PATH; execve never gives it.
NOT_IN_PATH: Final = 0
_IPC_SYSCTLS: Final = frozenset(
    f"kernel/{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


class NotInPathError(OSError):
    """The name has no slash and no directory of PATH has such an executable."""


class SetHostname(NamedTuple):
    hostname: str
    domainname: str
    step: str = "hostname"

    def describe(self) -> str:
        return f"host name {self.hostname}"

    def execute(self, context: Context) -> None:
        if self.hostname:
            libc.sethostname(self.hostname)
        if self.domainname:
            libc.setdomainname(self.domainname)


class Sysctls(NamedTuple):
    """``linux.sysctl``, written through a procfs that the image has no hand in (CVE-2025-52881)."""

    values: tuple[tuple[str, str], ...]
    step: str = "sysctl"

    def describe(self) -> str:
        return "sysctl " + " ".join(f"{key}={value}" for key, value in self.values)

    def execute(self, context: Context) -> None:
        for key, value in self.values:
            context.write_proc("sys/" + sysctl_path(key), value.encode())


def sysctl_path(key: str) -> str:
    """``net.ipv4.conf.eth0/1.forwarding`` → ``net/ipv4/conf/eth0.1/forwarding``, as sysctl(8) does.

    Raises: ValueError for what leads out of /proc/sys.
    """
    slashed = "/" in key and "." not in key.split("/", 1)[0]
    path = key if slashed else key.translate({ord("."): "/", ord("/"): "."})
    if not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in path:
        raise ValueError(f"invalid sysctl: {key}")
    return path


def check_sysctl(key: str, namespaces: Collection[str]) -> None:
    """A container may set what is its own namespaces', nothing of the machine's.

    ``namespaces``: the kinds of OCI namespaces that the container has of its own or shares with another container.
    Raises: ValueError in runc's words.
    """
    path = sysctl_path(key)
    if path in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        allowed = "ipc" in namespaces
    elif path == "kernel/domainname":
        allowed = "uts" in namespaces
    elif path.startswith("net/"):
        if "network" not in namespaces:
            raise ValueError(f'sysctl "{key}" not allowed in host network namespace')
        allowed = True
    else:
        allowed = False
    if not allowed:
        raise ValueError(f'sysctl "{key}" is not in a separate kernel namespace')


def find(name: str, search: str) -> str:
    """The file that ``name`` means, by the rules and errors of Go's exec.LookPath, which runc's users know.

    Raises: NotInPathError, FileNotFoundError, PermissionError, IsADirectoryError.
    """
    if "/" in name:
        _check(name)
        return name
    for directory in search.split(":") if search else ():
        candidate = f"{directory or '.'}/{name}"
        try:
            _check(candidate)
        except OSError:
            continue
        return candidate
    raise NotInPathError(NOT_IN_PATH, "executable file not found in $PATH", name)


def _check(path: str) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    # By the effective user, where access(2) asks for the real one's and without their capabilities.
    if not mode & 0o111 or not (os.access(path, os.X_OK) or os.access(path, os.X_OK, effective_ids=True)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def environment(entries: Sequence[str], home: str) -> dict[bytes, bytes]:
    """``process.env`` with HOME added as runc does; a later entry of one name replaces an earlier one."""
    result: dict[bytes, bytes] = {}
    for entry in entries:
        name, separator, value = os.fsencode(entry).partition(b"=")
        if separator and name:
            result[name] = value
    if not result.get(b"HOME"):
        result[b"HOME"] = os.fsencode(home or "/")
    return result


def reset_signals() -> None:
    """Python ignores SIGPIPE, and what is ignored stays so over execve. Nothing else is: the launcher saw to it."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def install_stdio(context: Context) -> None:
    """0, 1, 2 and, with a terminal, control over it."""
    import fcntl
    import termios

    if context.console >= 0:
        fcntl.ioctl(context.console, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(context.console, number)
        return
    # None of the three is below 3 (main moves them), so no dup2 destroys the source of the next.
    for number, fd in enumerate((context.stdin, context.stdout, context.stderr)):
        os.dup2(fd if fd >= 0 else _container_null(), number)


def _container_null() -> int:
    """The container's own /dev/null, if it is one: a descriptor of the host's would be an open door to its /dev."""
    fd = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "/dev/null")
    return fd
