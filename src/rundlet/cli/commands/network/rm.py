"""``rundlet network rm``."""

from __future__ import annotations

from rundlet.cli.each import NOTHING, for_each, object_path
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "NETWORK [NETWORK...]"
SHORT = "Remove one or more networks"
ARGS = (1, -1)
FLAGS = (("force", "f", "bool", "Do not error if the network does not exist"),)


def run(call: Invocation) -> int:
    def remove(name: str) -> str | None:
        try:
            call.context.session.delete(object_path("network", name))
        except ApiError as exc:
            if call.flags["force"] and exc.status == 404:
                return NOTHING
            raise
        return None

    return for_each(call.context, call.args, remove)
