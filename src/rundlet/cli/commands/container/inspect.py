"""``rundlet container inspect``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Display detailed information on one or more containers"
ARGS = (1, -1)
FLAGS = (
    INSPECT_FORMAT,
    ("size", "s", "bool", "Display total file sizes"),
)


def run(call: Invocation) -> int:
    query = {"size": call.flags["size"] or None}

    def find(name: str) -> tuple[Any, str]:
        return call.context.session.get(container_path(name, "json"), query), "container.InspectResponse"

    return inspect_all(call.args, find, call.flags["format"])
