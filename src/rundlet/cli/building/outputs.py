"""``--output``: what a build leads to, and writing what comes back to this side."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.options.mounts import split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.client.session import Session

LOCAL = ("local", "tar", "oci", "docker")
"""Types whose result comes to the client (docker only with dest=)."""
_TYPES = ("local", "tar", "oci", "docker", "image", "registry", "cacheonly")


class Output:
    """One ``--output``. ``attributes`` are the engine's business, ``destination`` is ours: "" for none, ``-`` for
    standard output."""

    __slots__ = ("attributes", "destination", "type")

    def __init__(self, kind: str, attributes: dict[str, str], destination: str) -> None:
        self.type = kind
        self.attributes = attributes
        self.destination = destination

    @property
    def comes_back(self) -> bool:
        return bool(self.destination)

    def wire(self) -> dict[str, Any]:
        """As the API's ``outputs`` has it."""
        return {"Type": self.type, "Attrs": self.attributes}


def parse_output(text: str) -> Output:
    """``DIR``, ``-`` or ``type=…,dest=…``. Raises CommandError."""
    fields = split_csv(text)
    if len(fields) == 1 and "=" not in text:
        return Output("tar", {}, "-") if text == "-" else Output("local", {}, text)
    attributes: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise CommandError(f"ERROR: failed to build: invalid value {field}")
        attributes[key.lower()] = value
    kind = attributes.pop("type", "")
    if not kind:
        raise CommandError("ERROR: failed to build: type is required for output")
    if kind not in _TYPES:
        raise CommandError(f"ERROR: failed to build: exporter {kind} could not be found")
    destination = attributes.pop("dest", "") or attributes.pop("destination", "")
    if kind in ("image", "registry", "cacheonly"):
        if destination:
            raise CommandError(f"ERROR: failed to build: dest is not supported by output type {kind}")
        if kind == "registry":
            kind, attributes["push"] = "image", "true"
        return Output(kind, attributes, "")
    if kind == "local" and not destination:
        raise CommandError("ERROR: failed to build: dest is required for local output")
    if kind in ("tar", "oci") and not destination:
        destination = "-"
    if destination == "-" and kind == "local":
        raise CommandError("ERROR: failed to build: local exporter cannot write to stdout")
    if destination == "-" and os.isatty(1):
        raise CommandError(
            f"ERROR: failed to build: dest file is required for {kind} exporter. refusing to write to console"
        )
    if destination not in ("", "-"):
        _check(kind, destination)
    return Output(kind, attributes, destination)


def _check(kind: str, destination: str) -> None:
    if kind != "local" and os.path.isdir(destination):
        raise CommandError(
            f"ERROR: failed to build: destination directory {destination} can't be a file of output type {kind}"
        )
    if kind == "local" and os.path.exists(destination) and not os.path.isdir(destination):
        raise CommandError(f"ERROR: failed to build: {destination}: not a directory")


def fetch(session: Session, output: Output, url: str, directory: str = "") -> None:
    """Write one result where it was asked for; files to ``directory`` there. Raises CommandError, ApiError."""
    if output.type == "local":
        from rundlet.cli.unpacking import Pieces, unpack

        if "/" in directory or directory in (".", ".."):
            raise CommandError(f"ERROR: failed to build: refusing to write to {directory} at {output.destination}")
        destination = os.path.join(output.destination, directory) if directory else output.destination
        os.makedirs(destination, exist_ok=True)
        response = session.request("GET", url)
        unpack(Pieces(response.chunks()), destination, lambda name: name, owners=os.geteuid() == 0)
        return
    from rundlet.cli.saving import save_body

    sys.stdout.flush()
    destination = "" if output.destination == "-" else output.destination
    if destination:
        os.makedirs(os.path.dirname(destination) or ".", exist_ok=True)
    save_body(lambda: session.request("GET", url), destination, "build")
