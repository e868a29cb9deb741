"""``rundlet top``."""

from __future__ import annotations

import sys

from rundlet.cli.each import container_path
from rundlet.cli.format.table import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER [ps OPTIONS]"
SHORT = "Display the running processes of a container"
ARGS = (1, -1)
INTERSPERSED = False
FLAGS = ()


def run(call: Invocation) -> int:
    name, *options = call.args
    query = {"ps_args": " ".join(options) or None}
    answer = call.context.session.get(container_path(name, "top"), query)
    rows = [answer["Titles"], *(answer.get("Processes") or ())]
    sys.stdout.write(layout((list(map(str, row)) for row in rows), minimum=20))
    return 0
