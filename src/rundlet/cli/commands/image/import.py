"""``rundlet import``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.cli.reference import parse
from rundlet.client.filebody import FileBody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"
SHORT = "Import the contents from a tarball to create a filesystem image"
ARGS = (1, 2)
FLAGS = (
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Set commit message for imported image"),
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    source = call.args[0]
    query: dict[str, Any] = {
        "fromSrc": "-",
        "message": flags["message"] or None,
        "changes": flags["change"] or None,
        "platform": flags["platform"] or None,
    }
    if len(call.args) > 1:
        try:
            name = parse(call.args[1]).with_default_tag()
        except CommandError as exc:
            raise CommandError(f"Error response from daemon: {exc.message}") from exc
        query["repo"], query["tag"] = name.familiar_name, name.tag
    if source.startswith(("http://", "https://")):
        query["fromSrc"] = source
        stream = None
    elif source == "-":
        stream = FileBody(0)
    else:
        try:
            stream = FileBody(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as exc:
            raise CommandError(f"open {source}: {(exc.strerror or '').lower()}") from exc
    show(call.context.session.stream("POST", "/images/create", query=query, stream=stream), sys.stdout)
    return 0
