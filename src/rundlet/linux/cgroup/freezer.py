"""Stop and go: v1's freezer controller, or v2's cgroup.freeze."""

import errno

from rundlet.linux import libc
from rundlet.linux.cgroup.files import wait_until, write
from rundlet.linux.cgroup.places import Places
from rundlet.linux.cgroup.stats import read_text


def freeze(places: Places, timeout: float) -> None:
    """Stop all processes; returns when they have stopped.

    Raises: OSError(ETIMEDOUT), thawed again, when that takes longer than ``timeout`` seconds; FileNotFoundError without
    a freezer.
    """
    file, on, off = _switch(places)

    def stopped() -> bool:
        # Writing again makes v1 go round once more, for tasks that were forked meanwhile; v2 doesn't mind.
        write(file, on)
        return frozen(places)

    if not wait_until(stopped, timeout):
        write(file, off)
        raise libc.error(errno.ETIMEDOUT, file)


def thaw(places: Places) -> None:
    """Let them go on. Raises: OSError; no error if they were not frozen."""
    file, _, off = _switch(places)
    write(file, off)


def frozen(places: Places) -> bool:
    """Whether all processes have stopped."""
    directory = places.layout.mountpoint("freezer")
    if directory is not None:
        return read_text(f"{directory}{places.path}/freezer.state").strip() == "FROZEN"
    return "frozen 1" in read_text(f"{places.unified}/cgroup.events").splitlines()


def _switch(places: Places) -> tuple[str, str, str]:
    directory = places.layout.mountpoint("freezer")
    if directory is not None:
        return f"{directory}{places.path}/freezer.state", "FROZEN", "THAWED"
    if places.unified is not None:
        return f"{places.unified}/cgroup.freeze", "1", "0"
    raise libc.error(errno.ENOENT, "freezer")
