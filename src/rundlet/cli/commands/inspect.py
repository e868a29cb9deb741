"""``rundlet inspect``: any object, tried as container, image, network and volume."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT
from rundlet.client.errors import ApiError
from rundlet.client.wire import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NAME|ID [NAME|ID...]"
SHORT = "Return low-level information on Docker objects"
ARGS = (1, -1)
FLAGS = (
    INSPECT_FORMAT,
    ("size", "s", "bool", "Display total file sizes if the type is container"),
    ("type", "", "string", "Only inspect objects of the given type"),
)
PATHS = {
    "container": ("/containers/{}/json", "container.InspectResponse"),
    "image": ("/images/{}/json", "image.InspectResponse"),
    "network": ("/networks/{}", "network.Inspect"),
    "volume": ("/volumes/{}", "volume.Volume"),
}
NOT_SUPPORTED = ("config", "node", "plugin", "secret", "service", "task")


def run(call: Invocation) -> int:
    flags = call.flags
    kind = flags["type"]
    if kind in NOT_SUPPORTED:
        raise CommandError(f"inspecting a {kind} is not supported by Rundlet")
    if call.given("type") and kind not in PATHS:
        from rundlet.util.template.lexer import go_quote

        known = ", ".join(f'"{name}"' for name in sorted((*PATHS, *NOT_SUPPORTED)))
        problem = f"unknown type: {go_quote(kind)}" if kind else "type is empty"
        raise CommandError(f"{problem}: must be one of {known}")
    kinds = [kind] if kind else list(PATHS)

    def find(name: str) -> tuple[Any, str]:
        for one in kinds:
            query = {"size": True} if flags["size"] and one == "container" else None
            path, type_name = PATHS[one]
            try:
                return call.context.session.get(path.format(quote(name, "/:@")), query), type_name
            except ApiError as exc:
                if kind or exc.status not in (400, 404):
                    raise
        raise CommandError(f"Error: No such object: {name}")

    return inspect_all(call.args, find, flags["format"])
