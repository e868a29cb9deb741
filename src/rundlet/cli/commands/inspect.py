"""``rundlet inspect``: any object, tried as container, image, network and volume."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.exit import CommandError
from rundlet.cli.inspecting import inspect_all
from rundlet.cli.shared_flags import INSPECT_FORMAT
from rundlet.client.errors import ApiError

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
KINDS = {
    "container": (("json",), "container.InspectResponse"),
    "image": (("json",), "image.InspectResponse"),
    "network": ((), "network.Inspect"),
    "volume": ((), "volume.Volume"),
}
NOT_SUPPORTED = ("config", "node", "plugin", "secret", "service", "task")


def run(call: Invocation) -> int:
    flags = call.flags
    kind = flags["type"]
    if call.given("type") and kind not in (*KINDS, *NOT_SUPPORTED):
        from rundlet.util.template.lexer import go_quote

        known = ", ".join(f'"{name}"' for name in sorted((*KINDS, *NOT_SUPPORTED)))
        problem = f"unknown type: {go_quote(kind)}" if kind else "type is empty"
        raise CommandError(f"{problem}: must be one of {known}")
    kinds = [kind] if kind else list(KINDS)

    def find(name: str) -> tuple[Any, str]:
        if kind in NOT_SUPPORTED:
            raise CommandError(f"inspecting a {kind} is not supported by Rundlet")
        for one in kinds:
            query = {"size": True} if flags["size"] and one == "container" else None
            rest, type_name = KINDS[one]
            try:
                found = call.context.session.get(object_path(one, name, *rest), query)
            except ApiError as exc:
                if kind or exc.status not in (400, 404):
                    raise
                continue
            if flags["size"] and one != "container":
                call.context.warn(f"WARNING: --size ignored for {one}")
            return found, type_name
        raise CommandError(f"Error: No such object: {name}")

    return inspect_all(call.args, find, flags["format"])
