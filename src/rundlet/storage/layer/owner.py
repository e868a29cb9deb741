"""Owners that a user namespace doesn't have, kept beside the file: in an extended attribute of files and directories.

Such a file belongs to root of the namespace; back in a layer or an archive it belongs to its true owner again. Links
and special files can't carry the attribute: theirs is lost. Standard library only: it runs in workers.
"""

import os
from typing import Final

from rundlet.storage.layer.tar import Entry

XATTR: Final = "user.rundlet.owner"


def remember(fd: int, uid: int, gid: int) -> None:
    """Note who owns ``fd`` (-1: something that can't carry it). Raises: OSError, as for a disk that is full."""
    if fd < 0:
        return
    try:
        os.setxattr(fd, XATTR, b"%d:%d" % (uid, gid))
    except PermissionError:
        pass


def restore(fd: int, entry: Entry, status: os.stat_result) -> None:
    """Give ``entry`` its true owner, unless somebody has given it another one already."""
    if (entry.uid, entry.gid) != (status.st_uid, status.st_gid):
        return
    try:
        uid, _, gid = os.getxattr(fd, XATTR).partition(b":")
        entry.uid, entry.gid = int(uid), int(gid)
    except (OSError, ValueError):
        return  # it has no other
