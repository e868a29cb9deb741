"""``rundlet container prune``."""

from __future__ import annotations

from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_reclaimed, print_removed, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove all stopped containers"
ARGS = (0, 0)
FLAGS = (
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
WARNING = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"


def run(call: Invocation) -> int:
    if not call.flags["force"] and not confirm(WARNING):
        return 0
    query = {"filters": filters_query(chosen(call))}
    answer = call.context.session.post("/containers/prune", query)
    print_removed(call.context, "Deleted Containers:", answer.get("ContainersDeleted") or ())
    print_reclaimed(call.context, total(answer))
    return 0
