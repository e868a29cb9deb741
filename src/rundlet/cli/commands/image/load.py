"""``rundlet load``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.cli.saving import open_input
from rundlet.client.filebody import FileBody
from rundlet.client.lending import lend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Load an image from a tar archive or STDIN"
ARGS = (0, 0)
FLAGS = (
    ("input", "i", "string", "Read from tar archive file, instead of STDIN"),
    (
        "platform",
        "",
        "string",
        'Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
    ("quiet", "q", "bool", "Suppress the load output"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    path = flags["input"]
    if path:
        fd = open_input(path)
    elif os.isatty(0):
        raise CommandError("requested load from stdin, but stdin is empty")
    else:
        fd = os.dup(0)
    quiet = flags["quiet"] or not os.isatty(1)
    query: dict[str, Any] = {"quiet": quiet}
    if flags["platform"]:
        from rundlet.cli.platforms import platforms_json

        query["platform"] = platforms_json(flags["platform"], "invalid platform: ")
    session = call.context.session
    response = lend(session, "/rundlet/images/load", fd, query)
    if response is None:
        response = session.request("POST", "/images/load", query=query, stream=FileBody(fd))
    show(response.json_stream(), sys.stdout)
    return 0
