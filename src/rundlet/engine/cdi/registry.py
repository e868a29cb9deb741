"""The specifications on this machine, and the devices they describe. See: CNCF CDI specification."""

import json
import os
from collections.abc import Sequence
from typing import Any, Final

from rundlet.engine.cdi import yaml
from rundlet.errors import InternalError

_ENDINGS: Final = (".json", ".yaml", ".yml")


class CdiError(InternalError):
    """A device that no specification describes, or one that we can't carry out."""

    reason = "cdi-failed"

    def __init__(self, why: str) -> None:
        super().__init__(f"CDI device injection failed: {why}")


def load(directories: Sequence[str]) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """(edits by qualified name: the specification's own, then the device's; what could not be read).

    A later directory wins.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    for directory in directories:
        for path in _files(directory):
            try:
                found |= _devices(_read(path))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                problems.append(f"{path}: {error}")
    return found, problems


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(_ENDINGS)]


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    document = json.loads(text) if path.endswith(".json") else yaml.parse(text)
    if not isinstance(document, dict):
        raise ValueError("want an object")
    return document


def _devices(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    kind = document["kind"]
    vendor, slash, name = kind.partition("/")
    if not (slash and vendor and name):
        raise ValueError(f"invalid kind {kind!r}")
    common = document.get("containerEdits") or {}
    return {
        f"{kind}={device['name']}": [common, device.get("containerEdits") or {}]
        for device in document.get("devices") or ()
    }
