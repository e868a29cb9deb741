"""The columns of ``images``: one row per repository and tag."""

from __future__ import annotations

import time

from rundlet.cli.format.containers import short_id
from rundlet.cli.format.units import human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NONE = "<none>"


def sorted_rows(items: list[Any], *, digests: bool, everything: bool) -> list[dict[str, Any]]:
    """(repository, tag, digest) of every image, in the engine's order."""
    rows: list[dict[str, Any]] = []
    for item in items:
        tags = [name for name in item.get("RepoTags") or () if name != "<none>:<none>"]
        found = [name for name in item.get("RepoDigests") or () if name != "<none>@<none>"]
        by_repository: dict[str, list[str]] = {}
        for name in found:
            repository, _, digest = name.rpartition("@")
            by_repository.setdefault(repository, []).append(digest)
        used: set[str] = set()
        for name in tags:
            repository, _, tag = name.rpartition(":")
            used.add(repository)
            for digest in (by_repository.get(repository) or [NONE]) if digests else [NONE]:
                rows.append({"item": item, "repository": repository, "tag": tag, "digest": digest})
        for repository, values in by_repository.items():
            if repository not in used:
                for digest in values if digests else [""]:
                    rows.append({"item": item, "repository": repository, "tag": NONE, "digest": digest})
        if not tags and not found:
            rows.append({"item": item, "repository": NONE, "tag": NONE, "digest": NONE})
    return rows


def first_rows(items: list[Any]) -> list[dict[str, Any]]:
    """One row of every image, of its first name, as ``system df -v`` has it."""
    first = [item | {"RepoTags": (item.get("RepoTags") or [])[:1], "RepoDigests": []} for item in items]
    return sorted_rows(first, digests=False, everything=False)


def _id(row: Any, full: bool) -> str:
    return str(row["item"]["Id"]) if full else short_id(row["item"]["Id"])


def _since(row: Any, full: bool) -> str:
    created = row["item"].get("Created") or 0
    if created <= 0:
        return "N/A"
    return human_duration(time.time() - created) + " ago"


def _at(row: Any, full: bool) -> str:
    from rundlet.cli.format.times import go_time

    return go_time(row["item"].get("Created") or 0)


def _count(key: str) -> Any:
    def compute(row: Any, full: bool) -> str:
        value = row["item"].get(key, -1)
        return "N/A" if value is None or value < 0 else str(value)

    return compute


def _bytes(key: str, digits: int = 3) -> Any:
    def compute(row: Any, full: bool) -> str:
        value = row["item"].get(key)
        return "N/A" if value is None or value < 0 else human_size(value, digits)

    return compute


def _unique(row: Any, full: bool) -> str:
    """What no other image has; the engine says what is shared where it was asked to find out."""
    size, shared = row["item"].get("Size"), row["item"].get("SharedSize")
    return "N/A" if size is None or shared is None or shared < 0 else human_size(size - shared, 4)


FIELDS = {
    "Containers": ("CONTAINERS", _count("Containers")),
    "CreatedAt": ("CREATED AT", _at),
    "CreatedSince": ("CREATED", _since),
    "Digest": ("DIGEST", lambda row, full: row["digest"]),
    "ID": ("IMAGE ID", _id),
    "Repository": ("REPOSITORY", lambda row, full: row["repository"]),
    "SharedSize": ("SHARED SIZE", _bytes("SharedSize", 4)),
    "Size": ("SIZE", _bytes("Size")),
    "Tag": ("TAG", lambda row, full: row["tag"]),
    "UniqueSize": ("UNIQUE SIZE", _unique),
    "VirtualSize": ("SIZE", lambda row, full: human_size(row["item"].get("Size", 0), 4)),
}


def raw(*, digests: bool) -> tuple[tuple[str, str], ...]:
    """What ``--format raw`` shows."""
    middle = (("digest", "Digest"),) if digests else ()
    last = (("image_id", "ID"), ("created_at", "CreatedAt"), ("virtual_size", "Size"))
    return (("repository", "Repository"), ("tag", "Tag"), *middle, *last)


def columns(*, digests: bool) -> tuple[str, ...]:
    """The default table's."""
    middle = ("Digest",) if digests else ()
    return ("Repository", "Tag", *middle, "ID", "CreatedSince", "Size")
