"""``rundlet logout``."""

from __future__ import annotations

from rundlet.cli.commands.login import server_key
from rundlet.cli.credential_store import erase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[SERVER]"
SHORT = "Log out from a registry"
LONG = "Log out from a registry.\nIf no server is specified, the default is defined by the daemon."
ARGS = (0, 1)
FLAGS = ()


def run(call: Invocation) -> int:
    server = server_key(call.args)
    erase(call.context, server)
    call.context.say(f"Removing login credentials for {server}")
    return 0
