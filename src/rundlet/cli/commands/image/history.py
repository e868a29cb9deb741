"""``rundlet history``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.format.history import fields
from rundlet.cli.format.rows import print_rows
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE"
SHORT = "Show the history of an image"
ARGS = (1, 1)
FLAGS = (
    TABLE_FORMAT,
    ("human", "H", "bool", "Print sizes and dates in human readable format (default true)", True),
    ("no-trunc", "", "bool", "Don't truncate output"),
    (
        "platform",
        "",
        "string",
        'Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
    ("quiet", "q", "bool", "Only show image IDs"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    query = None
    if flags["platform"]:
        from rundlet.cli.platforms import platform_json

        query = {"platform": platform_json(flags["platform"], "invalid platform: ")}
    items = call.context.session.get(object_path("image", call.args[0], "history"), query)
    created = "CreatedSince" if flags["human"] else "CreatedAt"
    print_rows(
        call.context,
        items,
        fields(human=flags["human"]),
        ("ID", created, "CreatedBy", "Size", "Comment"),
        template=flags["format"],
        quiet="ID" if flags["quiet"] else "",
        type_name="image.historyContext",
        full=flags["no-trunc"],
    )
    return 0
