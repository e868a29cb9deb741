"""``rundlet load``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.client.filebody import FileBody

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
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise CommandError(f"open {path}: {(exc.strerror or '').lower()}") from exc
    elif os.isatty(0):
        raise CommandError("requested load from stdin, but stdin is empty")
    else:
        fd = os.dup(0)
    quiet = flags["quiet"] or not os.isatty(1)
    query: dict[str, Any] = {"quiet": quiet}
    if flags["platform"]:
        from rundlet.cli.commands.image.inspect import platform_json

        platforms = flags["platform"] if isinstance(flags["platform"], list) else [flags["platform"]]
        query["platform"] = [platform_json(text) for text in platforms]
    show(call.context.session.stream("POST", "/images/load", query=query, stream=FileBody(fd)), sys.stdout)
    return 0
