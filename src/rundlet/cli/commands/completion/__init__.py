"""``rundlet completion SHELL``: scripts that ask ``rundlet __complete``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

NO_DESCRIPTIONS = ("no-descriptions", "", "bool", "disable completion descriptions")


def script(call: Invocation, text: str) -> str:
    """A shell's script for the program by its name, with or without what each word means."""
    if call.flags["no-descriptions"]:
        text = text.replace(" __complete ", " __completeNoDesc ")
    return text.replace("PROGRAM", call.context.program).rstrip("\n")
