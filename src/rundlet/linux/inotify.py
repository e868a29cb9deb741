"""File change notices as a non-blocking descriptor, to be watched by whatever loop the caller has. See: inotify(7)."""

import os
import struct
from typing import Final, NamedTuple

from rundlet.linux import libc

IN_ACCESS: Final = 0x0001
IN_MODIFY: Final = 0x0002
IN_ATTRIB: Final = 0x0004
IN_CLOSE_WRITE: Final = 0x0008
IN_MOVED_FROM: Final = 0x0040
IN_MOVED_TO: Final = 0x0080
IN_CREATE: Final = 0x0100
IN_DELETE: Final = 0x0200
IN_DELETE_SELF: Final = 0x0400
IN_MOVE_SELF: Final = 0x0800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000  # notices were lost: look at everything again
IN_IGNORED: Final = 0x8000  # the watch is gone
IN_ONLYDIR: Final = 0x0100_0000
IN_DONT_FOLLOW: Final = 0x0200_0000
IN_MASK_ADD: Final = 0x2000_0000
IN_ONESHOT: Final = 0x8000_0000

_HEADER: Final = "=iIII"
_HEADER_SIZE: Final = 16
_BUFFER: Final = 1 << 16


class Event(NamedTuple):
    """One notice: the watch as :func:`add_watch` returned it (-1: an overflow), ``IN_*`` bits, and which name."""

    watch: int
    mask: int
    cookie: int
    name: str


def init() -> int:
    """A new, non-blocking, close-on-exec descriptor; readable when there are notices."""
    return libc.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch ``path`` for the ``IN_*`` events in ``mask``; returns the number that its notices will bear."""
    return libc.call("inotify_add_watch", fd, os.fsencode(path), mask, path=path)


def remove_watch(fd: int, watch: int) -> None:
    libc.call("inotify_rm_watch", fd, watch)


def read_events(fd: int) -> list[Event]:
    """The notices that have come so far; an empty list when there are none."""
    try:
        data = os.read(fd, _BUFFER)
    except BlockingIOError:
        return []
    return parse_events(data)


def parse_events(data: bytes) -> list[Event]:
    """Take apart what a read from an inotify descriptor returned."""
    events: list[Event] = []
    position = 0
    while position + _HEADER_SIZE <= len(data):
        watch, mask, cookie, length = struct.unpack_from(_HEADER, data, position)
        position += _HEADER_SIZE
        name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
        events.append(Event(watch, mask, cookie, name))
        position += length
    return events
