"""What a set-up step is. A plan is a list of steps; each can say what it does and do it.

The same plan is executed by init, printed in logs and compared in tests.
"""

import errno
import os
from typing import Protocol

from rundlet.linux import libc, mount
from rundlet.runtime.init.report import Reporter


class Context:
    """What steps hand on to later ones. Descriptors; -1: not there (yet)."""

    __slots__ = ("_proc", "console", "dev", "master_to", "null", "pts", "reporter", "root", "stderr", "stdin", "stdout")

    def __init__(self, reporter: Reporter, stdin: int, stdout: int, stderr: int, master_to: int = -1) -> None:
        self.reporter = reporter
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.master_to = master_to  # a socket to the shim, for the master of the terminal
        self.root = -1  # the container's root directory
        self.dev = -1  # the file system mounted at /dev
        self.pts = -1  # the container's own devpts
        self.null = -1  # the container's own /dev/null, to cover files with
        self.console = -1  # the slave of the terminal
        self._proc = -1

    def proc(self) -> int:
        """A procfs of the container's PID namespace that nothing can be mounted over."""
        if self._proc < 0:
            attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
            try:
                self._proc = mount.new_filesystem("proc", {"source": "proc"}, attributes)
            except PermissionError:
                self._proc = _present_proc()
            mount.require_filesystem(self._proc, mount.PROC_SUPER_MAGIC, "/proc")
        return self._proc

    def write_proc(self, name: str, data: bytes) -> None:
        """Write to a file of procfs, by a path that only ever leads through procfs."""
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.proc())
        try:
            mount.require_filesystem(fd, mount.PROC_SUPER_MAGIC, f"/proc/{name}")
            os.write(fd, data)
        except OSError as exc:
            if exc.filename is None:
                exc.filename = f"/proc/{name}"
            raise
        finally:
            os.close(fd)


def _present_proc() -> int:
    """The procfs that is mounted, where a user namespace may not make another and it is of our PID namespace.

    Raises: PermissionError. The kernel gives no new procfs to a user namespace that sees a part of one only (which is
    what containers get to see), for that would uncover the rest.
    """
    try:
        ours = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        ours = False
    if not ours:
        raise OSError(
            errno.EPERM,
            os.strerror(errno.EPERM),
            "/proc (no new procfs in a container with a masked one: start that container with "
            "--security-opt systempaths=unconfined, or use --pid host)",
        )
    return mount.open_tree(libc.AT_FDCWD, "/proc", mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)


class Step(Protocol):
    """One thing to do. ``step`` is its kind, one of ``report.STEPS``."""

    @property
    def step(self) -> str: ...

    def describe(self) -> str:
        """One line for logs and tests."""
        ...

    def execute(self, context: Context) -> None:
        """Raises: OSError; the set-up ends there."""
        ...
