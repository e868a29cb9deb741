"""``rundlet pull``."""

from __future__ import annotations

import sys

from rundlet.cli.contenttrust import enabled
from rundlet.cli.exit import CommandError
from rundlet.cli.pulling import pull_or_explain
from rundlet.cli.reference import parse
from rundlet.cli.variables import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
SHORT = "Download an image from a registry"
ARGS = (1, 1)
FLAGS = (
    ("all-tags", "a", "bool", "Download all tagged images in the repository"),
    ("disable-content-trust", "", "bool", "Skip image verification (default true)", True),
    ("platform", "", "string", "Set platform if server is multi-platform capable"),
    ("quiet", "q", "bool", "Suppress verbose output"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    name = parse(call.args[0])
    if flags["all-tags"]:
        if name.tag or name.digest:
            raise CommandError("tag can't be used with --all-tags/-a")
    elif not (name.tag or name.digest):
        name = name.with_default_tag()
        if not flags["quiet"]:
            call.context.say("Using default tag: latest")
    sys.stdout.flush()
    if enabled(call) and not name.digest:
        from rundlet.cli.trust.pulling import pull_signed

        pull_signed(
            call.context,
            name,
            sys.stdout,
            platform=platform(flags),
            quiet=flags["quiet"],
            all_tags=flags["all-tags"],
        )
    else:
        pull_or_explain(call.context, name, sys.stdout, platform=platform(flags), quiet=flags["quiet"])
    call.context.say(str(name))
    return 0
