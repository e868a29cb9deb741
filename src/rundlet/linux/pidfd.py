"""Processes by descriptor, so that no signal ever reaches a stranger that got a reused process number."""

import errno
import os
import select

from rundlet.linux import libc


def open(pid: int) -> int:
    """A descriptor (close-on-exec) of the process ``pid``; readable once it has ended.

    Raises: ProcessLookupError when there is none.
    """
    return libc.call("pidfd_open", pid, 0)


def send_signal(pidfd: int, signal: int) -> None:
    """Send ``signal`` (0 only checks) to the process.

    Raises: ProcessLookupError when it has ended and was reaped.
    """
    libc.call("pidfd_send_signal", pidfd, signal, None, 0)


def getfd(pidfd: int, fd: int) -> int:
    """A copy (close-on-exec) of descriptor ``fd`` of the process; needs the right to ptrace it."""
    return libc.call("pidfd_getfd", pidfd, fd, 0)


def wait(pidfd: int, timeout: float | None = None) -> bool:
    """Wait until the process has ended, at most ``timeout`` seconds; says whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else int(timeout * 1000)))


def pid(pidfd: int) -> int:
    """The number that the process has in our PID namespace.

    Raises: ProcessLookupError when it has ended and was reaped.
    """
    with os.fdopen(os.open(f"/proc/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)) as lines:
        for line in lines:
            if line.startswith("Pid:"):
                number = int(line[4:])
                if number > 0:
                    return number
    raise libc.error(errno.ESRCH)
