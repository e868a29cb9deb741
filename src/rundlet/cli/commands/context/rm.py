"""``rundlet context rm``."""

from __future__ import annotations

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTEXT [CONTEXT...]"
SHORT = "Remove one or more contexts"
ARGS = (1, -1)
FLAGS = (("force", "f", "bool", "Force the removal of a context in use"),)


def run(call: Invocation) -> int:
    store = ContextStore(call.context.config_directory)
    current = call.context.context_name()
    problems = []
    for name in call.args:
        try:
            _remove(call, store, name, current=name == current)
        except CommandError as exc:
            problems.append(exc.message)
        else:
            call.context.say(name)
    if problems:
        raise CommandError("\n".join(problems))
    return 0


def _remove(call: Invocation, store: ContextStore, name: str, *, current: bool) -> None:
    if name == context_store.DEFAULT:
        raise CommandError('context "default" cannot be removed')
    force = call.flags["force"]
    if not store.exists(name) and not force:
        raise CommandError(f'context "{name}" does not exist')
    if current:
        if not force:
            raise CommandError(f'context "{name}" is in use, set -f flag to force remove')
        context_store.set_current(call.context.config_directory, context_store.DEFAULT)
    store.remove(name)
