"""``rundlet network inspect``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NETWORK [NETWORK...]"
SHORT = "Display detailed information on one or more networks"
ARGS = (1, -1)
FLAGS = (
    INSPECT_FORMAT,
    ("verbose", "v", "bool", "Verbose output for diagnostics"),
)


def run(call: Invocation) -> int:
    query = {"verbose": call.flags["verbose"] or None}

    def find(name: str) -> tuple[Any, str]:
        return call.context.session.get(object_path("network", name), query), "network.Inspect"

    return inspect_all(call.args, find, call.flags["format"])
