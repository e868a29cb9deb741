"""What hides a name of the layers below: overlayfs's character device 0/0, or, where none can be made, a mark of ours.

A data root that itself lies on an overlay (an engine in a container, without a volume) is refused that device by the
kernel: there it could not be told from the lower overlay's own. Nothing is mounted from such a root, layers are merged
by copying, so the mark needs to be understood here only: a FIFO with a mode and a time that nobody gives one.

Standard library only: the launcher's workers import it.
"""

import errno
import os
import stat
from typing import Final

_MODE: Final = stat.S_IFIFO | stat.S_ISVTX
_TIME: Final = 0x77686974_65000001  # nanoseconds


def make_whiteout(name: str | bytes, parent: int) -> None:
    """Hide ``name`` in the directory ``parent``. Raises: OSError."""
    try:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
    except PermissionError as exc:
        if exc.errno != errno.EPERM:
            raise
        os.mknod(name, _MODE, dir_fd=parent)
        os.utime(name, ns=(_TIME, _TIME), dir_fd=parent, follow_symlinks=False)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an entry of a layer's directory hides one of the same name below."""
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    return status.st_mode == _MODE and status.st_mtime_ns == _TIME
