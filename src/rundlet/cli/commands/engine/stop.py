"""``rundlet engine stop``."""

from __future__ import annotations

from rundlet.cli.engine_process import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Stop the engine; containers go on running"
ARGS = (0, 0)
FLAGS = ()


def run(call: Invocation) -> int:
    call.context.say("The engine has stopped; containers go on running." if stop() else "The engine is not running.")
    return 0
