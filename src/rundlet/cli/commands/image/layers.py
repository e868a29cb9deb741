"""``rundlet image layers``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.format.layers import COLUMNS, FIELDS, efficiency, print_files
from rundlet.cli.format.rows import print_rows
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE"
SHORT = "Show what each layer of an image adds, changes, deletes and wastes"
LONG = (
    "Show what each layer of an image adds, changes, deletes and wastes, the first one first.\n"
    "Wasted are bytes of lower layers that later ones delete or write over."
)
ARGS = (1, 1)
FLAGS = (
    ("files", "", "bool", "Name the files: A added, C changed, D deleted"),
    TABLE_FORMAT,
    ("no-trunc", "", "bool", "Don't truncate output"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    query = {"files": flags["files"] or None}
    layers = call.context.session.get(object_path("image", call.args[0], "layers"), query) or []
    if flags["files"]:
        print_files(layers)
        return 0
    print_rows(call.context, layers, FIELDS, COLUMNS, template=flags["format"], full=flags["no-trunc"])
    if not flags["format"]:
        call.context.say(efficiency(layers))
    return 0
