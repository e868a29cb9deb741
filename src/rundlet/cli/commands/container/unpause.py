"""``rundlet unpause``."""

from __future__ import annotations

from rundlet.cli.each import container_path, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER [CONTAINER...]"
SHORT = "Unpause all processes within one or more containers"
ARGS = (1, -1)
FLAGS = ()


def run(call: Invocation) -> int:
    def unpause(name: str) -> None:
        call.context.session.post(container_path(name, "unpause"))

    return for_each(call.context, call.args, unpause)
