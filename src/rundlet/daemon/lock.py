"""One engine per data root: an advisory lock that dies with its holder."""

import errno
import fcntl
import os

from rundlet.errors import RundletError


class EngineRunningError(RundletError):
    """Another engine owns this data root."""

    reason = "engine-running"

    def __init__(self, root: str, pid: str) -> None:
        super().__init__(f"an engine already runs for {root}" + (f" (pid {pid})" if pid else ""))


def acquire(path: str, root: str) -> int:
    """Lock ``path`` and write our pid into it; returns the descriptor to keep open. Raises EngineRunningError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise EngineRunningError(root, pid) from error
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd
