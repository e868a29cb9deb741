"""``rundlet images``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.format.images import FIELDS, columns, raw, sorted_rows
from rundlet.cli.format.rows import print_rows
from rundlet.cli.options.filters import filters_query
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [REPOSITORY[:TAG]]"
SHORT = "List images"
ARGS = (0, 1)
FLAGS = (
    ("all", "a", "bool", "Show all images (default hides intermediate images)"),
    ("digests", "", "bool", "Show digests"),
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    TABLE_FORMAT,
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only show image IDs"),
    ("tree", "", "bool", "List multi-platform images as a tree (EXPERIMENTAL)"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    filters = list(flags["filter"])
    if call.args and call.args[0]:
        filters.append(("reference", call.args[0]))
    if flags["tree"]:
        return _tree(call, filters)
    query = {"all": flags["all"] or None, "filters": filters_query(filters)}
    items = call.context.session.get("/images/json", query)
    template = flags["format"] or call.context.config.get("imagesFormat") or ""
    digests = flags["digests"] or ".Digest" in template
    print_rows(
        call.context,
        sorted_rows(items, digests=digests, everything=flags["all"]),
        FIELDS,
        columns(digests=flags["digests"]),
        template=template,
        quiet="ID" if flags["quiet"] else "",
        type_name="formatter.imageContext",
        raw=raw(digests=flags["digests"]),
        full=flags["no-trunc"],
    )
    return 0


def _tree(call: Invocation, filters: list[tuple[str, str]]) -> int:
    """--tree: each image with the platforms it has."""
    flags = call.flags
    for name in ("quiet", "no-trunc", "digests", "format"):
        if flags[name]:
            raise CommandError(f"--{name} is not yet supported with --tree")
    from rundlet.cli.format.image_tree import print_tree

    query = {"all": flags["all"] or None, "filters": filters_query(filters), "manifests": True}
    print_tree(call.context.session.get("/images/json", query))
    return 0
