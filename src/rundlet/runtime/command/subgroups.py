"""``exec --cgroup``: a cgroup below the container's own, for all controllers or for some.

``PATH`` is for all, ``CONTROLLER[,CONTROLLER…]:PATH`` (cgroup v1) for some; the others join the container's own.
"""

import os
from collections.abc import Sequence

from rundlet.linux.cgroup import Cgroup
from rundlet.runtime.command.errors import CommandError


def join(group: Cgroup, wanted: Sequence[str]) -> tuple[tuple[int, ...], int]:
    """Files of v1 that "0" is written to, and the v2 directory to be born in (-1: none). Raises: CommandError."""
    places = _places(group, wanted)
    opened: list[int] = []
    try:
        for controllers, mountpoint in group.layout.hierarchies:
            below = next((places[name] for name in controllers if name in places), places.get("", ""))
            opened.append(os.open(f"{mountpoint}{group.path}/{below}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        birth = -1
        if group.unified is not None:
            below = places.get("", "")
            # Beside v1's hierarchies nobody makes cgroups there: the container's own will do.
            if group.layout.hierarchies and not os.path.isdir(f"{group.unified}/{below}"):
                below = ""
            birth = os.open(f"{group.unified}/{below}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        for fd in opened:
            os.close(fd)
        reason = (exc.strerror or str(exc)).lower()
        raise CommandError(f"exec failed: error adding pid to cgroups: open {exc.filename}: {reason}") from exc
    return tuple(opened), birth


def _places(group: Cgroup, wanted: Sequence[str]) -> dict[str, str]:
    """By controller, "" for all others. Raises: CommandError."""
    known = {name for controllers, _ in group.layout.hierarchies for name in controllers}
    places: dict[str, str] = {}
    for word in wanted:
        names, separator, path = word.rpartition(":")
        inside = os.path.normpath(path.lstrip("/")) if path.strip("/") else ""
        if inside.split("/")[0] == "..":
            raise CommandError(f"bad sub cgroup path: {path} is not a sub cgroup path")
        for name in names.split(",") if separator else [""]:
            if name and name not in known:
                raise CommandError(f"unknown controller {name} in --cgroup {word}")
            places[name] = inside
    return places
