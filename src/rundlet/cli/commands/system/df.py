"""``rundlet system df``."""

from __future__ import annotations

import sys

from rundlet.cli.format.disk_usage import FIELDS, RAW_ROWS, summary, verbose_document, verbose_text
from rundlet.cli.format.rows import print_rows, split_format
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Show docker disk usage"
ARGS = (0, 0)
FLAGS = (
    TABLE_FORMAT,
    ("verbose", "v", "bool", "Show detailed information on space usage"),
)


def _verbose(usage: Any, template: str) -> None:
    """Raises CommandError."""
    kind, template = split_format(template)
    if not template and kind != "json":
        sys.stdout.write(verbose_text(usage))
        return
    document = verbose_document(usage)
    if kind == "json":
        from rundlet.cli.format.rows import html_safe
        from rundlet.util.template.json_text import encode

        sys.stdout.write(html_safe(encode(document)))
        return
    from rundlet.cli.format.templated import Format, unescape

    Format(unescape(template), unparsed=("template parsing error", 1)).print(document, end="")


def run(call: Invocation) -> int:
    flags = call.flags
    usage = call.context.session.get("/system/df")
    if flags["verbose"]:
        _verbose(usage, flags["format"])
        return 0
    columns = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    kind = "formatter.diskUsageImagesContext"
    print_rows(call.context, summary(usage), FIELDS, columns, template=flags["format"], type_name=kind, raw=RAW_ROWS)
    return 0
