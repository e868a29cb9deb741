"""Reading json-file logs: from the start or the last lines, through rotations, and on as they grow.

A reader is polled: :meth:`LogReader.read` gives what has come since the last call, an empty list when nothing has.
"""

import os
from typing import Final

import msgspec

from rundlet.runtime import logcompress

_BLOCK: Final = 65536
_BATCH: Final = 1 << 20  # bytes of one read()
_TRIES: Final = 10


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry: the text as it was written (with its newline, unless it is a piece), the stream, RFC 3339 time.

    ``attributes`` are what the log options asked to be kept with it.
    """

    log: str
    stream: str
    time: str
    attributes: dict[str, str] | None = msgspec.field(name="attrs", default=None)


_decoder: Final = msgspec.json.Decoder(Entry)


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
            self._open_all()
        else:
            self._open_tail(tail)

    def read(self) -> list[Entry]:
        """The next entries (up to about a megabyte of them); none: nothing more for now."""
        while True:
            data = self._next()
            if not data:
                return []
            data = self._partial + data
            end = data.rfind(b"\n") + 1
            self._partial = data[end:]
            entries = parse_all(data[:end])
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
            if os.lseek(self._older[0], 0, os.SEEK_CUR) == 0:
                self._older[0] = logcompress.plain(self._older[0])
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
        last, self._fd = self._fd, -1
        self._open_all()
        seen = _place(self._older, last)
        # Where ours is not among them any more it was the oldest, and all that are there are newer.
        for fd in self._older[: seen + 1]:
            os.close(fd)
        self._older = self._older[seen + 1 :]
        os.close(last)

    def _open_all(self) -> None:
        """The current file, and the ones before it. In this order: a rotation in between leaves no gap."""
        self._open()
        self._older = _open_older(self._path)
        if self._fd >= 0 and self._moved():
            place = _place(self._older, self._fd)
            if place >= 0:
                for fd in self._older[place:]:
                    os.close(fd)
                self._older = self._older[:place]

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._fd = -1

    def _open_tail(self, count: int) -> None:
        """Position so that the last ``count`` entries come, from as many files as they lie in."""
        self._open_all()
        older, self._older = self._older, []
        missing = _seek_last(self._fd, count) if self._fd >= 0 else 0
        while older and missing:
            fd = logcompress.plain(older.pop())
            missing = _seek_last(fd, missing)
            self._older.insert(0, fd)
        for fd in older:
            os.close(fd)


def _place(older: list[int], fd: int) -> int:
    """Where among rotated files the open ``fd`` is, which may have been compressed since; -1: nowhere.

    Of several with its inode the last: earlier ones had that number before it, later ones can't while it is open.
    """
    ours = logcompress.identity(fd)
    return max((place for place, other in enumerate(older) if logcompress.identity(other) == ours), default=-1)


def parse_all(lines: bytes) -> list[Entry]:
    """Whole lines of the file; almost always all of them are entries."""
    try:
        return _decoder.decode_lines(lines)
    except msgspec.MsgspecError:
        return [entry for line in lines.split(b"\n") if (entry := parse(line)) is not None]


def parse(line: bytes) -> Entry | None:
    """One line of the file; None for what is no entry (torn by a crash: Docker skips that, too)."""
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError:
        return None


def rotated(path: str) -> list[str]:
    """The rotated files that exist, oldest first; compressed ones end in ``.gz``."""
    names: list[str] = []
    number = 1
    while True:
        plain = f"{path}.{number}"
        name = next((name for name in (plain, plain + logcompress.SUFFIX) if os.path.exists(name)), None)
        if name is None:
            return names[::-1]
        names.append(name)
        number += 1


def _open_older(path: str) -> list[int]:
    """Oldest first. Files may get their next number, or be compressed, while we look: then look again."""
    fds: list[int] = []
    for _ in range(_TRIES):
        names = rotated(path)
        try:
            for name in names:
                fds.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except FileNotFoundError:
            pass
        if len(fds) == len(names) and rotated(path) == names:
            break
        while fds:
            os.close(fds.pop())
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
