"""``rundlet system df``."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.disk_usage import FIELDS, summary, verbose_document, verbose_text
from rundlet.cli.format.rows import print_rows
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


def _verbose(usage: Any, template: str) -> str:
    """Raises CommandError."""
    if template in ("", "table"):
        return verbose_text(usage)
    document = verbose_document(usage)
    if template == "json":
        from rundlet.cli.format.rows import html_safe
        from rundlet.client.wire import dumps

        return html_safe(dumps(document)) + "\n"
    from rundlet.cli.format.templated import Format, unescape

    try:
        return Format(unescape(template)).render(document)
    except CommandError as exc:
        raise CommandError(exc.message.removeprefix("template parsing error: ")) from exc


def run(call: Invocation) -> int:
    flags = call.flags
    usage = call.context.session.get("/system/df")
    if flags["verbose"]:
        sys.stdout.write(_verbose(usage, flags["format"]))
        return 0
    columns = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    kind = "formatter.diskUsageImagesContext"
    print_rows(call.context, summary(usage), FIELDS, columns, template=flags["format"], type_name=kind)
    return 0
