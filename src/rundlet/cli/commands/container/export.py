"""``rundlet export``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.saving import save_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER"
SHORT = "Export a container's filesystem as a tar archive"
ARGS = (1, 1)
FLAGS = (("output", "o", "string", "Write to a file, instead of STDOUT"),)


def run(call: Invocation) -> int:
    path = container_path(call.args[0], "export")
    save_body(lambda: call.context.session.request("GET", path), call.flags["output"], "export container")
    return 0
