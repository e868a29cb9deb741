"""``rundlet info``."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.shared_flags import INSPECT_FORMAT
from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Display system-wide information"
ARGS = (0, 0)
FLAGS = (INSPECT_FORMAT,)


def run(call: Invocation) -> int:
    from rundlet.cli import catalog
    from rundlet.cli.commands.version import client_version
    from rundlet.cli.plugins import every

    template = call.flags["format"]
    found_plugins = every(call.context, (*catalog.NOUNS, *catalog.SHORT_FORMS))
    client = {**client_version(call), "Plugins": [plugin.shown() for plugin in found_plugins if not plugin.error]}
    error: ClientError | None = None
    found: dict[str, Any] | None = None
    try:
        found = call.context.session.get("/info")
    except ClientError as exc:
        error = exc
    if template:
        client |= {"ApiVersion": "", "Debug": bool(call.context.settings["debug"]), "Warnings": None}
        _formatted(template, found or {}, client, error)
        return 1 if error else 0
    from rundlet.cli.format.info import info_text

    sys.stdout.write(info_text(client, found, debug=call.context.settings["debug"]))
    if error is not None:
        raise CommandError(f"{error}")
    for plugin in found_plugins:
        if plugin.error:
            call.context.warn(f'WARNING: Plugin "{plugin.path}" is not valid: {plugin.error}')
    for warning in (found or {}).get("Warnings") or ():
        call.context.warn(warning)
    return 0


def _formatted(template: str, found: dict[str, Any], client: dict[str, Any], error: ClientError | None) -> None:
    data: dict[str, Any] = {**found, "ClientInfo": client}
    if error is not None:
        data["ServerErrors"] = [str(error)]
    from rundlet.cli.format.templated import compile_format
    from rundlet.cli.format.types import decoded

    compile_format("{{json .}}" if template == "json" else template).print(decoded("system.dockerInfo", data))
