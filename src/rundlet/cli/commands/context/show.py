"""``rundlet context show``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Print the name of the current context"
ARGS = (0, 0)
FLAGS = ()


def run(call: Invocation) -> int:
    call.context.say(call.context.context_name())
    return 0
