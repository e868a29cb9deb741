"""How a container's state is put in words and numbers."""

from rundlet.api.containers import ContainerState, Health
from rundlet.container.record import Record, State
from rundlet.container.state import Status, is_running
from rundlet.util.clock import rfc3339_nano

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def human_duration(seconds: float) -> str:
    """An approximate length of time, as Docker words it: ``About a minute``, ``3 weeks``."""
    whole = int(seconds)
    hours = int(seconds / _HOUR + 0.5)
    steps = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < _MINUTE, f"{whole} seconds"),
        (whole // _MINUTE == 1, "About a minute"),
        (whole < 60 * _MINUTE, f"{whole // _MINUTE} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for fits, text in steps:
        if fits:
            return text
    return f"{int(seconds / _HOUR) // 24 // 365} years"


def sentence(state: State, now_ns: int, health: str = "") -> str:
    """The STATUS column: ``Up 3 minutes (healthy)``, ``Exited (0) 2 hours ago``, ``Created``."""
    if is_running(state.status):
        up = human_duration((now_ns - state.started_ns) / 1e9)
        if state.status is Status.PAUSED:
            return f"Up {up} (Paused)"
        if state.status is Status.RESTARTING:
            ago = human_duration((now_ns - state.finished_ns) / 1e9)
            return f"Restarting ({state.exit_code}) {ago} ago"
        if health:
            return f"Up {up} ({'health: ' if health == 'starting' else ''}{health})"
        return f"Up {up}"
    match state.status:
        case Status.REMOVING:
            return "Removal In Progress"
        case Status.DEAD:
            return "Dead"
        case Status.CREATED:
            return "Created"
    ago = human_duration((now_ns - state.finished_ns) / 1e9)
    return f"Exited ({state.exit_code}) {ago} ago"


def wire(record: Record, health: Health | None = None) -> ContainerState:
    """The ``State`` object of inspect."""
    state = record.state
    return ContainerState(
        status=state.status.value,
        running=is_running(state.status),
        paused=state.status is Status.PAUSED,
        restarting=state.status is Status.RESTARTING,
        oom_killed=state.oom_killed,
        dead=state.status is Status.DEAD,
        pid=state.pid,
        exit_code=state.exit_code,
        error=state.error,
        started_at=rfc3339_nano(state.started_ns),
        finished_at=rfc3339_nano(state.finished_ns),
        health=health,
    )
