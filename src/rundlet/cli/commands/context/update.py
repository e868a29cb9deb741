"""``rundlet context update``."""

from __future__ import annotations

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore, Entry
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTEXT"
SHORT = "Update a context"
ARGS = (1, 1)
FLAGS = (
    ("description", "", "string", "Description of the context"),
    ("docker", "", "stringToString", "set the docker endpoint (default [])"),
)


def _source(call: Invocation, store: ContextStore, name: str) -> Entry:
    """The context whose endpoint is to be this one's, too. Raises CommandError."""
    if name == context_store.DEFAULT:
        return context_store.default(call.context.default_host())
    try:
        return store.get(name)
    except CommandError as exc:
        raise CommandError(f"unable to create docker endpoint config: {exc.message}") from exc


def run(call: Invocation) -> int:
    store, name, flags = ContextStore(call.context.config_directory), call.args[0], call.flags
    context_store.check_name(name)
    entry = store.get(name)
    document, tls = dict(entry.document), entry.tls
    if flags["description"]:
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": flags["description"]}
    if flags["docker"]:
        options = context_store.endpoint_options(flags["docker"])
        if "from" in options:
            source = _source(call, store, options["from"])
            docker, tls = source.docker, source.tls
        else:
            host = options.get("host") or entry.host
            context_store.check_host(host)
            docker = {"Host": host, "SkipTLSVerify": context_store.skips_verification(options)}
            tls = context_store.certificates(options)
        document["Endpoints"] = {**(document.get("Endpoints") or {}), "docker": docker}
    store.put(Entry(document, tls))
    call.context.say(name)
    call.context.warn(f'Successfully updated context "{name}"')
    return 0
