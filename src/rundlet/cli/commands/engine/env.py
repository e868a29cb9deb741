"""``rundlet engine env``: for ``eval "$(rundlet engine env)"``."""

from __future__ import annotations

from rundlet.cli import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Print the shell line that points other Docker clients at this engine"
ARGS = (0, 0)
FLAGS = ()


def shell_word(text: str) -> str:
    """``text`` quoted for a POSIX shell where it must be."""
    if text and all(letter.isalnum() or letter in "@%+=:,./-_" for letter in text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def run(call: Invocation) -> int:
    call.context.say(f"export DOCKER_HOST={shell_word(f'unix://{paths.engine_socket()}')}")
    return 0
