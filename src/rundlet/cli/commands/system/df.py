"""``rundlet system df``."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.disk_usage import FIELDS, summary, verbose_text
from rundlet.cli.format.rows import print_rows
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Show docker disk usage"
ARGS = (0, 0)
FLAGS = (
    TABLE_FORMAT,
    ("verbose", "v", "bool", "Show detailed information on space usage"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    if flags["verbose"] and flags["format"] not in ("", "json"):
        raise CommandError("--verbose with a --format other than json is not supported by Rundlet")
    usage = call.context.session.get("/system/df")
    if flags["verbose"]:
        if flags["format"] == "json":
            from rundlet.client.wire import dumps

            sys.stdout.write(dumps(usage) + "\n")
        else:
            sys.stdout.write(verbose_text(usage))
        return 0
    columns = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    print_rows(call.context, summary(usage), FIELDS, columns, template=flags["format"])
    return 0
