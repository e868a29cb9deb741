"""``rundlet manifest inspect``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.manifests import (
    LISTS,
    document,
    entry,
    fetch,
    fetch_image,
    from_base64,
    image_name,
    read_image,
    read_list,
)
from rundlet.cli.reference import ImageName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [MANIFEST_LIST] MANIFEST"
SHORT = "Display an image manifest, or manifest list"
ARGS = (1, 2)
FLAGS = (
    ("insecure", "", "bool", "Allow communication with an insecure registry"),
    ("verbose", "v", "bool", "Output additional info including layers and platform"),
)


def run(call: Invocation) -> int:
    context, insecure, verbose = call.context, call.flags["insecure"], call.flags["verbose"]
    name = image_name(call.args[-1])
    if len(call.args) == 2:
        found = read_image(context, image_name(call.args[0]), name) or fetch_image(context, name, insecure=insecure)
        context.say(_image(found, verbose=verbose))
        return 0
    local = read_list(context, name)
    if local:
        context.say(_indented(local if verbose else document(local), "\t" if verbose else "   "))
        return 0
    remote = fetch(context, name, insecure=insecure)
    if remote is None:
        raise CommandError(f"no such manifest: {name}")
    if remote["Descriptor"]["mediaType"] not in LISTS:
        context.say(_image(remote, verbose=verbose))
    elif verbose:
        context.say(_indented(_children(call, name, remote), "\t"))
    else:
        context.say(_indented(_content(remote), "   "))
    return 0


def _children(call: Invocation, name: ImageName, remote: dict[str, Any]) -> list[dict[str, Any]]:
    """Every manifest that the list names, each as the registry has it."""
    found = []
    for descriptor in _content(remote).get("manifests") or []:
        child = ImageName(name.domain, name.path, "", descriptor["digest"])
        image = fetch_image(call.context, child, insecure=call.flags["insecure"])
        found.append(entry(child, {**image["Descriptor"], **descriptor}, image["Raw"]))
    return found


def _image(found: dict[str, Any], *, verbose: bool) -> str:
    return _indented(found if verbose else _content(found), "\t")


def _content(found: dict[str, Any]) -> Any:
    from rundlet.client.wire import loads

    return loads(from_base64(found["Raw"]))


def _indented(value: Any, indent: str) -> str:
    import json

    return json.dumps(value, indent=indent, ensure_ascii=False)
