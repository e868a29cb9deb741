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
    standard output. ``files``: what comes goes to the directory ``destination`` file by file."""

    __slots__ = ("attributes", "destination", "files", "type")

    def __init__(self, kind: str, attributes: dict[str, str], destination: str, *, files: bool = False) -> None:
        self.type = kind
        self.attributes = attributes
        self.destination = destination
        self.files = files

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
        return Output("tar", {}, "-") if text == "-" else Output("local", {}, text, files=True)
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
    archive = kind != "local" and (kind == "tar" or _is_true(attributes.pop("tar", "true")))
    if kind in ("tar", "oci") and archive and not destination:
        destination = "-"
    if archive:
        _check_file(kind, destination)
    else:
        _check_directory(kind, destination)
    return Output(kind, attributes, destination, files=not archive)


def _is_true(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise CommandError(f"ERROR: failed to build: invalid value tar={text}")


def _check_file(kind: str, destination: str) -> None:
    if destination == "-" and os.isatty(1):
        why = f"dest file is required for {kind} exporter. refusing to write to console"
    elif os.path.isdir(destination):
        why = f"destination file {destination} is a directory"
    else:
        return
    raise CommandError(f"ERROR: failed to build: {why}")


def _check_directory(kind: str, destination: str) -> None:
    if not destination:
        why = f"dest is required for {kind} exporter"
    elif destination == "-":
        why = f"dest cannot be stdout for {kind} exporter"
    elif os.path.lexists(destination) and not os.path.isdir(destination):
        why = f"destination directory {destination} is a file"
    else:
        return
    raise CommandError(f"ERROR: failed to build: {why}")


def fetch(session: Session, output: Output, url: str) -> None:
    """Write one result where it was asked for. Raises CommandError, ApiError."""
    if output.files:
        from rundlet.cli.unpacking import Pieces, unpack

        os.makedirs(output.destination, exist_ok=True)
        response = session.request("GET", url)
        unpack(Pieces(response.chunks()), output.destination, lambda name: name, owners=os.geteuid() == 0)
        return
    from rundlet.cli.saving import save_body

    sys.stdout.flush()
    destination = "" if output.destination == "-" else output.destination
    if destination:
        os.makedirs(os.path.dirname(destination) or ".", exist_ok=True)
    save_body(lambda: session.request("GET", url), destination, "build", mode=0o666)
