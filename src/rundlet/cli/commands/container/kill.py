"""``rundlet kill``."""

from __future__ import annotations

from rundlet.cli.each import Ahead, container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.client.http import Connection

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Kill one or more running containers"
ARGS = (1, -1)
FLAGS = (("signal", "s", "string", "Signal to send to the container"),)


def run(call: Invocation) -> int:
    query = {"signal": call.flags["signal"] or None}

    def send(name: str) -> Connection:
        return call.context.session.send("POST", container_path(name, "kill"), query=query)

    return for_each(call.context, call.args, Ahead(call.context.session, call.args, send).answer)
