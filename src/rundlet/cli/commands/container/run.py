"""``rundlet run``."""

from __future__ import annotations

from rundlet.cli.creating import Creation, check_platform_flags
from rundlet.cli.exit import CommandError, RunError, start_error_code
from rundlet.cli.options.creation import with_common
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
SHORT = "Create and run a new container from an image"
ARGS = (1, -1)
INTERSPERSED = False
FLAGS = with_common(
    ("detach", "d", "bool", "Run container in background and print container ID"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("pull", "", "string", 'Pull image before running ("always", "missing", "never") (default "missing")', "missing"),
    ("sig-proxy", "", "bool", "Proxy received signals to the process (default true)", True),
)


def run(call: Invocation) -> int:
    flags = call.flags
    check_platform_flags(flags)
    if flags["detach"] and flags["attach"]:
        raise CommandError("conflicting options: cannot specify both --attach and --detach")
    creation = Creation(call)
    if flags["detach"]:
        return _detached(call, creation)
    from rundlet.cli.attaching import Foreground, check_input_terminal

    check_input_terminal(flags["tty"], stdin=creation.body["AttachStdin"])
    _tell_size(creation.body)
    identifier = creation.create()
    foreground = Foreground(call.context, identifier, creation.body, flags)
    ours = flags["rm"] and call.context.session.older_than(1, 25)  # which had us remove it
    try:
        code = foreground.run(removed=flags["rm"] and not ours)
        if ours and not foreground.keys.detached:
            call.context.session.delete(f"/containers/{identifier}", {"v": True, "force": True})
        return code
    except ApiError as exc:
        raise RunError(str(exc), start_error_code(exc.message)) from exc


def _tell_size(body: dict[str, Any]) -> None:
    """The terminal's size goes along with the request, so that the first output already fits."""
    if body["Tty"]:
        from rundlet.cli.terminal import size

        rows, columns = size()
        if rows and columns:
            body["HostConfig"]["ConsoleSize"] = [rows, columns]


def _detached(call: Invocation, creation: Creation) -> int:
    identifier = creation.create()
    try:
        call.context.session.post(f"/containers/{identifier}/start", _detach_keys(call))
    except ApiError as exc:
        call.context.say(identifier)
        raise RunError(str(exc), start_error_code(exc.message)) from exc
    call.context.say(identifier)
    return 0


def _detach_keys(call: Invocation) -> dict[str, Any] | None:
    keys = call.flags["detach-keys"]
    return {"detachKeys": keys} if keys else None
