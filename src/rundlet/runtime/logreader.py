"""Reading json-file logs: from the start or the last lines, through rotations, and on as they grow.

A reader is polled: :meth:`LogReader.read` gives what has come since the last call, an empty list when nothing has.
One that follows has a shared lock on the newest file that it knows. The writer waits a moment before it drops a file
that is locked: its reader has not seen yet what came after it. See :class:`rundlet.runtime.logfile.LogWriter`.
"""

import fcntl
import os
import threading
from typing import Final

import msgspec

from rundlet.runtime import logcompress

_BLOCK: Final = 65536
_BATCH: Final = 1 << 20  # bytes of one read()
_TRIES: Final = 100
_GAP: Final = 2  # names in a row that aren't there: no more files
_HELD: Final = 64 << 20  # bytes of files that only a slow reader still holds
_MANY: Final = 256


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
    """The entries of ``path`` and of its rotated predecessors, oldest first; the last ``tail`` only, if given.

    A reader holds files open, not names: what was rotated, or removed, after it was seen is read all the same. It looks
    for new files with every :meth:`read` and :meth:`look`, which may be called from several threads, and holds at most
    about twice what the rotation keeps, or 64 MB: one that nobody reads must not fill the disk. Behind by more than
    that, it goes on with the oldest file that is left.
    """

    def __init__(
        self,
        path: str,
        tail: int | None = None,
        end: int | None = None,
        *,
        follow: bool = False,
        still: bool = False,
    ) -> None:
        """A log that is not there yet is an empty one. ``end`` is where to stop in the file being written, in bytes;
        None: nowhere, or with ``still`` where it ends now: a writer may be faster than we for ever. ``follow``: the
        writer is to wait for us, within bounds. Raises: OSError.
        """
        self._path = path
        self._end = end
        self._partial = b""
        self._guard = threading.Lock()
        self._follow = follow
        self._locked = -1
        self._files = _newer(path, None)
        self._kept = len(self._files)
        if still and end is None:
            self._end = _last_end(self._files[-1]) if self._files else 0
        if tail is not None and tail >= 0:
            self._skip_to(tail)

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
        return self._files[-1] if self._files else -1

    def look(self) -> None:
        """Take hold of new files now, before they are gone; what is in them comes with :meth:`read`."""
        with self._guard:
            self._look()

    def close(self) -> None:
        with self._guard:
            for fd in self._files:
                os.close(fd)
            self._files = []

    def _next(self) -> bytes:
        self.look()
        while self._files:
            last = len(self._files) == 1
            if not last and os.lseek(self._files[0], 0, os.SEEK_CUR) == 0:
                self._files[0] = logcompress.plain(self._files[0])
            data = os.read(self._files[0], self._most() if last else _BATCH)
            if data or last:
                return data
            # What a writer left unfinished in a file that it has done with is no entry.
            self._partial = b""
            with self._guard:
                os.close(self._files.pop(0))
        return b""

    def _most(self) -> int:
        if self._end is None:
            return _BATCH
        return min(_BATCH, max(0, self._end - os.lseek(self._files[-1], 0, os.SEEK_CUR)))

    def _look(self) -> None:
        """Take hold of the files that came after those we have."""
        if not self._files:
            self._files = _newer(self._path, None)
            self._kept = len(self._files)
        if self._end is not None or not self._files:
            return
        if self._holds_enough():
            self._lock(-1)
            return
        self._lock(self._files[-1])
        ours = os.fstat(self._files[-1])
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            newer = _newer(self._path, self._files[-1])
            self._kept = max(self._kept, len(newer))
            self._files += newer
            self._lock(self._files[-1])
        elif there.st_size < os.lseek(self._files[-1], 0, os.SEEK_CUR):
            os.lseek(self._files[-1], 0, os.SEEK_SET)  # a rotation that keeps one file only empties it
            self._partial = b""

    def _holds_enough(self) -> bool:
        if len(self._files) <= 2 * self._kept:
            return False
        return len(self._files) > _MANY or sum(os.fstat(fd).st_size for fd in self._files) > _HELD

    def _lock(self, newest: int) -> None:
        """The one that the writer has to wait for, -1: none any more. Files that were read and closed have no lock."""
        if not self._follow or newest == self._locked:
            return
        if newest >= 0 and not _share(newest):
            return
        if self._locked in self._files:
            fcntl.flock(self._locked, fcntl.LOCK_UN)
        self._locked = newest

    def _skip_to(self, count: int) -> None:
        """Position so that the last ``count`` entries come, from as many files as they lie in."""
        missing = count
        wanted = len(self._files)
        while wanted and (missing or wanted == len(self._files)):
            wanted -= 1
            end = self._end
            if wanted < len(self._files) - 1:
                self._files[wanted] = logcompress.plain(self._files[wanted])
                end = None
            missing = _seek_last(self._files[wanted], missing, end)
        for fd in self._files[:wanted]:
            os.close(fd)
        self._files = self._files[wanted:]


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


