"""``rundlet wait``."""

from __future__ import annotations

from rundlet.cli.each import container_path, for_each
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER [CONTAINER...]"
SHORT = "Block until one or more containers stop, then print their exit codes"
ARGS = (1, -1)
FLAGS = ()


def run(call: Invocation) -> int:
    def wait(name: str) -> str:
        answer = call.context.session.post(container_path(name, "wait"))
        message = (answer.get("Error") or {}).get("Message")
        if message:
            raise CommandError(message)
        return str(answer["StatusCode"])

    return for_each(call.context, call.args, wait)
