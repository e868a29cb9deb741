"""Whole directory trees instead of mounted layers: what the copying snapshotter needs. Blocks.

:func:`merge` puts a layer (with overlayfs's marks) onto a tree; :func:`distill` goes the other way, and makes of a tree
and what it was made of a directory such as overlayfs would have written. The tree is a container's, which may be
running: everything is done by directory descriptors and no link is ever followed. Contents are shared with the source
where the file system can do that (reflinks), else copied.
"""

import errno
import fcntl
import itertools
import os
import stat
from typing import Final

from rundlet.linux import twotrees, userns
from rundlet.linux.twotrees import DIRECTORY, MAKE, READ, Level
from rundlet.storage.layer.whiteout import is_whiteout, make_whiteout
from rundlet.storage.tree import remove_tree

_FICLONE: Final = 0x4004_9409
_CHUNK: Final = 1 << 30
_PIECE: Final = 1 << 18
_MARKS: Final = ("trusted.overlay.", "user.overlay.")


def merge(layer: str, tree: str) -> None:
    """Put the directory ``layer`` onto the directory ``tree``, as overlayfs would show it. Raises: OSError."""
    _Merge(tree).run(layer)


class _Merge:
    def __init__(self, tree: str) -> None:
        self._root = os.open(tree, DIRECTORY)
        self._links: dict[tuple[int, int], str] = {}

    def run(self, layer: str) -> None:
        try:
            top = Level(os.open(layer, DIRECTORY), os.dup(self._root), "")
            twotrees.walk(top, self._member, _copy_attributes)
        finally:
            os.close(self._root)

    def _member(self, level: Level, name: str) -> Level | None:
        status = os.lstat(name, dir_fd=level.source)
        there = _lstat(level.target, name)
        if stat.S_ISDIR(status.st_mode):
            return self._directory(level, name, there)
        if there is not None:
            remove_tree(level.target, os.fsencode(name))
        if is_whiteout(status):
            return None
        if status.st_nlink > 1 and self._linked(level, name, status):
            return None
        copy_member(level.source, level.target, name, status)
        return None

    def _directory(self, level: Level, name: str, there: os.stat_result | None) -> Level:
        source = os.open(name, DIRECTORY, dir_fd=level.source)
        if there is not None and (not stat.S_ISDIR(there.st_mode) or _opaque(source)):
            remove_tree(level.target, os.fsencode(name))
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=level.target)
        return Level(source, os.open(name, DIRECTORY, dir_fd=level.target), f"{level.prefix}{name}/")

    def _linked(self, level: Level, name: str, status: os.stat_result) -> bool:
        """Whether it is another name of what has been made already, and was made as such."""
        whole = f"{level.prefix}{name}"
        first = self._links.setdefault((status.st_dev, status.st_ino), whole)
        if first == whole:
            return False
        twotrees.link(self._root, first, level.target, name)
        return True


def copy_member(source: int, target: int, name: str, status: os.stat_result) -> None:
    """Copy what is no directory, with all that belongs to it, from one directory to another. Raises: OSError."""
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, target, name)
        return
    twotrees.copy_special(source, target, name, status)


def _copy_file(source: int, target: int, name: str) -> None:
    inside = os.open(name, READ, dir_fd=source)
    try:
        outside = os.open(name, MAKE, 0o600, dir_fd=target)
        try:
            try:
                fcntl.ioctl(outside, _FICLONE, inside)
            except OSError:
                while os.sendfile(outside, inside, None, _CHUNK):
                    pass
            _copy_attributes(inside, outside)
        finally:
            os.close(outside)
    finally:
        os.close(inside)


