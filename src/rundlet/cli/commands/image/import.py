"""``rundlet import``."""

from __future__ import annotations

import sys

from rundlet.cli.progress import show
from rundlet.cli.reference import parse
from rundlet.cli.saving import open_input
from rundlet.cli.variables import platform
from rundlet.client.filebody import FileBody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"
SHORT = "Import the contents from a tarball to create a filesystem image"
ARGS = (1, -1)
FLAGS = (
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Set commit message for imported image"),
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    if len(call.args) > 2:
        # As Docker does it: once there was a tag of its own here.
        call.context.warn(f"WARNING: an import gets one name: {' '.join(call.args[2:])} is not used")
    source = call.args[0]
    query: dict[str, Any] = {
        "fromSrc": "-",
        "message": flags["message"] or None,
        "changes": flags["change"] or None,
        "platform": platform(flags) or None,
    }
    if len(call.args) > 1:
        parse(call.args[1])
        query["repo"] = call.args[1]  # whole: that no digest can be had is the engine's word
    if source.startswith(("http://", "https://")):
        query["fromSrc"] = source
        stream = None
    elif source == "-":
        stream = FileBody(0)
    else:
        stream = FileBody(open_input(source))
    show(call.context.session.stream("POST", "/images/create", query=query, stream=stream), sys.stdout)
    return 0
