"""``rundlet rmi``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Remove one or more images"
ARGS = (1, -1)
FLAGS = (
    ("force", "f", "bool", "Force removal of the image"),
    ("no-prune", "", "bool", "Do not delete untagged parents"),
    (
        "platform",
        "",
        "strings",
        'Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
)


def run(call: Invocation) -> int:
    flags, errors, fatal = call.flags, [], False
    query = {"force": flags["force"] or None, "noprune": flags["no-prune"] or None}
    if flags.get("platform"):
        from rundlet.cli.platforms import platforms_json

        query["platforms"] = platforms_json(flags["platform"])
    for name in call.args:
        try:
            entries = call.context.session.delete(object_path("image", name), query)
        except (ApiError, CommandError) as exc:
            fatal = fatal or (isinstance(exc, ApiError) and exc.status != 404)
            errors.append(str(exc))
            continue
        for entry in entries or ():
            call.context.say(
                f"Deleted: {entry['Deleted']}" if entry.get("Deleted") else f"Untagged: {entry['Untagged']}"
            )
    if errors:
        # With --force an image that is not there is only worth a line.
        if flags["force"] and not fatal:
            call.context.warn("\n".join(errors))
            return 0
        raise CommandError("\n".join(errors))
    return 0
