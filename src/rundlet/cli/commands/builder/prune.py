"""``rundlet builder prune``."""

from __future__ import annotations

from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_reclaimed, print_removed, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove build cache"
ARGS = (0, 0)
FLAGS = (
    ("all", "a", "bool", "Remove all unused build cache, not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "until=24h")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
    ("keep-storage", "", "bytes", "Amount of disk space to keep for cache"),
    ("max-used-space", "", "bytes", "Maximum amount of disk space allowed to keep for cache"),
    ("min-free-space", "", "bytes", "Target amount of free disk space after pruning"),
    ("reserved-space", "", "bytes", "Amount of disk space always allowed to keep for cache"),
)
DANGLING = "WARNING! This will remove all dangling build cache. Are you sure you want to continue?"
ALL = "WARNING! This will remove all build cache. Are you sure you want to continue?"


def run(call: Invocation) -> int:
    flags = call.flags
    if not flags["force"] and not confirm(ALL if flags["all"] else DANGLING):
        return 0
    reserved = flags["reserved-space"] or flags["keep-storage"]
    query = {
        "all": True if flags["all"] else None,
        "filters": filters_query(chosen(call)),
        "keep-storage": reserved or None,
        "reserved-space": reserved or None,
        "max-used-space": flags["max-used-space"] or None,
        "min-free-space": flags["min-free-space"] or None,
    }
    answer = call.context.session.post("/build/prune", query) or {}
    print_removed(call.context, "Deleted build cache objects:", answer.get("CachesDeleted") or ())
    print_reclaimed(call.context, total(answer))
    return 0
