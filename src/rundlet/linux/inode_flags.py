"""Inode flags (chattr(1)) by ioctl. See: ioctl_iflags(2)."""

import fcntl
import os
import struct
from typing import Final

_GET: Final = 0x80086601  # FS_IOC_GETFLAGS
_SET: Final = 0x40086602  # FS_IOC_SETFLAGS
TOPDIR: Final = 0x00020000
"""The directories below are unrelated trees: the block allocator is to spread them."""


def get(path: str) -> int:
    """The flags of a file or directory. Raises OSError where the file system has none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return _read(fd)
    finally:
        os.close(fd)


def add(path: str, flags: int) -> None:
    """Set further flags. Raises OSError where the file system does not have them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        present = _read(fd)
        if present & flags != flags:
            fcntl.ioctl(fd, _SET, struct.pack("=I4x", present | flags))
    finally:
        os.close(fd)


def _read(fd: int) -> int:
    # The kernel writes an int, whatever the size that the request's number says.
    answer = fcntl.ioctl(fd, _GET, bytes(8))
    flags: int = struct.unpack("=I4x", answer)[0]
    return flags
