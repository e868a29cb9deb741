"""``rundlet kill``."""

from __future__ import annotations

from rundlet.cli.each import container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Kill one or more running containers"
ARGS = (1, -1)
FLAGS = (("signal", "s", "string", "Signal to send to the container"),)


def run(call: Invocation) -> int:
    query = {"signal": call.flags["signal"] or None}

    def kill(name: str) -> None:
        call.context.session.post(container_path(name, "kill"), query)

    return for_each(call.context, call.args, kill)
