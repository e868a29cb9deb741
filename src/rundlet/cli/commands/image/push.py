"""``rundlet push``."""

from __future__ import annotations

import sys

from rundlet.cli.contenttrust import enabled
from rundlet.cli.exit import CommandError
from rundlet.cli.pushing import push
from rundlet.cli.reference import parse

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
    pushed = push(call.context, name, sys.stdout, platform=flags["platform"], quiet=flags["quiet"])
    if enabled(call):
        if not name.tag:
            call.context.warn("No tag specified, skipping trust metadata push")
        else:
            from rundlet.cli.trust.pushing import sign_pushed

            sign_pushed(call.context, name, pushed)
    if flags["quiet"]:
        call.context.say(str(name))
    return 0
