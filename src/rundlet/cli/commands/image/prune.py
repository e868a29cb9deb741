"""``rundlet image prune``."""

from __future__ import annotations

from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_reclaimed, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove unused images"
ARGS = (0, 0)
FLAGS = (
    ("all", "a", "bool", "Remove all unused images, not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
DANGLING = "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
ALL = (
    "WARNING! This will remove all images without at least one container associated to them.\n"
    "Are you sure you want to continue?"
)


def run(call: Invocation) -> int:
    flags = call.flags
    if not flags["force"] and not confirm(ALL if flags["all"] else DANGLING):
        return 0
    filters = [*chosen(call), ("dangling", "false" if flags["all"] else "true")]
    answer = call.context.session.post("/images/prune", {"filters": filters_query(filters)})
    print_deleted(call.context, answer.get("ImagesDeleted") or ())
    print_reclaimed(call.context, total(answer))
    return 0


def print_deleted(context: Context, entries: Any) -> None:
    """What an image prune took away, line by line, under a title; nothing when nothing went."""
    if not entries:
        return
    context.say("Deleted Images:")
    for entry in entries:
        for key in ("Untagged", "Deleted"):
            if entry.get(key):
                context.say(f"{key.lower()}: {entry[key]}")
    context.say("")
