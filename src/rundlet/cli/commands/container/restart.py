"""``rundlet restart``."""

from __future__ import annotations

from rundlet.cli.commands.container.stop import stop_query
from rundlet.cli.each import container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Restart one or more containers"
ARGS = (1, -1)
FLAGS = (
    *(
        ("signal", "s", "string", "Signal to send to the container"),
        ("timeout", "t", "int", "Seconds to wait before killing the container"),
    ),
    ("time", "", "int", ""),
)


def run(call: Invocation) -> int:
    query = stop_query(call)

    def restart(name: str) -> None:
        call.context.session.post(container_path(name, "restart"), query)

    return for_each(call.context, call.args, restart)
