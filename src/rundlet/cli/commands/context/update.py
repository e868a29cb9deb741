"""``rundlet context update``."""

from __future__ import annotations

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTEXT"
SHORT = "Update a context"
ARGS = (1, 1)
FLAGS = (
    ("description", "", "string", "Description of the context"),
    ("docker", "", "string", "set the docker endpoint"),
)


def run(call: Invocation) -> int:
    store, name, flags = ContextStore(call.context.config_directory), call.args[0], call.flags
    context_store.check_name(name)
    entry = store.get(name)
    document, tls = dict(entry.document), entry.tls
    if flags["description"]:
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": flags["description"]}
    if flags["docker"]:
        options = context_store.endpoint_options(flags["docker"])
        host = options.get("host") or entry.host
        context_store.check_host(host)
        skip = options.get("skip-tls-verify", "").lower() in ("1", "t", "true")
        endpoints = dict(document.get("Endpoints") or {})
        endpoints["docker"] = {"Host": host, "SkipTLSVerify": skip}
        document["Endpoints"], tls = endpoints, context_store.certificates(options)
    store.put(Entry(document, tls))
    call.context.say(name)
    call.context.warn(f'Successfully updated context "{name}"')
    return 0
