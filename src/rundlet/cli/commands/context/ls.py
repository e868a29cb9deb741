"""``rundlet context ls``."""

from __future__ import annotations

import os

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore
from rundlet.cli.exit import CommandError
from rundlet.cli.format.natural import natural
from rundlet.cli.format.rows import print_rows
from rundlet.cli.shared_flags import TABLE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "List contexts"
ARGS = (0, 0)
FLAGS = (TABLE_FORMAT, ("quiet", "q", "bool", "Only show context names"))
# Docker has no title for the field of the current one.
COLUMNS = ("Name", "Description", "DockerEndpoint", "Error")
FIELDS = {
    "Current": ("<no value>", lambda item, full: item["Current"]),
    "Description": ("DESCRIPTION", lambda item, full: item["Description"]),
    "DockerEndpoint": ("DOCKER ENDPOINT", lambda item, full: item["DockerEndpoint"]),
    "Error": ("ERROR", lambda item, full: item["Error"]),
    "Name": ("NAME", lambda item, full: item["Name"]),
}


def run(call: Invocation) -> int:
    current = call.context.context_name()
    items = [_default(call, current)]
    store = ContextStore(call.context.config_directory)
    items += [_item(store, name, current) for name in store.names()]
    if all(item["Name"] != current for item in items):
        error = f'context "{current}": context not found'
        items.append({"Name": current, "Description": "", "DockerEndpoint": "", "Error": error, "Current": True})
    items.sort(key=lambda item: natural(str(item["Name"])))
    quiet, template = call.flags["quiet"], call.flags["format"]
    if not quiet and template in ("", "table"):
        for item in items:
            item["Name"] += " *" if item["Current"] else ""
    kind = "formatter.clientContextContext"
    print_rows(call.context, items, FIELDS, COLUMNS, template=template, quiet="Name" if quiet else "", type_name=kind)
    if os.environ.get("DOCKER_HOST"):
        call.context.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the "
            "global --context flag, or unset DOCKER_HOST environment variable."
        )
    return 0


def _default(call: Invocation, current: str) -> dict[str, Any]:
    return {
        "Name": context_store.DEFAULT,
        "Description": context_store.DESCRIPTION,
        "DockerEndpoint": call.context.default_host(),
        "Error": "",
        "Current": current == context_store.DEFAULT,
    }


def _item(store: ContextStore, name: str, current: str) -> dict[str, Any]:
    item = {"Name": name, "Description": "", "DockerEndpoint": "", "Error": "", "Current": name == current}
    try:
        entry = store.get(name)
    except CommandError as exc:
        return item | {"Error": exc.message}
    return item | {"Description": entry.description, "DockerEndpoint": entry.host}
