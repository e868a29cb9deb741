"""Commands that do the same to several objects: each is tried, each failure is one line, the exit code tells."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rundlet.cli.context import Context


NOTHING = ""
"""What an action returns to have nothing printed."""


def for_each(
    context: Context, names: Iterable[str], action: Callable[[str], str | None], *, echo: bool = True, prefix: str = ""
) -> int:
    """Call ``action`` with each name and print what it returns (the name itself when None). Returns the exit code."""
    failed = False
    for name in names:
        try:
            text = action(name)
        except (ApiError, CommandError) as exc:
            context.warn(f"{prefix}{exc}")
            failed = True
            continue
        if echo and text != NOTHING:
            context.say(name if text is None else text)
    return 1 if failed else 0


def container_path(name: str, *rest: str) -> str:
    """``/containers/<name>/…`` with the name made safe for a URL. Raises CommandError for an empty name."""
    from rundlet.client.wire import quote

    if not name.strip():
        raise CommandError("invalid container name or ID: value is empty")
    return "/".join(("/containers", quote(name), *rest))
