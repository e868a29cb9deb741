"""``rundlet context create``."""

from __future__ import annotations

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore, Entry
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTEXT"
SHORT = "Create a context"
ARGS = (1, 1)
FLAGS = (
    ("description", "", "string", "Description of the context"),
    ("docker", "", "stringToString", "set the docker endpoint (default [])"),
    ("from", "", "string", "create context from a named context"),
)


def run(call: Invocation) -> int:
    store, name, flags = ContextStore(call.context.config_directory), call.args[0], call.flags
    context_store.check_name(name)
    if store.exists(name):
        raise CommandError(f'context "{name}" already exists')
    if flags["from"] and flags["docker"]:
        raise CommandError("cannot use --docker flag when --from is set")
    options = context_store.endpoint_options(flags["docker"]) if flags["docker"] else {}
    source = flags["from"] or options.get("from", "")
    if not source and not flags["docker"]:
        source = call.context.context_name()  # without a word about it, a copy of the one in use
    if source:
        store.put(_copied(call, store, name, source))
    else:
        store.put(_new(name, options, flags["description"]))
    call.context.say(name)
    call.context.warn(f'Successfully created context "{name}"')
    return 0


def _new(name: str, options: dict[str, str], description: str) -> Entry:
    if not options.get("host"):
        raise CommandError("docker endpoint configuration is required")
    context_store.check_host(options["host"])
    skip = context_store.skips_verification(options)
    document = context_store.made(name, options["host"], description=description, skip_verify=skip)
    return Entry(document, context_store.certificates(options))


def _copied(call: Invocation, store: ContextStore, name: str, source: str) -> Entry:
    description = call.flags["description"]
    if source == context_store.DEFAULT:
        found = context_store.default(call.context.default_host())
        description = description or context_store.DESCRIPTION
    else:
        found = store.get(source)
    document = {**found.document, "Name": name}
    if description:
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": description}
    return Entry(document, found.tls)
