"""``rundlet engine link``: programs that look for Docker at its usual place find this engine."""

from __future__ import annotations

import os

from rundlet.cli import paths
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = ""
SHORT = "Make /var/run/docker.sock lead to this engine where there is none"
ARGS = (0, 0)
FLAGS = ()
DOCKER_SOCKET = "/var/run/docker.sock"


def run(call: Invocation) -> int:
    target = paths.engine_socket()
    try:
        os.symlink(target, DOCKER_SOCKET)
    except FileExistsError as exc:
        if os.path.islink(DOCKER_SOCKET) and os.readlink(DOCKER_SOCKET) == target:
            call.context.say(f"{DOCKER_SOCKET} leads to {target} already")
            return 0
        raise CommandError(f"{DOCKER_SOCKET} is there already and is not ours: left as it is") from exc
    except OSError as exc:
        raise CommandError(f"{DOCKER_SOCKET}: {exc.strerror}") from exc
    call.context.say(f"{DOCKER_SOCKET} -> {target}")
    return 0