def _copy_attributes(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(_MARKS):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


class _Side:
    """A directory of the tree: beside it what it was made of, and its place among the changes, both perhaps -1."""

    __slots__ = ("below", "names", "new", "out", "tree")

    def __init__(self, tree: int, below: int, name: str, out: int = -1) -> None:
        self.tree = tree
        self.below = below
        self.out = out
        self.new = name
        self.names = os.listdir(tree)


def distill(below: str, tree: str, changes: str, since_ns: int) -> None:
    """Fill the empty directory ``changes`` with what ``tree`` has more, less or otherwise than ``below``.

    ``since_ns`` is when the tree was whole: what has changed since has a later change time. Files are other names of
    the tree's; what is gone is a whiteout. Raises: OSError.
    """
    sides = [_Side(os.open(tree, DIRECTORY), os.open(below, DIRECTORY), "", os.open(changes, DIRECTORY))]
    try:
        for name in _gone(sides[0]):
            _white_out(sides, name)
        while sides:
            side = sides[-1]
            if side.names:
                _compare(sides, side.names.pop(), since_ns)
                continue
            if side.out >= 0:
                _copy_attributes(side.tree, side.out)
            _close(sides.pop())
    finally:
        for side in sides:
            _close(side)


def _compare(sides: list[_Side], name: str, since_ns: int) -> None:
    side = sides[-1]
    now = _lstat(side.tree, name)
    if now is None:
        return  # gone while we looked: the container runs
    before = _lstat(side.below, name) if side.below >= 0 else None
    if stat.S_ISDIR(now.st_mode):
        both = before is not None and stat.S_ISDIR(before.st_mode)
        try:
            inner = _Side(
                os.open(name, DIRECTORY, dir_fd=side.tree),
                os.open(name, DIRECTORY, dir_fd=side.below) if both else -1,
                name,
            )
        except (FileNotFoundError, NotADirectoryError, OSError) as exc:
            if isinstance(exc, FileNotFoundError | NotADirectoryError) or exc.errno == errno.ELOOP:
                return
            raise
        sides.append(inner)
        if before is None or not both or _owner(before) != _owner(now):
            _place(sides)
        for missing in _gone(inner):
            _white_out(sides, missing)
        return
    alike = before is not None and _facts(before) == _facts(now)
    if alike and (now.st_ctime_ns < since_ns or _same(side, name, now)):
        return
    out = _place(sides)
    try:
        os.link(name, name, src_dir_fd=side.tree, dst_dir_fd=out, follow_symlinks=False)
    except FileNotFoundError:
        pass


def _same(side: _Side, name: str, status: os.stat_result) -> bool:
    """Something happened to it since, and it may yet be the same: one of its other names went, say."""
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(name, dir_fd=side.below) == os.readlink(name, dir_fd=side.tree)
    if not stat.S_ISREG(status.st_mode):
        return True
    opened: list[int] = []
    try:
        for directory in (side.below, side.tree):
            opened.append(os.open(name, READ, dir_fd=directory))
        before, now = opened
        noted = [{key: os.getxattr(fd, key) for key in os.listxattr(fd)} for fd in opened]
        if noted[0] != noted[1]:
            return False
        while data := os.read(now, _PIECE):
            if os.read(before, len(data)) != data:
                return False
        return True
    except OSError:
        return False  # it changes while we look
    finally:
        for fd in opened:
            os.close(fd)


def _gone(side: _Side) -> list[str]:
    return sorted(set(os.listdir(side.below)) - set(side.names)) if side.below >= 0 else []


def _white_out(sides: list[_Side], name: str) -> None:
    make_whiteout(name, _place(sides))


def _place(sides: list[_Side]) -> int:
    """Where the innermost directory's changes go; made, and all above it, when there is the first one."""
    for outer, inner in itertools.pairwise(sides):
        if inner.out < 0:
            os.mkdir(inner.new, 0o700, dir_fd=outer.out)
            inner.out = os.open(inner.new, DIRECTORY, dir_fd=outer.out)
    return sides[-1].out


def _close(side: _Side) -> None:
    for fd in (side.tree, side.below, side.out):
        if fd >= 0:
            os.close(fd)


def _facts(status: os.stat_result) -> tuple[int, ...]:
    return (*_owner(status), status.st_size, status.st_mtime_ns, status.st_rdev)


def _owner(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _lstat(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None


def _opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, userns.OPAQUE_XATTR) == b"y"
    except OSError:
        return False
