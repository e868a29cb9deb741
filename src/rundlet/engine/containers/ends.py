"""How a container ended."""

import msgspec

from rundlet.container.record import Record, State
from rundlet.container.state import Status
from rundlet.runtime.state import ExitRecord


def state_after(record: Record, found: ExitRecord | None, now_ns: int, *, unseen: int) -> State:
    """The state of a container that has ended, by its exit record, or with the status ``unseen`` if nobody wrote one.

    The exit record is this run's: each start begins with an empty one. That it should have ended before it began says
    only that the clock was set back.
    """
    ended = msgspec.structs.replace(record.state, status=Status.EXITED, pid=0, shim_pid=0)
    if found is None:
        return msgspec.structs.replace(ended, exit_code=unseen, finished_ns=now_ns)
    return msgspec.structs.replace(
        ended,
        exit_code=found.code,
        oom_killed=found.oom,
        error=found.error or "",
        finished_ns=found.finished_ns,
    )


def event_attributes(state: State) -> dict[str, str]:
    """What the event ``die`` says of a run: its status, and how many whole seconds it lasted."""
    lasted = max(0, state.finished_ns - state.started_ns) // 1_000_000_000
    return {"exitCode": str(state.exit_code), "execDuration": str(lasted)}
