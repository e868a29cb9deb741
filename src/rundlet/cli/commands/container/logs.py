"""``rundlet logs``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError
from rundlet.cli.streams import StreamError, output_writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER"
SHORT = "Fetch the logs of a container"
ARGS = (1, 1)
FLAGS = (
    ("details", "", "bool", "Show extra details provided to logs"),
    ("follow", "f", "bool", "Follow log output"),
    (
        "since",
        "",
        "string",
        'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
    ("tail", "n", "string", 'Number of lines to show from the end of the logs (default "all")', "all"),
    ("timestamps", "t", "bool", "Show timestamps"),
    (
        "until",
        "",
        "string",
        'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
)


def run(call: Invocation) -> int:
    flags, session = call.flags, call.context.session
    found = session.get(container_path(call.args[0], "json"))
    query = {
        "stdout": True,
        "stderr": True,
        "since": _time(flags["since"], "since"),
        "until": _time(flags["until"], "until"),
        "timestamps": flags["timestamps"] or None,
        "follow": flags["follow"] or None,
        "tail": flags["tail"],
        "details": flags["details"] or None,
    }
    response = session.request("GET", container_path(found["Id"], "logs"), query=query)
    # Older engines do not say in the answer's type whether it is framed: the container's terminal does.
    write = output_writer(framed=not found["Config"]["Tty"])
    try:
        for piece in response.chunks():
            write(piece)
    except StreamError as exc:
        raise CommandError(str(exc)) from exc
    return 0


def _time(text: str, name: str) -> str | None:
    if not text:
        return None
    from rundlet.cli.format.points import timestamp

    try:
        return timestamp(text)
    except ValueError as exc:
        raise CommandError(f'invalid value for "{name}": {exc}') from exc
