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


class ForeignRootError(RundletError):
    """The data root is another user's: an engine never changes owners there."""

    reason = "foreign-data-root"

    def __init__(self, root: str, owner: int, user: int) -> None:
        hint = "use that user's own rundlet, without sudo" if user == 0 else "use sudo rundlet, if it is root's"
        super().__init__(
            f"the data root {root} belongs to the engine of another user (uid {owner}): {hint}, or choose another "
            "directory with RUNDLET_ROOT"
        )


def check_owner(root: str, user: int | None = None) -> None:
    """Raises ForeignRootError when another user's engine has used ``root``. ``user``: the caller, if not uid 0 is."""
    mine = os.geteuid() if user is None else user
    for path in (f"{root}/engine.lock", root):
        try:
            owner = os.stat(path).st_uid
        except OSError:
            continue
        # A directory that root was given (mktemp, a home) is fine: only an engine's own traces count there.
        if owner != mine and (mine != 0 or path.endswith("/engine.lock")):
            raise ForeignRootError(root, owner, mine)
        return


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
