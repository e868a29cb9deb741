"""``rundlet push``."""

from __future__ import annotations

import sys

from rundlet.cli.credentials import encode, registry_headers
from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.cli.reference import parse
from rundlet.client.wire import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NAME[:TAG]"
SHORT = "Upload an image to a registry"
ARGS = (1, 1)
FLAGS = (
    ("all-tags", "a", "bool", "Push all tags of an image to the repository"),
    ("disable-content-trust", "", "bool", "Skip image signing (default true)", True),
    (
        "platform",
        "",
        "string",
        "Push a platform-specific manifest as a single-platform image to the registry.\nImage "
        "index won't be pushed, meaning that other manifests, including attestations won't be "
        "preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    ("quiet", "q", "bool", "Suppress verbose output"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    if not flags["disable-content-trust"]:
        raise CommandError("--disable-content-trust=false (content trust) is not supported by Rundlet")
    name = parse(call.args[0])
    if name.digest:
        raise CommandError("cannot push a digest reference")
    if flags["all-tags"]:
        if name.tag:
            raise CommandError("tag can't be used with --all-tags/-a")
    elif not name.tag:
        name = name.with_default_tag()
        if not flags["quiet"]:
            call.context.say("Using default tag: latest")
    sys.stdout.flush()
    # The API wants the header on every push, even to a registry that asks for nothing.
    headers = registry_headers(call.context, name.domain) or {"X-Registry-Auth": encode({})}
    query = {"tag": name.tag or None}
    if flags["platform"]:
        from rundlet.cli.commands.image.inspect import platform_json

        query["platform"] = platform_json(flags["platform"])
    path = f"/images/{quote(name.familiar_name, '/:')}/push"
    messages = call.context.session.stream("POST", path, query=query, headers=headers)
    show(messages, sys.stdout, quiet=flags["quiet"])
    if flags["quiet"]:
        call.context.say(str(name))
    return 0
