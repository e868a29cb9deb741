"""``rundlet rm``."""

from __future__ import annotations

from rundlet.cli.each import NOTHING, Ahead, container_path, for_each
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.client.http import Connection

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Remove one or more containers"
ARGS = (1, -1)
FLAGS = (
    ("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    ("link", "l", "bool", "Remove the specified link"),
    ("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    query = {"v": flags["volumes"] or None, "link": flags["link"] or None, "force": flags["force"] or None}

    def send(name: str) -> Connection:
        return call.context.session.send("DELETE", container_path(name.strip("/")), query=query)

    ahead = Ahead(call.context.session, call.args, send)

    def remove(name: str) -> str | None:
        try:
            ahead.answer(name)
        except ApiError as exc:
            # As Docker: said, but what is to be gone is gone.
            if exc.status == 404 and flags["force"]:
                call.context.warn(str(exc))
                return NOTHING
            raise
        return None

    return for_each(call.context, call.args, remove)
