"""Control groups that a shim left behind because it was killed itself."""

import logging
import os
from collections.abc import Collection

from rundlet.linux import cgroup
from rundlet.util.ids import ID_LENGTH

_log = logging.getLogger(__name__)


def sweep(instance: str, keep: Collection[str]) -> None:
    """Clear the groups of this engine's containers but those in ``keep``."""
    parent = f"/rundlet-{instance}"
    places = cgroup.Cgroup(parent, cgroup.detect()).directories
    found = {name for place in places if os.path.isdir(place) for name in os.listdir(place)}
    for name in found:
        if len(name) == ID_LENGTH and name not in keep:
            clear(cgroup.Cgroup(f"{parent}/{name}", cgroup.detect()))


def clear(group: cgroup.Cgroup, *, managed: bool = False) -> None:
    """Remove a group. What is still in it has survived its shim (PDEATHSIG can be cleared), and is ended.

    One that is ``managed`` systemd removes.
    """
    try:
        group.kill()
        group.remove(managed=managed)
    except OSError as error:
        _log.warning("cgroup %s: %s", group.path, error)
