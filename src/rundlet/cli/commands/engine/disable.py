"""``rundlet engine disable``: takes back what ``rundlet engine enable`` has set up."""

from __future__ import annotations

import os

from rundlet.cli.commands.engine import enable
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "No longer let systemd start the engine; containers go on running"
ARGS = (0, 0)
FLAGS = (("user", "", "bool", "For this user's own engine instead of the system's"),)


def run(call: Invocation) -> int:
    user = bool(call.flags["user"])
    if not user and os.geteuid() != 0:
        raise CommandError("the system's engine is disabled by root; use --user for one of your own")
    directory = enable.unit_directory(user=user)
    found = [name for name in enable.UNITS if os.path.exists(f"{directory}/{name}")]
    if not found:
        raise CommandError(f"nothing to disable: there is no {enable.UNITS[0]} in {directory}")
    running = enable.systemd_runs(user=user)
    if running:
        status = enable.systemctl("disable", "--now", *found, user=user)
        if status:
            return status
    try:
        for name in found:
            os.unlink(f"{directory}/{name}")
            call.context.say(f"removed {directory}/{name}")
    except OSError as exc:
        raise CommandError(f"{exc.filename}: {exc.strerror}") from exc
    return enable.systemctl("daemon-reload", user=user) if running else 0
