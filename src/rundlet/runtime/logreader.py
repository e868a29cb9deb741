"""Reading json-file logs: the last lines, a span of time, and what is still being written. Engine side.

Rotated files are ``path.N`` (the oldest has the highest N) … ``path.1``, ``path``. A reader that follows notices a
rotation by the inode and goes on with the new file after the end of the old one.
"""

import os
from collections.abc import Iterator

import msgspec

CHUNK = 1 << 16


class Entry(msgspec.Struct, frozen=True):
    """One piece of output. ``time`` is RFC 3339 with nanoseconds; ``log`` ends with a newline unless it was cut."""

    log: str = ""
    stream: str = "stdout"
    time: str = ""


_decoder = msgspec.json.Decoder(Entry)


def decode(line: bytes) -> Entry | None:
    """None for a line that is no entry (a full disk can cut one)."""
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


def files(path: str) -> list[str]:
    """The log's files that exist, oldest first."""
    found = [path] if os.path.exists(path) else []
    number = 1
    while os.path.exists(f"{path}.{number}"):
        found.insert(0, f"{path}.{number}")
        number += 1
    return found


class LogReader:
    """Reads a log from a chosen point on; :meth:`read` can be called again for what was written since."""

    def __init__(self, path: str, tail: int | None = None) -> None:
        """``tail`` is how many of the last lines to begin with; None: all, 0: none. A log may not exist yet."""
        self._path = path
        self._fd = -1
        self._rest = b""
        self._queue = files(path)
        self._offset = 0
        if tail is not None:
            self._queue, self._offset = _tail(self._queue, tail)

    def read(self, limit: int = CHUNK) -> list[Entry]:
        """The next entries, at most about ``limit`` bytes of them; empty when there are no more at the moment."""
        while True:
            if self._fd < 0 and not self._open_next():
                return []
            data = os.read(self._fd, limit)
            if data:
                entries = self._entries(data)
                if entries:
                    return entries
                continue
            if not self._queue and not self._rotated():
                return []
            self._close()

    def __iter__(self) -> Iterator[Entry]:
        """Everything that is there now."""
        while entries := self.read():
            yield from entries

    def close(self) -> None:
        self._close()
        self._queue = []

    def _entries(self, data: bytes) -> list[Entry]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [entry for line in lines if (entry := decode(line)) is not None]

    def _open_next(self) -> bool:
        path = self._queue.pop(0) if self._queue else self._path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        if self._offset:
            os.lseek(self._fd, self._offset, os.SEEK_SET)
            self._offset = 0
        return True

    def _rotated(self) -> bool:
        """Whether the file that we are at the end of is no longer the one being written."""
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._fd)
        if (current.st_dev, current.st_ino) == (ours.st_dev, ours.st_ino):
            return False
        # Several rotations may have passed: go on with the oldest file that is younger than ours.
        paths = files(self._path)
        for position, path in enumerate(paths):
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                self._queue = paths[position + 1 :]
                return True
        self._queue = paths
        return True

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._rest = b""


def _tail(paths: list[str], count: int) -> tuple[list[str], int]:
    """The files to read, and where in the first of them, for the last ``count`` lines."""
    if not paths:
        return [], 0
    if count <= 0:
        return paths[-1:], os.path.getsize(paths[-1])
    for position in range(len(paths) - 1, -1, -1):
        offset, found = _last_lines(paths[position], count)
        if found >= count or position == 0:
            return paths[position:], offset
        count -= found
    return paths, 0


def _last_lines(path: str, count: int) -> tuple[int, int]:
    """(offset, lines): where the last ``count`` lines of a file begin, and how many there are from there."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        end = os.fstat(fd).st_size
        found = 0
        position = end
        while position > 0:
            size = min(CHUNK, position)
            position -= size
            data = os.pread(fd, size, position)
            at = len(data)
            if position + size == end and data.endswith(b"\n"):
                at -= 1
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                found += 1
                if found == count:
                    return position + at + 1, found
        return 0, found + (1 if end else 0)
    finally:
        os.close(fd)
