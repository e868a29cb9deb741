"""Reading json-file logs: from the start or the last lines, through rotations, and on as they grow. Standard library.

A reader is polled: :meth:`LogReader.read` gives what has come since the last call, an empty list when nothing has.
"""

import json
import os
from typing import Final, NamedTuple

_BLOCK: Final = 65536
_BATCH: Final = 1 << 20  # bytes of one read()


class Entry(NamedTuple):
    """One entry: the text as it was written (with its newline, unless it is a piece), the stream, RFC 3339 time."""

    log: str
    stream: str
    time: str


class LogReader:
    """The entries of ``path`` and of its rotated predecessors, oldest first; the last ``tail`` only, if given."""

    def __init__(self, path: str, tail: int | None = None, end: int | None = None) -> None:
        """A log that is not there yet is an empty one. ``end`` is where to stop in the file being written, in bytes;
        None: nowhere. Raises: OSError.
        """
        self._path = path
        self._end = end
        self._fd = -1
        self._partial = b""
        self._older: list[int] = []
        if tail is None or tail < 0:
            self._older = _open_older(path)
            self._open()
        else:
            self._open_tail(tail)

    def read(self) -> list[Entry]:
        """The next entries (up to about a megabyte of them); none: nothing more for now."""
        while True:
            data = self._next()
            if not data:
                return []
            lines = (self._partial + data).split(b"\n")
            self._partial = lines.pop()
            entries = [entry for line in lines if (entry := parse(line)) is not None]
            if entries:
                return entries

    def fileno(self) -> int:
        """The current file, -1 without one; not for select: files are always ready."""
        return self._fd

    def close(self) -> None:
        for fd in self._older:
            os.close(fd)
        self._older = []
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next(self) -> bytes:
        while self._older:
            data = os.read(self._older[0], _BATCH)
            if data:
                return data
            os.close(self._older.pop(0))
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return b""
        if self._end is not None:
            return os.read(self._fd, min(_BATCH, max(0, self._end - os.lseek(self._fd, 0, os.SEEK_CUR))))
        data = os.read(self._fd, _BATCH)
        if data:
            return data
        if not self._moved():
            return b""
        # Rotated since: what was written to the old file between our read and the rename comes first.
        data = os.read(self._fd, _BATCH)
        if data:
            return data
        self._follow()
        return self._next()

    def _moved(self) -> bool:
        """Whether ``path`` is another file by now, or was emptied (rotation that keeps one file only)."""
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            return True
        return there.st_size < os.lseek(self._fd, 0, os.SEEK_CUR)

    def _follow(self) -> None:
        """Go on with the file that came after ours; files in between, if it rotated several times, first."""
        self._partial = b""
        ours = os.fstat(self._fd)
        newer: list[int] = []
        for fd in reversed(_open_older(self._path)):
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                os.close(fd)
                break
            newer.insert(0, fd)
        else:
            # Ours is not among them any more: it was deleted, and of the others we don't know which we have seen.
            while len(newer) > 1:
                os.close(newer.pop(0))
        os.close(self._fd)
        self._fd = -1
        self._older = newer
        self._open()

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._fd = -1

    def _open_tail(self, count: int) -> None:
        """Position so that the last ``count`` entries come, from as many files as they lie in."""
        self._open()
        if self._fd < 0:
            return
        missing = _seek_last(self._fd, count)
        older = _open_older(self._path) if missing else []
        while older and missing:
            fd = older.pop()
            missing = _seek_last(fd, missing)
            self._older.insert(0, fd)
        for fd in older:
            os.close(fd)


def parse(line: bytes) -> Entry | None:
    """One line of the file; None for what is no entry (torn by a crash: Docker skips that, too)."""
    try:
        value = json.loads(line)
        return Entry(value["log"], value["stream"], value["time"])
    except (ValueError, KeyError, TypeError):
        return None


def rotated(path: str) -> list[str]:
    """The rotated files that exist, oldest first."""
    names = []
    number = 1
    while os.path.exists(f"{path}.{number}"):
        names.append(f"{path}.{number}")
        number += 1
    return names[::-1]


def _open_older(path: str) -> list[int]:
    fds = []
    for name in rotated(path):
        try:
            fds.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except FileNotFoundError:
            continue
    return fds


def _seek_last(fd: int, count: int) -> int:
    """Move to the beginning of the last ``count`` lines; how many are missing for that."""
    end = os.lseek(fd, 0, os.SEEK_END)
    if count == 0:
        return 0
    position = end
    found = 0
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        block = os.pread(fd, size, position)
        stop = len(block)
        if position + size == end and block.endswith(b"\n"):
            stop -= 1  # the end of the last line begins no other
        while (stop := block.rfind(b"\n", 0, stop)) >= 0:
            found += 1
            if found == count:
                os.lseek(fd, position + stop + 1, os.SEEK_SET)
                return 0
    os.lseek(fd, 0, os.SEEK_SET)
    return count - found - 1 if end else count
