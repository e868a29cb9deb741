"""The columns of ``image layers``."""

from __future__ import annotations

import sys

from rundlet.cli.format.containers import short_id
from rundlet.cli.format.table import ellipsis
from rundlet.cli.format.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COLUMNS = ("Layer", "CreatedBy", "Size", "Added", "Changed", "Deleted", "Wasted")
CREATED_BY_WIDTH = 45
_LETTERS = "CAD"


def _layer(item: Any, full: bool) -> str:
    return str(item["DiffID"]) if full else short_id(item["DiffID"])


def _by(item: Any, full: bool) -> str:
    text = str(item["CreatedBy"]).replace("\t", " ")
    return text if full else ellipsis(text, CREATED_BY_WIDTH)


FIELDS: dict[str, tuple[str, Callable[[Any, bool], Any]]] = {
    "Layer": ("LAYER", _layer),
    "CreatedBy": ("CREATED BY", _by),
    "Size": ("SIZE", lambda item, full: human_size(item["Size"])),
    "Added": ("ADDED", lambda item, full: str(item["Added"])),
    "Changed": ("CHANGED", lambda item, full: str(item["Changed"])),
    "Deleted": ("DELETED", lambda item, full: str(item["Deleted"])),
    "Wasted": ("WASTED", lambda item, full: human_size(item["Wasted"])),
}


def efficiency(layers: list[Any]) -> str:
    """One line about all layers together."""
    size = sum(layer["Size"] for layer in layers)
    wasted = sum(layer["Wasted"] for layer in layers)
    share = 100.0 if not size else 100.0 * (1 - wasted / size)
    return f"\nTotal: {human_size(size)}, of which {human_size(wasted)} are wasted ({share:.1f} % efficient)"


def print_files(layers: list[Any]) -> None:
    """Each layer's files below its name."""
    for layer in layers:
        by = str(layer["CreatedBy"]).replace("\n", " ")
        sys.stdout.write(f"{short_id(layer['DiffID'])}  {human_size(layer['Size'])}  {by}".rstrip() + "\n")
        for change in layer.get("Files") or ():
            wasted = f"  (hides {human_size(change['Wasted'])})" if change.get("Wasted") else ""
            sys.stdout.write(
                f"  {_LETTERS[change['Kind']]} {human_size(change['Size']):>8}  {change['Path']}{wasted}\n"
            )
