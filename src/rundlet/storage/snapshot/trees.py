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

from rundlet.linux import path, userns
from rundlet.storage.layer.whiteout import is_whiteout, make_whiteout
from rundlet.storage.tree import remove_tree

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH: Final = path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS
_FICLONE: Final = 0x4004_9409
_CHUNK: Final = 1 << 30
_PIECE: Final = 1 << 18
_MARKS: Final = ("trusted.overlay.", "user.overlay.")


class _Level:
    """A directory on the way down: its side in the source and in the target, and what is still to be done."""

    __slots__ = ("name", "names", "prefix", "source", "target")

    def __init__(self, source: int, target: int, prefix: str, name: str) -> None:
        self.source = source
        self.target = target
        self.prefix = prefix
        self.name = name
        self.names = os.listdir(source)


def merge(layer: str, tree: str) -> None:
    """Put the directory ``layer`` onto the directory ``tree``, as overlayfs would show it. Raises: OSError."""
    _Merge(tree).run(layer)


class _Merge:
    def __init__(self, tree: str) -> None:
        self._root = os.open(tree, _DIRECTORY)
        self._links: dict[tuple[int, int], str] = {}

    def run(self, layer: str) -> None:
        levels = [_Level(os.open(layer, _DIRECTORY), os.dup(self._root), "", "")]
        try:
            while levels:
                level = levels[-1]
                if level.names:
                    inner = self._member(level, level.names.pop())
                    if inner is not None:
                        levels.append(inner)
                    continue
                # Last: making what is in it changed its time, and its mode may forbid that.
                _copy_attributes(level.source, level.target)
                levels.pop()
                os.close(level.source)
                os.close(level.target)
        finally:
            for level in levels:
                os.close(level.source)
                os.close(level.target)
            os.close(self._root)

    def _member(self, level: _Level, name: str) -> _Level | None:
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

    def _directory(self, level: _Level, name: str, there: os.stat_result | None) -> _Level:
        source = os.open(name, _DIRECTORY, dir_fd=level.source)
        if there is not None and (not stat.S_ISDIR(there.st_mode) or _opaque(source)):
            remove_tree(level.target, os.fsencode(name))
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=level.target)
        return _Level(source, os.open(name, _DIRECTORY, dir_fd=level.target), f"{level.prefix}{name}/", name)

    def _linked(self, level: _Level, name: str, status: os.stat_result) -> bool:
        """Whether it is another name of what has been made already, and was made as such."""
        whole = f"{level.prefix}{name}"
        first = self._links.setdefault((status.st_dev, status.st_ino), whole)
        if first == whole:
            return False
        directory, _, base = first.rpartition("/")
        parent = path.openat2(self._root, directory or ".", os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
        try:
            os.link(base, name, src_dir_fd=parent, dst_dir_fd=level.target, follow_symlinks=False)
        finally:
            os.close(parent)
        return True


def copy_member(source: int, target: int, name: str, status: os.stat_result) -> None:
    """Copy what is no directory, with all that belongs to it, from one directory to another. Raises: OSError."""
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, target, name)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        fd = path.openat2(target, name, os.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
        try:
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str) -> None:
    inside = os.open(name, _READ, dir_fd=source)
    try:
        outside = os.open(name, _MAKE, 0o600, dir_fd=target)
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
    sides = [_Side(os.open(tree, _DIRECTORY), os.open(below, _DIRECTORY), "", os.open(changes, _DIRECTORY))]
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
                os.open(name, _DIRECTORY, dir_fd=side.tree),
                os.open(name, _DIRECTORY, dir_fd=side.below) if both else -1,
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
            opened.append(os.open(name, _READ, dir_fd=directory))
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
            inner.out = os.open(inner.new, _DIRECTORY, dir_fd=outer.out)
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
