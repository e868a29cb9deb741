"""``rundlet image inspect``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
SHORT = "Display detailed information on one or more images"
ARGS = (1, -1)
FLAGS = (
    INSPECT_FORMAT,
    (
        "platform",
        "",
        "string",
        "Inspect a specific platform of the multi-platform image.\nIf the image or the server is "
        "not multi-platform capable, the command will error out if the platform does not "
        "match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
)


def run(call: Invocation) -> int:
    query = None
    if call.flags["platform"]:
        from rundlet.cli.platforms import platform_json

        query = {"platform": platform_json(call.flags["platform"])}

    def find(name: str) -> tuple[Any, str]:
        return call.context.session.get(object_path("image", name, "json"), query), "image.InspectResponse"

    return inspect_all(call.args, find, call.flags["format"])
