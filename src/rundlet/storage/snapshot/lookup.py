"""What a path is in an image whose layers nobody has mounted."""

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final

from rundlet.linux import userns
from rundlet.storage.layer.whiteout import is_whiteout

_MOST_LINKS: Final = 40  # as the kernel
_LONGEST: Final = 4095  # bytes, as the kernel

NOTHING: Final = "nothing"
DIRECTORY: Final = "directory"
OTHER: Final = "other"
BLOCKED: Final = "blocked"
"""A name on the way to it is no directory."""


def look(layers: Sequence[str], path: str) -> str:
    """One of the words above. ``layers``: directories, topmost first; links are followed, never out of the image.

    Raises: OSError, ELOOP and ENAMETOOLONG as the kernel.
    """
    if len(os.fsencode(path)) > _LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    links = 0
    todo = [name for name in reversed(path.split("/")) if name]
    trail: list[list[str]] = [list(layers)]
    while todo:
        name = todo.pop()
        if name == ".":
            continue
        if name == "..":
            del trail[max(1, len(trail) - 1) :]
            continue
        below, entry = _step(trail[-1], name)
        if entry is None and not below:
            return NOTHING
        if entry is None:
            trail.append(below)
        elif not os.path.islink(entry):
            return BLOCKED if todo else OTHER
        else:
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(entry)
            if target.startswith("/"):
                del trail[1:]
            todo += [part for part in reversed(target.split("/")) if part]
    return DIRECTORY


def _step(directories: Sequence[str], name: str) -> tuple[list[str], str | None]:
    """The directories that ``name`` is made of, or what else it is."""
    below: list[str] = []
    for directory in directories:
        entry = f"{directory}/{name}"
        try:
            found = os.lstat(entry)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(found):
            break
        if not stat.S_ISDIR(found.st_mode):
            return below, None if below else entry
        below.append(entry)
        if _hides_what_is_below(entry):
            break
    return below, None


def _hides_what_is_below(directory: str) -> bool:
    try:
        return os.getxattr(directory, userns.OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False
