"""``rundlet network prune``."""

from __future__ import annotations

from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_removed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove all unused networks"
ARGS = (0, 0)
FLAGS = (
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
WARNING = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue?"
)


def run(call: Invocation) -> int:
    if not call.flags["force"] and not confirm(WARNING):
        return 0
    query = {"filters": filters_query(chosen(call))}
    answer = call.context.session.post("/networks/prune", query)
    print_removed(call.context, "Deleted Networks:", answer.get("NetworksDeleted") or ())
    return 0
