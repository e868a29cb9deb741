"""``rundlet pause``."""

from __future__ import annotations

from rundlet.cli.each import Ahead, container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.client.http import Connection

USAGE = "CONTAINER [CONTAINER...]"
SHORT = "Pause all processes within one or more containers"
ARGS = (1, -1)
FLAGS = ()


def run(call: Invocation) -> int:
    def send(name: str) -> Connection:
        return call.context.session.send("POST", container_path(name, "pause"))

    return for_each(call.context, call.args, Ahead(call.context.session, call.args, send).answer)
