"""The life cycle as an explicit transition table.

created → running ⇄ paused → exited → removing; ``restarting`` stands between two runs of one container, ``dead`` is a
container whose removal failed half-way. A transition that the table does not have is a bug, never a user's mistake:
services check the state first and raise the error a Docker user knows.
"""

import enum


class Status(enum.StrEnum):
    """As Docker spells them in ``State.Status``."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.RESTARTING, Status.EXITED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.EXITED: frozenset({Status.RUNNING, Status.REMOVING}),
    Status.REMOVING: frozenset({Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}


class TransitionError(Exception):
    """A step that the table does not allow."""

    def __init__(self, before: Status, after: Status) -> None:
        super().__init__(f"{before.value} → {after.value} is no transition")


def check(before: Status, after: Status) -> None:
    """Raise :class:`TransitionError` unless the table has the step; staying in a state is always allowed."""
    if before is not after and after not in TRANSITIONS[before]:
        raise TransitionError(before, after)


def is_running(status: Status) -> bool:
    """Docker's ``State.Running``: a paused or restarting container has it too."""
    return status in (Status.RUNNING, Status.PAUSED, Status.RESTARTING)
