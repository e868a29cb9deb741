"""``rundlet network ls``."""

from __future__ import annotations

from rundlet.cli.format.containers import label
from rundlet.cli.format.natural import natural
from rundlet.cli.format.networks import COLUMNS, FIELDS, RAW_ROWS
from rundlet.cli.format.rows import print_rows
from rundlet.cli.options.filters import filters_query
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "List networks"
ARGS = (0, 0)
FLAGS = (
    ("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
    TABLE_FORMAT,
    ("no-trunc", "", "bool", "Do not truncate the output"),
    ("quiet", "q", "bool", "Only display network IDs"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    items = call.context.session.get("/networks", {"filters": filters_query(flags["filter"])})
    print_rows(
        call.context,
        sorted(items, key=lambda item: natural(str(item["Name"]))),
        FIELDS,
        COLUMNS,
        template=flags["format"] or call.context.config.get("networksFormat") or "",
        methods={"Label": label},
        type_name="network.networkContext",
        raw=RAW_ROWS,
        quiet="ID" if flags["quiet"] else "",
        full=flags["no-trunc"],
    )
    return 0
