"""Asking before pruning, and what was reclaimed."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.main import Invocation


def confirm(message: str) -> bool:
    """Docker's question; only ``y`` is a yes. Raises CommandError when it is interrupted."""
    sys.stdout.write(f"{message} [y/N] ")
    sys.stdout.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        raise CommandError("", 0) from None  # a question that is not answered is a no, not a failure
    return answer.strip().lower() == "y"


def chosen(call: Invocation) -> list[tuple[str, str]]:
    """The filters given, and those of ``pruneFilters`` in config.json, as far as they don't contradict them."""
    given: list[tuple[str, str]] = list(call.flags["filter"])
    found = list(given)
    opposite = {"label": "label!", "label!": "label"}
    for text in call.context.config.get("pruneFilters", ()):
        name, equals, value = text.partition("=")
        if equals and (opposite.get(name), value) not in given and (name, value) not in found:
            found.append((name, value))
    return found


def print_removed(context: Context, title: str, names: Iterable[str]) -> None:
    names = list(names)
    if names:
        context.say(title)
        for name in names:
            context.say(name)
        context.say("")


def print_reclaimed(context: Context, size: int) -> None:
    context.say(f"Total reclaimed space: {human_size(size, 4)}")


def total(answer: Any) -> int:
    return int((answer or {}).get("SpaceReclaimed") or 0)
