"""``rundlet rename``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER NEW_NAME"
SHORT = "Rename a container"
ARGS = (2, 2)
FLAGS = ()


def run(call: Invocation) -> int:
    old, new = (word.strip() for word in call.args)
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    try:
        call.context.session.post(container_path(old, "rename"), {"name": new})
    except ApiError as exc:
        call.context.warn(str(exc))
        raise CommandError(f"Error: failed to rename container named {old}") from exc
    return 0
