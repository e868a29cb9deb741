"""``images --tree``: one line per image and, below it, one per platform."""

from __future__ import annotations

import sys

from rundlet.cli.format.table import layout
from rundlet.cli.format.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "IN USE")


def _platforms(item: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for manifest in item.get("Manifests") or ():
        data = manifest.get("ImageData")
        if not data:
            continue
        platform = data.get("Platform") or {}
        name = "/".join(filter(None, (platform.get("os"), platform.get("architecture"), platform.get("variant"))))
        size = manifest.get("Size") or {}
        rows.append(
            (
                name,
                manifest["ID"].rpartition(":")[2][:12],
                human_size(size.get("Total", 0)),
                human_size(size.get("Content", 0)),
                "U" if data.get("Containers") else "",
            )
        )
    return rows


def print_tree(items: list[Any]) -> None:
    rows: list[tuple[str, ...]] = [HEADER]
    for item in items:
        identifier = item["Id"].rpartition(":")[2][:12]
        size = human_size(item.get("Size", 0))
        used = "U" if (item.get("Containers") or 0) > 0 else ""
        platforms = _platforms(item)
        content = human_size(sum((m.get("Size") or {}).get("Content", 0) for m in item.get("Manifests") or ()))
        for name in item.get("RepoTags") or ["<untagged>"]:
            rows.append((name, identifier, size, content, used))
            for position, platform in enumerate(platforms):
                branch = "└─ " if position == len(platforms) - 1 else "├─ "
                rows.append((branch + platform[0], *platform[1:]))
    sys.stdout.write(layout(rows))
