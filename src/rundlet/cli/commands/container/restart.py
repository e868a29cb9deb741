"""``rundlet restart``."""

from __future__ import annotations

from rundlet.cli.commands.container.stop import stop_query
from rundlet.cli.each import Ahead, container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.client.http import Connection

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

    def send(name: str) -> Connection:
        return call.context.session.send("POST", container_path(name, "restart"), query=query)

    return for_each(call.context, call.args, Ahead(call.context.session, call.args, send).answer)
