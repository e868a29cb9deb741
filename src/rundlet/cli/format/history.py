"""The columns of ``history``."""

from __future__ import annotations

import time

from rundlet.cli.format.containers import short_id
from rundlet.cli.format.table import ellipsis
from rundlet.cli.format.units import human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CREATED_BY_WIDTH = 45


def _id(item: Any, full: bool) -> str:
    identifier = str(item["Id"])
    return identifier if full or identifier == "<missing>" else short_id(identifier)


def _since(item: Any, full: bool) -> str:
    created = item.get("Created") or 0
    return human_duration(time.time() - created) + " ago" if created > 0 else "N/A"


def _at(item: Any, full: bool) -> str:
    from rundlet.cli.format.times import rfc3339

    return rfc3339(item.get("Created") or 0)


def _by(item: Any, full: bool) -> str:
    text = str(item.get("CreatedBy") or "").replace("\t", " ")
    return text if full else ellipsis(text, CREATED_BY_WIDTH)


def fields(*, human: bool) -> dict[str, tuple[str, Callable[[Any, bool], Any]]]:
    """``human``: sizes and times in words."""
    return {
        "Comment": ("COMMENT", lambda item, full: item.get("Comment") or ""),
        "CreatedAt": ("CREATED AT", _at),
        "CreatedBy": ("CREATED BY", _by),
        "CreatedSince": ("CREATED", _since if human else _at),
        "ID": ("IMAGE", _id),
        "Size": (
            "SIZE",
            lambda item, full: human_size(item.get("Size", 0)) if human else str(item.get("Size", 0)),
        ),
    }