def _newer(path: str, known: int | None) -> list[int]:
    """Descriptors of the files that came after the open file ``known``, or of all; oldest first.

    Files get the next number, or are compressed, while we look. From the newest to the oldest none is missed, and some
    may be met twice; only where several rotations happen between two steps can one be met out of its turn: look again.
    Where they never stop for long enough, the newest is what is left.
    """
    for tries in range(_TRIES, 0, -1):
        found = _scan(path, known)
        if not found or _same(path, found[0]):
            return found[::-1]
        for fd in found[1 if tries == 1 else 0 :]:
            os.close(fd)
    return found[:1]


def _scan(path: str, known: int | None) -> list[int]:
    """The newest first."""
    seen = _Seen()
    if known is not None:
        seen.add(known)
    found: list[int] = []
    number = missing = 0
    while missing < _GAP:
        fd = _open(path if number == 0 else f"{path}.{number}")
        number += 1
        if fd < 0:
            missing += 1  # a file on its way to the next number leaves a gap for a moment
            continue
        missing = 0
        same = seen.find(fd)
        if same < 0:
            seen.add(fd)
            found.append(fd)
            continue
        os.close(fd)
        if same == known:
            break
    return found


class _Seen:
    """Open files, to know one again: also when it was compressed in between."""

    def __init__(self) -> None:
        self._fds: dict[tuple[int, int], int] = {}
        self._compressed: set[int] = set()

    def add(self, fd: int) -> None:
        status = os.fstat(fd)
        self._fds[status.st_dev, status.st_ino] = fd

    def find(self, fd: int) -> int:
        """The one that ``fd`` is; -1: none."""
        status = os.fstat(fd)
        same = self._fds.get((status.st_dev, status.st_ino), -1)
        if same >= 0:
            return same
        original = self._fds.get(logcompress.identity(fd), -1)
        # Older files may have had the same inode, before it; a file that is still there wasn't compressed.
        if original < 0 or original in self._compressed or os.fstat(original).st_nlink:
            return -1
        self._compressed.add(original)
        return original


def _open(name: str) -> int:
    for suffix in ("", logcompress.SUFFIX):
        try:
            return os.open(name + suffix, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
    return -1


def _share(fd: int) -> bool:
    """Whether it could be locked: a writer that looks at the lock just now has it for itself."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same(path: str, fd: int) -> bool:
    ours = os.fstat(fd)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _last_end(fd: int) -> int:
    """Where the last whole line ends now; the next may be half written."""
    position = os.fstat(fd).st_size
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        newline = os.pread(fd, size, position).rfind(b"\n")
        if newline >= 0:
            return position + newline + 1
    return 0


def _seek_last(fd: int, count: int, end: int | None) -> int:
    """Move to the beginning of the last ``count`` lines before ``end`` (None: of the file); how many are missing."""
    end = os.lseek(fd, 0, os.SEEK_END) if end is None else os.lseek(fd, end, os.SEEK_SET)
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
