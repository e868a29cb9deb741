"""What a container changed, as a list: read off its upper directory, compared with the layers below only where needed.

The cost grows with the change: of the image only the directories that the container has touched are looked at. Names
are walked by directory descriptors and no link is followed. Standard library only: it runs in a worker.

Rules, Docker's for overlay2: what is new is *added*, with all that is in it; what was there is *modified*; what is
hidden is *deleted*, without what was in it. A directory that is only there because something below it changed is
modified when an entry was added or deleted directly in it, or when its own attributes differ.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from rundlet.storage.layer.diff import is_opaque
from rundlet.storage.layer.members import DIRECTORY_FLAGS
from rundlet.storage.layer.tar import PATH_LIMIT
from rundlet.storage.layer.whiteout import is_whiteout

MODIFIED: Final = 0
ADDED: Final = 1
DELETED: Final = 2
_LINKS: Final = 40


class Found(NamedTuple):
    """What a name is in a stack of directories: its status, the directory that has it."""

    status: os.stat_result
    holder: int


def look(stack: Sequence[int], base: bytes) -> Found | None:
    """The topmost ``base``; None when none of ``stack`` has it, or a whiteout hides it."""
    for fd in stack:
        try:
            status = os.lstat(base, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return None if is_whiteout(status) else Found(status, fd)
    return None


def descend(stack: Sequence[int], base: bytes) -> list[int]:
    """Descriptors of the directories ``base`` that are merged into one, topmost first; the caller closes them."""
    found: list[int] = []
    for fd in stack:
        try:
            inner = os.open(base, DIRECTORY_FLAGS, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError:
            break  # a whiteout, or something that hides what is below it
        found.append(inner)
        if is_opaque(inner):
            break
    return found


class _Level:
    """One directory of the upper tree on the way down, with its namesakes below (topmost first)."""

    __slots__ = ("differs", "fd", "hides", "inside", "left_out", "lowers", "name", "new", "pending", "touched", "weak")

    def __init__(self, fd: int, name: bytes, lowers: list[int], *, hides: bool) -> None:
        self.fd = fd
        self.name = name
        self.lowers = lowers
        self.hides = hides
        """Nothing of the namesakes shows through."""
        self.new = False
        self.differs = False
        """Its own attributes are others than they were."""
        self.weak = False
        """Only its time or size are."""
        self.touched = False
        """Something was added or deleted directly in it."""
        self.inside = False
        """Something at all counts in it."""
        self.left_out = False
        """Something in it is the runtime's doing."""
        self.pending = sorted(map(os.fsencode, os.listdir(fd)), reverse=True)

    def close(self) -> None:
        for fd in (self.fd, *self.lowers):
            os.close(fd)


def list_changes(upper: int, lowers: Sequence[int], left_out: Iterable[bytes] = ()) -> Iterator[tuple[int, bytes]]:
    """(kind, absolute path) of every change; a directory comes after what is in it.

    ``left_out``: absolute paths of what the runtime itself puts there (mount points); directories that are new and hold
    nothing else are left out with them. The descriptors stay the caller's. Raises OSError.
    """
    names = [name.strip(b"/") for name in left_out]
    skipped = frozenset(names) | {resolve((upper, *lowers), name) for name in names}
    top = _Level(os.dup(upper), b"", [os.dup(fd) for fd in lowers], hides=is_opaque(upper))
    levels = [top]
    try:
        if top.hides:
            yield from _hidden(top)
        while levels:
            level = levels[-1]
            if level.pending:
                base = level.pending.pop()
                whole = level.name + b"/" + base if level.name else base
                if whole in skipped:
                    level.left_out = True
                elif len(whole) <= PATH_LIMIT:
                    inner = _entry(level, base, whole)
                    if isinstance(inner, _Level):
                        levels.append(inner)
                        if inner.hides and not inner.new:
                            yield from _hidden(inner)
                    elif inner is not None:
                        yield inner, b"/" + whole
                continue
            levels.pop().close()
            if levels and (kind := _judge(level, levels[-1])) is not None:
                yield kind, b"/" + level.name
    finally:
        for level in levels:
            level.close()


def _entry(level: _Level, base: bytes, whole: bytes) -> "_Level | int | None":
    """The kind of change; a directory that has to be gone through; None for what is no change."""
    try:
        status = os.lstat(base, dir_fd=level.fd)
        before = look(level.lowers, base)
        if is_whiteout(status):
            if before is None or level.hides:
                return None
            level.touched = level.inside = True
            return DELETED
        if stat.S_ISDIR(status.st_mode):
            return _directory(level, base, whole, status, before)
    except FileNotFoundError:
        return None  # a running container removed it meanwhile
    level.inside = True
    if before is not None:
        return MODIFIED
    level.touched = True
    return ADDED


def _directory(level: _Level, base: bytes, whole: bytes, status: os.stat_result, before: Found | None) -> _Level:
    fd = os.open(base, DIRECTORY_FLAGS, dir_fd=level.fd)
    was_directory = before is not None and stat.S_ISDIR(before.status.st_mode)
    lowers = descend(level.lowers, base) if was_directory else []
    try:
        inner = _Level(fd, whole, lowers, hides=level.hides or is_opaque(fd))
    except BaseException:
        for descriptor in (fd, *lowers):
            os.close(descriptor)
        raise
    inner.new = before is None
    if before is not None:
        now, then = status, before.status
        inner.differs = (now.st_mode, now.st_uid, now.st_gid) != (then.st_mode, then.st_uid, then.st_gid)
        inner.weak = now.st_mtime_ns != then.st_mtime_ns
    return inner


def _judge(level: _Level, parent: _Level) -> int | None:
    """What a directory that was gone through counts as, and what that means for its parent."""
    if level.new:
        if level.left_out and not level.inside:
            parent.left_out = True
            return None
        parent.touched = parent.inside = True
        return ADDED
    if level.inside:
        parent.inside = True
    if level.touched or level.differs or (level.weak and not level.left_out):
        parent.inside = True
        return MODIFIED
    return None


def _hidden(level: _Level) -> Iterator[tuple[int, bytes]]:
    """What an opaque directory took away."""
    present = set(level.pending)
    seen: set[bytes] = set()
    for fd in level.lowers:
        for base in map(os.fsencode, os.listdir(fd)):
            if base in seen:
                continue
            seen.add(base)
            if base not in present and look(level.lowers, base) is not None:
                level.touched = level.inside = True
                yield DELETED, b"/" + (level.name + b"/" + base if level.name else base)


def resolve(stack: Sequence[int], name: bytes) -> bytes:
    """``name`` (relative) with the links in it followed, as far as it exists in the merged ``stack``."""
    words = name.split(b"/")[::-1]
    found: list[bytes] = []
    links = 0
    while words:
        word = words.pop()
        if word == b"..":
            found = found[:-1]
        elif word not in (b"", b"."):
            target = _link(stack, found, word)
            if target is None:
                found.append(word)
            else:
                links += 1
                if links > _LINKS:
                    return name
                found = [] if target.startswith(b"/") else found
                words += target.split(b"/")[::-1]
    return b"/".join(found)


def _link(stack: Sequence[int], directory: Sequence[bytes], base: bytes) -> bytes | None:
    current = [os.dup(fd) for fd in stack]
    try:
        for word in directory:
            inner = descend(current, word)
            for fd in current:
                os.close(fd)
            current = inner
        entry = look(current, base)
        if entry is None or not stat.S_ISLNK(entry.status.st_mode):
            return None
        return os.readlink(base, dir_fd=entry.holder)
    finally:
        for fd in current:
            os.close(fd)
