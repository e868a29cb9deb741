"""``rundlet diff``."""

from __future__ import annotations

from rundlet.cli.each import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER"
SHORT = "Inspect changes to files or directories on a container's filesystem"
ARGS = (1, 1)
FLAGS = ()
KINDS = {0: "C", 1: "A", 2: "D"}


def run(call: Invocation) -> int:
    for change in call.context.session.get(container_path(call.args[0], "changes")) or ():
        call.context.say(f"{KINDS[change['Kind']]} {change['Path']}")
    return 0
