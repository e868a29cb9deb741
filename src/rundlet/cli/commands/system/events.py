"""``rundlet events``."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.points import timestamp
from rundlet.cli.format.times import rfc3339
from rundlet.cli.options.filters import filters_query
from rundlet.cli.shared_flags import LINE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Get real time events from the server"
ARGS = (0, 0)
FLAGS = (
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    LINE_FORMAT,
    ("since", "", "string", "Show all events created since timestamp"),
    ("until", "", "string", "Stream events until this timestamp"),
)


def line(event: dict[str, Any]) -> str:
    """``2026-01-02T03:04:05.000000006Z container start ID (image=…, name=…)``."""
    seconds, nanoseconds = divmod(event.get("timeNano") or event.get("time", 0) * 10**9, 10**9)
    when = rfc3339(seconds)
    text = f"{when[:19]}.{nanoseconds:09d}{when[19:]} {event.get('Type', '')} {event.get('Action', '')}"
    actor = event.get("Actor") or {}
    text += f" {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        text += " (" + ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes)) + ")"
    return text


def run(call: Invocation) -> int:
    flags = call.flags
    try:
        query = {
            "since": timestamp(flags["since"]) or None,
            "until": timestamp(flags["until"]) or None,
            "filters": filters_query(flags["filter"]),
        }
    except ValueError as exc:
        raise CommandError(str(exc)) from exc
    show = _renderer(flags["format"])
    for event in call.context.session.stream("GET", "/events", query=query):
        sys.stdout.write(show(event) + "\n")
        sys.stdout.flush()
    return 0


def _renderer(template: str) -> Callable[[dict[str, Any]], str]:
    if not template:
        return line
    if template == "json":
        template = "{{json .}}"
    from rundlet.cli.format.templated import Format
    from rundlet.cli.format.types import decoded

    compiled = Format(template, unparsed=("Error parsing format", 64))

    def render(event: dict[str, Any]) -> str:
        return compiled.render(decoded("events.Message", event))

    try:
        # What no event has is said at once, not with the first.
        compiled.render(decoded("*events.Message", {}))
    except CommandError as exc:
        said = exc.message.replace("template parsing error", "Error parsing format", 1)
        raise CommandError(said, 64) from exc
    return render
