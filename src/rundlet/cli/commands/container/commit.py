"""``rundlet commit``."""

from __future__ import annotations

from rundlet.cli.each import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"
SHORT = "Create a new image from a container's changes"
ARGS = (1, 2)
FLAGS = (
    ("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Commit message"),
    ("pause", "p", "bool", "Pause container during commit (default true)", True),
)


def run(call: Invocation) -> int:
    flags = call.flags
    check_name("container", call.args[0])
    query = {
        "container": call.args[0],
        "comment": flags["message"] or None,
        "author": flags["author"] or None,
        "changes": flags["change"] or None,
        "pause": None if flags["pause"] else False,
    }
    if len(call.args) > 1:
        from rundlet.cli.reference import parse

        name = parse(call.args[1]).with_default_tag()
        query["repo"], query["tag"] = name.familiar_name, name.tag
    call.context.say(call.context.session.post("/commit", query)["Id"])
    return 0
