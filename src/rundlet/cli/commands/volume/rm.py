"""``rundlet volume rm``."""

from __future__ import annotations

from rundlet.cli.each import for_each, object_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
SHORT = "Remove one or more volumes"
LONG = "Remove one or more volumes. You cannot remove a volume that is in use by a container."
ARGS = (1, -1)
FLAGS = (("force", "f", "bool", "Force the removal of one or more volumes"),)


def run(call: Invocation) -> int:
    query = {"force": call.flags["force"] or None}

    def remove(name: str) -> None:
        call.context.session.delete(object_path("volume", name), query)

    return for_each(call.context, call.args, remove)
