"""``rundlet volume ls``."""

from __future__ import annotations

from rundlet.cli.format.containers import label
from rundlet.cli.format.natural import natural
from rundlet.cli.format.rows import print_rows
from rundlet.cli.format.volumes import CLUSTER_COLUMNS, COLUMNS, FIELDS, RAW_ROWS
from rundlet.cli.options.filters import filters_query
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "List volumes"
ARGS = (0, 0)
FLAGS = (
    ("cluster", "", "bool", "Display only cluster volumes, and use cluster volume list formatting"),
    ("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
    TABLE_FORMAT,
    ("quiet", "q", "bool", "Only display volume names"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    answer = call.context.session.get("/volumes", {"filters": filters_query(flags["filter"])})
    for warning in answer.get("Warnings") or ():
        call.context.warn(f"WARNING: {warning}")
    found = answer.get("Volumes") or ()
    print_rows(
        call.context,
        sorted((item for item in found if _wanted(item, flags)), key=lambda item: natural(str(item["Name"]))),
        FIELDS,
        CLUSTER_COLUMNS if flags["cluster"] else COLUMNS,
        template=flags["format"] or call.context.config.get("volumesFormat") or "",
        methods={"Label": label},
        raw=RAW_ROWS,
        type_name="formatter.volumeContext",
        quiet="Name" if flags["quiet"] else "",
    )
    return 0


def _wanted(item: Any, flags: Mapping[str, Any]) -> bool:
    """Those of a swarm's cluster have a table of their own."""
    return not flags["cluster"] or bool(item.get("ClusterVolume"))
