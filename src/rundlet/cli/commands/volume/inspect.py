"""``rundlet volume inspect``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
SHORT = "Display detailed information on one or more volumes"
ARGS = (1, -1)
FLAGS = (INSPECT_FORMAT,)


def run(call: Invocation) -> int:
    def find(name: str) -> tuple[Any, str]:
        return call.context.session.get(object_path("volume", name)), "volume.Volume"

    return inspect_all(call.args, find, call.flags["format"], made_here=True)
