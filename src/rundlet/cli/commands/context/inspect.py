"""``rundlet context inspect``."""

from __future__ import annotations

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore
from rundlet.cli.inspecting import inspect_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [CONTEXT] [CONTEXT...]"
SHORT = "Display detailed information on one or more contexts"
ARGS = (0, -1)
TYPE = "context.contextWithTLSListing"
FLAGS = (("format", "f", "string", "Format output using a custom template:\n'json':             Print in JSON format"),)


def run(call: Invocation) -> int:
    store = ContextStore(call.context.config_directory)
    names = call.args or [call.context.context_name()]
    return inspect_all(names, lambda name: (_found(call, store, name), TYPE), call.flags["format"], made_here=True)


def _found(call: Invocation, store: ContextStore, name: str) -> dict[str, Any]:
    if name == context_store.DEFAULT:
        document = context_store.default(call.context.default_host()).document
        return document | {"TLSMaterial": {}, "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"}}
    entry = store.get(name)
    storage = {"MetadataPath": store.meta_directory(name), "TLSPath": store.tls_directory(name)}
    material = {"docker": sorted(entry.tls)} if entry.tls else {}
    return {
        "Name": entry.name,
        "Metadata": entry.document.get("Metadata") or {},
        "Endpoints": entry.document.get("Endpoints") or {},
        "TLSMaterial": material,
        "Storage": storage,
    }
