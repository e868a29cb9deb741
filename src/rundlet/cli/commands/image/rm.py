"""``rundlet rmi``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError
from rundlet.client.wire import quote

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
            entries = call.context.session.delete(f"/images/{quote(name, '/:@')}", query)
        except ApiError as exc:
            fatal = fatal or exc.status != 404
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
