"""The columns of the build cache, as ``system df -v`` shows it."""

from __future__ import annotations

import time

from rundlet.cli.format.units import human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared")
SHORT = 12


def _id(item: Any, full: bool) -> str:
    """With an asterisk while a container or an image uses it."""
    text = item.get("ID", "") if full else item.get("ID", "")[:SHORT]
    return f"{text}*" if item.get("InUse") else text


def _since(key: str) -> Any:
    def compute(item: Any, full: bool) -> str:
        from rundlet.cli.format.times import parse_rfc3339

        text = item.get(key)
        return human_duration(time.time() - parse_rfc3339(text)) + " ago" if text else ""

    return compute


def _at(key: str) -> Any:
    def compute(item: Any, full: bool) -> str:
        text = item.get(key)
        return f"{text[:10]} {text[11:].removesuffix('Z')} +0000 UTC" if text else ""

    return compute


def _truth(key: str) -> Any:
    return lambda item, full: "true" if item.get(key) else "false"


FIELDS = {
    "CacheType": ("CACHE TYPE", lambda item, full: item.get("Type", "")),
    "CreatedAt": ("CREATED AT", _at("CreatedAt")),
    "CreatedSince": ("CREATED", _since("CreatedAt")),
    "Description": ("DESCRIPTION", lambda item, full: item.get("Description", "")),
    "ID": ("CACHE ID", _id),
    "InUse": ("IN USE", _truth("InUse")),
    "LastUsedAt": ("LAST USED AT", _at("LastUsedAt")),
    "LastUsedSince": ("LAST USED", _since("LastUsedAt")),
    "Parent": ("PARENT", lambda item, full: ", ".join(item.get("Parents", ()))),
    "Shared": ("SHARED", _truth("Shared")),
    "Size": ("SIZE", lambda item, full: human_size(item.get("Size") or 0, 3)),
    "UsageCount": ("USAGE", lambda item, full: str(item.get("UsageCount", 0))),
}
