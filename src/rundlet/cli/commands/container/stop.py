"""``rundlet stop``."""

from __future__ import annotations

from rundlet.cli.each import Ahead, container_path, for_each
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation
    from rundlet.client.http import Connection

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Stop one or more running containers"
ARGS = (1, -1)
FLAGS = (
    *(
        ("signal", "s", "string", "Signal to send to the container"),
        ("timeout", "t", "int", "Seconds to wait before killing the container"),
    ),
    ("time", "", "int", ""),
)


def stop_query(call: Invocation) -> dict[str, Any]:
    """-s and -t of stop and restart, when given: 0 seconds is not the same as no answer."""
    if call.given("time"):
        call.context.say("Flag --time has been deprecated, use --timeout instead")
    if call.given("time") and call.given("timeout"):
        raise CommandError("conflicting options: cannot specify both --timeout and --time")
    timed = call.given("timeout") or call.given("time")
    seconds = call.flags["timeout"] if call.given("timeout") else call.flags["time"]
    return {"signal": call.flags["signal"] or None, "t": seconds if timed else None}


def run(call: Invocation) -> int:
    query = stop_query(call)

    def send(name: str) -> Connection:
        return call.context.session.send("POST", container_path(name, "stop"), query=query)

    return for_each(call.context, call.args, Ahead(call.context.session, call.args, send).answer)
