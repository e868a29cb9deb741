"""``rundlet ps``."""

from __future__ import annotations

from rundlet.cli.format.containers import FIELDS, QUIET, columns, label, raw
from rundlet.cli.format.rows import print_rows
from rundlet.cli.options.filters import filters_query
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "List containers"
ARGS = (0, 0)
TYPE_NAME = "formatter.ContainerContext"
FLAGS = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    TABLE_FORMAT,
    ("last", "n", "int", "Show n last created containers (includes all states) (default -1)", -1),
    ("latest", "l", "bool", "Show the latest created container (includes all states)"),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only display container IDs"),
    ("size", "s", "bool", "Display total file sizes"),
)


def _check(template: str) -> None:
    """As Docker, also where there is nothing to list: what the template says must make sense. Raises CommandError."""
    from rundlet.cli.exit import CommandError
    from rundlet.cli.format.rows import split_format
    from rundlet.cli.format.templated import check_fields

    if split_format(template)[1]:
        try:
            check_fields(template, FIELDS, ("Label",), TYPE_NAME)
        except CommandError as exc:
            raise CommandError(exc.message.replace("template parsing error", "failed to execute template", 1)) from exc


def run(call: Invocation) -> int:
    flags = call.flags
    template = flags["format"] or call.context.config.get("psFormat") or ""
    if flags["format"]:
        if flags["quiet"]:
            call.context.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        _check(template)
    if flags["quiet"] and template != "raw":
        template = ""
    limit = flags["last"] if flags["last"] > 0 else 0
    if flags["latest"] and not limit:
        limit = 1
    # A template that shows all fields, or the size, has the engine measure it.
    size = flags["size"] or ".Size" in template or "json ." in template
    query = {
        "all": flags["all"] or None,
        "limit": limit or None,
        "size": True if size else None,
        "filters": filters_query(flags["filter"]),
    }
    items = call.context.session.get("/containers/json", query)
    print_rows(
        call.context,
        items,
        FIELDS,
        columns(size=bool(flags["size"])),
        template=template,
        quiet=QUIET if flags["quiet"] else "",
        full=flags["no-trunc"],
        methods={"Label": label},
        type_name=TYPE_NAME,
        raw=raw(size=bool(flags["size"])),
    )
    return 0
