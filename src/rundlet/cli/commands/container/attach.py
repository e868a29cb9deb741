"""``rundlet attach``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER"
SHORT = "Attach local standard input, output, and error streams to a running container"
ARGS = (1, 1)
FLAGS = (
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("no-stdin", "", "bool", "Do not attach STDIN"),
    ("sig-proxy", "", "bool", "Proxy all received signals to the process (default true)", True),
)


def run(call: Invocation) -> int:
    found = call.context.session.get(container_path(call.args[0], "json"))
    state = found["State"]
    if not state.get("Running"):
        raise CommandError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise CommandError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise CommandError("You cannot attach to a restarting container, wait until it is running")
    stdin = bool(not call.flags["no-stdin"] and found["Config"].get("OpenStdin"))
    return attach_running(call, found, stdin=stdin)


def attach_running(call: Invocation, found: dict[str, Any], *, stdin: bool) -> int:
    """Attach to a container that runs; its exit code."""
    from rundlet.cli.attaching import Foreground, check_input_terminal

    tty = bool(found["Config"]["Tty"])
    check_input_terminal(tty, stdin=stdin)
    body = {"Tty": tty, "AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True}
    return Foreground(call.context, found["Id"], body, call.flags).join()
