"""Bind propagation: what ``rshared`` and ``rslave`` ask of the source's own mount."""

import os
from collections.abc import Iterable

from rundlet.container.record import MountPoint
from rundlet.errors import InvalidParameterError

_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


class PropagationError(InvalidParameterError):
    reason = "not-shared"

    def __init__(self, source: str, place: str, wanted: str) -> None:
        super().__init__(f"path {source} is mounted on {place} but it is not a {wanted} mount")


def check(points: Iterable[MountPoint], root: str) -> None:
    """Before a start: mounts that nobody shares would make the option mean nothing. Raises PropagationError.

    What holds the engine's directory ``root`` gets ``rslave`` unasked, which is right on such mounts, too.
    """
    binds = [point for point in points if point.kind == "bind" and point.propagation in _SHARED | _SLAVE]
    wanted = [point for point in binds if point.propagation in _SHARED or not is_beside(point.source, root)]
    if not wanted:
        return
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        check_in(wanted, lines)


def check_in(points: Iterable[MountPoint], mountinfo: Iterable[str]) -> None:
    """The same by the lines of a mountinfo."""
    found: dict[str, list[str]] = {}
    for line in mountinfo:
        fields = line.partition(" - ")[0].split(" ")
        found[fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]] = fields[6:]
    for point in points:
        source = os.path.realpath(point.source)
        place = max((place for place in found if _inside(source, place)), key=len, default="/")
        tags = found.get(place, ())
        shared = any(tag.startswith("shared:") for tag in tags)
        if point.propagation in _SHARED and not shared:
            raise PropagationError(source, place, "shared")
        if point.propagation in _SLAVE and not shared and not any(tag.startswith("master:") for tag in tags):
            raise PropagationError(source, place, "shared or slave")


def is_beside(source: str, root: str) -> bool:
    """Whether one of the two is, or is below, the other."""
    return _inside(source, root) or _inside(root, source)


def _inside(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
