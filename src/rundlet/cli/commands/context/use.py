"""``rundlet context use``."""

from __future__ import annotations

import os

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTEXT"
SHORT = "Set the default context"
LONG = "Set the default context, of every command line that reads the same configuration"
ARGS = (1, 1)
FLAGS = ()


def run(call: Invocation) -> int:
    name = call.args[0]
    if name != context_store.DEFAULT:
        context_store.check_name(name)
        ContextStore(call.context.config_directory).get(name)
    context_store.set_current(call.context.config_directory, name)
    call.context.say(name)
    call.context.warn(f'Current context is now "{name}"')
    if name != context_store.DEFAULT and os.environ.get("DOCKER_HOST"):
        call.context.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use "
            f'"{name}", either set the global --context flag, or unset DOCKER_HOST environment variable.'
        )
    return 0
