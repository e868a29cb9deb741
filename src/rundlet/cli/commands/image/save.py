"""``rundlet save``."""

from __future__ import annotations

from rundlet.cli.saving import save_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Save one or more images to a tar archive (streamed to STDOUT by default)"
ARGS = (1, -1)
FLAGS = (
    ("output", "o", "string", "Write to a file, instead of STDOUT"),
    (
        "platform",
        "",
        "string",
        'Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
)


def run(call: Invocation) -> int:
    query: dict[str, Any] = {"names": call.args}
    if call.flags["platform"]:
        from rundlet.cli.platforms import platforms_json

        query["platform"] = platforms_json(call.flags["platform"], "invalid platform: ")
    save_body(
        lambda: call.context.session.request("GET", "/images/get", query=query), call.flags["output"], "save image"
    )
    return 0
