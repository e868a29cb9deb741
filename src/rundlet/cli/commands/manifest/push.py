"""``rundlet manifest push``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.manifests import document, from_base64, image_name, push, read_list, remove_list
from rundlet.cli.reference import ImageName, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] MANIFEST_LIST"
SHORT = "Push a manifest list to a repository"
ARGS = (1, 1)
FLAGS = (
    ("insecure", "", "bool", "Allow push to an insecure registry"),
    ("purge", "p", "bool", "Remove the local manifest list after push"),
)


def run(call: Invocation) -> int:
    context, insecure = call.context, call.flags["insecure"]
    target = image_name(call.args[0])
    images = read_list(context, target)
    if not images:
        raise CommandError(f"No such manifest: {target}")
    for image in images:
        _check(image, target)
    for image in images:
        source = parse(image["Ref"])
        if source.path != target.path:
            copy = ImageName(target.domain, target.path, "", image["Descriptor"]["digest"])
            kind, data = image["Descriptor"]["mediaType"], from_base64(image["Raw"])
            digest = push(context, copy, data, kind, source.name, insecure=insecure)
            context.say(f"Pushed ref {copy} with digest: {digest}")
    made = document(images)
    import json

    # Docker's layout of the document: the same list has the same digest from both command lines.
    text = json.dumps(made, indent="   ", ensure_ascii=False)
    context.say(push(context, target, text.encode(), made["mediaType"], "", insecure=insecure))
    if call.flags["purge"]:
        remove_list(context, target)
    return 0


def _check(image: dict[str, Any], target: ImageName) -> None:
    """Raises CommandError for what can't be in a list."""
    source = parse(image["Ref"])
    platform = image["Descriptor"].get("platform") or {}
    if not platform.get("os") or not platform.get("architecture"):
        raise CommandError(f"manifest {image['Ref']} must have an OS and Architecture to be pushed to a registry")
    if source.domain != target.domain:
        raise CommandError(
            "cannot use source images from a different registry than the target image: "
            f"{source.domain} != {target.domain}"
        )
