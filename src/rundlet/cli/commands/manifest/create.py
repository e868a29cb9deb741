"""``rundlet manifest create``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.manifests import fetch_image, image_name, read_image, read_list, write_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "MANIFEST_LIST MANIFEST [MANIFEST...]"
SHORT = "Create a local manifest list for annotating and pushing to a registry"
ARGS = (2, -1)
FLAGS = (
    ("amend", "a", "bool", "Amend an existing manifest list"),
    ("insecure", "", "bool", "Allow communication with an insecure registry"),
)


def run(call: Invocation) -> int:
    context, insecure = call.context, call.flags["insecure"]
    name = image_name(call.args[0], "error parsing name for manifest list")
    if read_list(context, name) and not call.flags["amend"]:
        raise CommandError("refusing to amend an existing manifest list with no --amend flag")
    images = [image_name(text) for text in call.args[1:]]
    # All are looked up before the first is written: a misspelt one leaves no half of a list.
    found = [read_image(context, name, image) or fetch_image(context, image, insecure=insecure) for image in images]
    for image in found:
        write_image(context, name, image)
    context.say(f"Created manifest list {name}")
    return 0
