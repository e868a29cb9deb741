"""Where the engine's processes lie in the cgroup hierarchies: not in those of whoever happened to start them.

A service manager ends a login session, a CI step or a unit by killing what is in its cgroup. What is to outlive it
moves to the hierarchies' roots: there are no limits of others there, nothing stays behind to be removed, and on cgroup
v2 the root alone may have members beside children that use controllers.

Standard library and ``linux`` only: the launcher calls it, too.
"""

from collections.abc import Mapping

from rundlet.linux import cgroup
from rundlet.linux.cgroup import Layout

LEAF = "engine"
"""Below a group that was given to an ordinary user: where the engine's own processes are."""


def leave(layout: Layout | None = None) -> list[str]:
    """Move the calling process, all its threads, to the root of each hierarchy; returns where that failed.

    It fails without the rights, and in a container whose own cgroup, which looks like a root, hands controllers down;
    the process stays where it is then.
    """
    found = cgroup.detect() if layout is None else layout
    if found.base:
        place = f"{found.unified}/{LEAF}"
        return [] if _join(place) else [place]
    mountpoints = [hierarchy.mountpoint for hierarchy in found.hierarchies]
    if found.unified is not None:
        mountpoints.append(found.unified)
    return [mountpoint for mountpoint in mountpoints if not _join(mountpoint)]


def is_service(environment: Mapping[str, str], pid: int) -> bool:
    """Whether a service manager runs this process as a unit's main process, and so will start it again.

    ``$SYSTEMD_EXEC_PID`` says so from systemd 248; before, the variables of activation and of notification do.
    """
    marks = (environment.get("SYSTEMD_EXEC_PID"), environment.get("LISTEN_PID"))
    return str(pid) in marks or bool(environment.get("NOTIFY_SOCKET"))


def _join(mountpoint: str) -> bool:
    try:
        with open(f"{mountpoint}/cgroup.procs", "wb", buffering=0) as file:
            file.write(b"0")
    except OSError:
        return False
    return True
