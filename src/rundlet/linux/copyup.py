"""A volume's first use: what the image has where an empty volume is mounted is copied into it, as Docker does.

The volume may be in use by another container, whose processes see it too: everything is done by directory descriptors,
a link is never followed, and what is in the way stays. Standard library and ``linux`` only.
"""

import os
import stat
from typing import Final

from rundlet.linux import path, twotrees
from rundlet.linux.twotrees import DIRECTORY, MAKE, READ, Level

_CHUNK: Final = 1 << 30


def fill(rootfs: int, destination: str, volume: int) -> bool:
    """Give the directory ``volume``, if it is empty, the content and attributes of ``destination`` in ``rootfs``.

    Whether it was done: a volume with content, and an image without that directory, are left alone. What is copied when
    it fails half-way is removed again, or the next start would take it for the whole. Raises: OSError.
    """
    if not stat.S_ISDIR(os.fstat(volume).st_mode):
        return False  # a file in the volume
    target = os.open(".", DIRECTORY, dir_fd=volume)
    try:
        if os.listdir(target):
            return False
        try:
            source = path.open_in_root(rootfs, destination, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            _Copy(target).run(source)
        except BaseException:
            _clear(target)
            raise
        finally:
            os.close(source)
        return True
    finally:
        os.close(target)


class _Copy:
    """One copy into the directory ``root``."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._links: dict[tuple[int, int], str] = {}

    def run(self, source: int) -> None:
        twotrees.walk(Level(os.dup(source), os.dup(self._root), ""), self._member, _attributes)

    def _member(self, level: Level, name: str) -> Level | None:
        status = os.lstat(name, dir_fd=level.source)
        whole = f"{level.prefix}{name}"
        try:
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(name, 0o700, dir_fd=level.target)
                return level.enter(name)
            if status.st_nlink > 1:
                first = self._links.setdefault((status.st_dev, status.st_ino), whole)
                if first != whole:
                    twotrees.link(self._root, first, level.target, name)
                    return None
            if stat.S_ISREG(status.st_mode):
                self._file(level, name)
            else:
                twotrees.copy_special(level.source, level.target, name, status)
        except FileExistsError:
            pass  # another container that has the volume was faster
        return None

    def _file(self, level: Level, name: str) -> None:
        source = os.open(name, READ, dir_fd=level.source)
        try:
            target = os.open(name, MAKE, 0o600, dir_fd=level.target)
            try:
                while os.sendfile(target, source, None, _CHUNK):
                    pass
                _attributes(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _attributes(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue  # an attribute that the volume's file system does not take
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _clear(top: int) -> None:
    """Remove all that is in the directory, as far as that goes."""
    levels = [(os.dup(top), os.listdir(top))]
    emptied = ""
    while levels:
        fd, names = levels[-1]
        if not names:
            os.close(levels.pop()[0])
            emptied = levels[-1][1][-1] if levels else ""
            continue
        name = names[-1]
        inner = -1
        if not _removed(fd, name) and name != emptied:
            try:
                inner = os.open(name, DIRECTORY, dir_fd=fd)
            except OSError:
                pass
        if inner >= 0:
            levels.append((inner, os.listdir(inner)))
        else:
            names.pop()
        emptied = ""


def _removed(parent: int, name: str) -> bool:
    for remove in (os.unlink, os.rmdir):
        try:
            remove(name, dir_fd=parent)
            return True
        except OSError:
            continue
    return False
