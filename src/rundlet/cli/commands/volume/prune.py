"""``rundlet volume prune``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_reclaimed, print_removed, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove unused local volumes"
ARGS = (0, 0)
FLAGS = (
    ("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
UNUSED = (
    "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
    "Are you sure you want to continue?"
)
ALL = (
    "WARNING! This will remove all local volumes not used by at least one container.\n"
    "Are you sure you want to continue?"
)


def run(call: Invocation) -> int:
    flags = call.flags
    filters = chosen(call)
    if flags["all"]:
        if any(name == "all" for name, _ in filters):
            raise CommandError("conflicting options: cannot specify both --all and --filter all=1")
        filters.append(("all", "true"))
    if not flags["force"] and not confirm(ALL if flags["all"] else UNUSED):
        return 0
    answer = call.context.session.post("/volumes/prune", {"filters": filters_query(filters)})
    print_removed(call.context, "Deleted Volumes:", answer.get("VolumesDeleted") or ())
    print_reclaimed(call.context, total(answer))
    return 0
