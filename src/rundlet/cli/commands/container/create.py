"""``rundlet create``."""

from __future__ import annotations

from rundlet.cli.creating import Creation, PullError, check_platform_flags
from rundlet.cli.exit import CommandError
from rundlet.cli.options.creation import with_common
from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
SHORT = "Create a new container"
ARGS = (1, -1)
INTERSPERSED = False
FLAGS = with_common(
    (
        "pull",
        "",
        "string",
        'Pull image before creating ("always", "|missing", "never") (default "missing")',
        "missing",
    ),
)


def run(call: Invocation) -> int:
    check_platform_flags(call.flags, CommandError)
    creation = Creation(call)
    try:
        call.context.say(creation.create())
    except ClientError as exc:
        # Unlike run's, create's failures at the engine are Docker's plain errors with exit code 1.
        raise CommandError(str(exc)) from exc
    except PullError as exc:
        raise CommandError(exc.message) from exc
    return 0
