"""What an image has where volumes are to be mounted, and where the program is to begin: refused where that can't be.

As Docker, whose ``create`` mounts the image, makes the working directory and copies what volumes are to begin with.
What it doesn't look at then (``nocopy``, a volume that has something, binds, tmpfs) is refused at the start, as there.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from rundlet.container.record import MountPoint
from rundlet.errors import InternalError
from rundlet.storage.snapshot import lookup
from rundlet.storage.snapshot.snapshotter import Rootfs

_SHOWN: Final = 255


class MountTargetError(InternalError):
    """The words are Docker's, who gives them no other status."""

    reason = "mount-target"


def check(rootfs: Rootfs, points: Sequence[MountPoint], anonymous: Mapping[str, object], working: str) -> None:
    """``anonymous``: the destinations that were given without a volume's name. Raises: MountTargetError."""
    layers = [rootfs.tree] if rootfs.tree else rootfs.lower
    if working:
        _check_working_directory(layers, rootfs.merged, working)
    alone = {os.path.normpath(path) for path in anonymous}
    for point in points:
        if point.kind != "volume" or point.no_copy or point.subpath:
            continue
        found = _look(layers, rootfs.merged, point.destination)
        place = f"{rootfs.merged}{point.destination}"
        if found == lookup.BLOCKED:
            raise MountTargetError(f"lstat {place}: not a directory")
        if found == lookup.OTHER and point.destination in alone:
            raise MountTargetError(f"cannot mount volume over existing file, file exists {place}")
        if found == lookup.OTHER and _is_empty(point.source):
            raise MountTargetError(f"source {place} is not directory")


def to_fill(rootfs: Rootfs, points: Sequence[MountPoint]) -> list[MountPoint]:
    """The empty volumes in whose place the image has a directory."""
    layers = [rootfs.tree] if rootfs.tree else rootfs.lower
    return [
        point
        for point in points
        if not (point.no_copy or point.subpath)
        and _is_empty(point.source)
        and _look(layers, rootfs.merged, point.destination) == lookup.DIRECTORY
    ]


def _check_working_directory(layers: Sequence[str], merged: str, working: str) -> None:
    found = _look(layers, merged, working)
    if found == lookup.OTHER:
        raise MountTargetError(f"Cannot mkdir: {working} is not a directory")
    if found == lookup.BLOCKED:
        raise MountTargetError(f"mkdir {merged}{working}: not a directory")


def _is_empty(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except OSError:
        return False  # not on this machine's disks


def _look(layers: Sequence[str], merged: str, path: str) -> str:
    try:
        return lookup.look(layers, path)
    except OSError as exc:
        shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"  # it may be megabytes
        raise MountTargetError(f"lstat {merged}{shown}: {(exc.strerror or '').lower()}") from exc
