"""``rundlet image diff``."""

from __future__ import annotations

from rundlet.cli.each import check_name, object_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "IMAGE IMAGE"
SHORT = "Show how the files of two images differ"
LONG = (
    "Show how the files of two images differ: A added, C changed, D deleted.\n"
    "Type, owner, mode, content and link targets count; times do not."
)
ARGS = (2, 2)
FLAGS = ()
_LETTERS = "CAD"


def run(call: Invocation) -> int:
    first, second = call.args
    check_name("image", second)
    for change in call.context.session.get(object_path("image", first, "diff"), {"with": second}) or ():
        call.context.say(f"{_LETTERS[change['Kind']]} {change['Path']}")
    return 0
