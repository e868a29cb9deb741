"""``system df``: a summary, and all objects with -v."""

from __future__ import annotations

from rundlet.cli.format import build_cache, containers, images, volumes
from rundlet.cli.format.table import layout
from rundlet.cli.format.units import human_size
from rundlet.util.template.schema import Type
from rundlet.util.template.values import MISSING, Object, Pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

RUNNING = ("running", "paused", "restarting")

FIELDS = {
    "Active": ("ACTIVE", lambda row, full: row["Active"]),
    "Reclaimable": ("RECLAIMABLE", lambda row, full: row["Reclaimable"]),
    "Size": ("SIZE", lambda row, full: row["Size"]),
    "TotalCount": ("TOTAL", lambda row, full: row["TotalCount"]),
    "Type": ("TYPE", lambda row, full: row["Type"]),
}

RAW_ROWS = (
    ("type", "Type"),
    ("total", "TotalCount"),
    ("active", "Active"),
    ("size", "Size"),
    ("reclaimable", "Reclaimable"),
)


def _row(kind: str, total: int, active: int, size: int, reclaimable: int, *, percent: bool = True) -> dict[str, str]:
    text = human_size(reclaimable, 4)
    if percent and size > 0:
        text += f" ({reclaimable * 100 // size}%)"
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size, 4),
        "Reclaimable": text,
    }


def summary(usage: Any) -> list[dict[str, str]]:
    """One row for each kind of object."""
    found = usage.get("Images") or []
    size = int(usage.get("LayersSize") or 0)
    known = [image for image in found if image["Containers"] and (image.get("SharedSize") or 0) >= 0]
    used = sum(max(0, image["Size"] - (image.get("SharedSize") or 0)) for image in known)
    active = sum(1 for image in found if (image.get("Containers") or 0) > 0)
    rows = [_row("Images", len(found), active, size, max(0, size - used) if found else 0)]
    items = usage.get("Containers") or []
    total = sum(item.get("SizeRw") or 0 for item in items)
    idle = sum(item.get("SizeRw") or 0 for item in items if item.get("State") not in RUNNING)
    running = sum(1 for item in items if item.get("State") in RUNNING)
    rows.append(_row("Containers", len(items), running, total, idle))
    items = usage.get("Volumes") or []
    data = [item.get("UsageData") or {"Size": -1, "RefCount": -1} for item in items]
    total = sum(max(0, entry["Size"]) for entry in data)
    idle = sum(max(0, entry["Size"]) for entry in data if entry["RefCount"] == 0)
    rows.append(_row("Local Volumes", len(items), sum(1 for entry in data if entry["RefCount"] > 0), total, idle))
    items = usage.get("BuildCache") or []
    total = _size_of_cache(items)
    idle = _size_of_cache(item for item in items if not item.get("InUse"))
    in_use = sum(1 for item in items if item.get("InUse"))
    rows.append(_row("Build Cache", len(items), in_use, total, idle, percent=False))
    return rows


def _size_of_cache(items: Iterable[Any]) -> int:
    """Of what is not shared with an image, which counts it."""
    return sum(item.get("Size") or 0 for item in items if not item.get("Shared"))


def _built(usage: Any) -> list[Any]:
    """The build cache: what was never used first, then what was used longest ago."""
    from rundlet.cli.format.times import parse_rfc3339

    def key(item: Any) -> tuple[float, str]:
        return (parse_rfc3339(item["LastUsedAt"]) if item.get("LastUsedAt") else 0.0), item["ID"]

    return sorted(usage.get("BuildCache") or [], key=key)


def _volume_row(item: Any) -> list[str]:
    fields: Any = volumes.FIELDS
    return [str(fields[key][1](item, False)) for key in ("Name", "Links", "Size")]


def verbose_text(usage: Any) -> str:
    """-v."""
    rows = images.first_rows(usage.get("Images") or [])
    table: list[tuple[str, ...]] = [
        ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
    ]
    names = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
    for row in rows:
        table.append(tuple(str(images.FIELDS[name][1](row, False)) for name in names))
    text = "Images space usage:\n\n" + layout(table)
    head = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")
    keys = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    body = [[str(containers.FIELDS[key][1](item, False)) for key in keys] for item in usage.get("Containers") or []]
    for cells, item in zip(body, usage.get("Containers") or [], strict=True):
        cells[4] = human_size(item.get("SizeRw") or 0)
    text += "\nContainers space usage:\n\n" + layout([head, *body])
    listed = [_volume_row(item) for item in usage.get("Volumes") or []]
    text += "\nLocal Volumes space usage:\n\n" + layout([("VOLUME NAME", "LINKS", "SIZE"), *listed])
    built = _built(usage)
    size = human_size(_size_of_cache(built), 4)
    fields: Any = build_cache.FIELDS
    head_cache = [fields[key][0] for key in build_cache.COLUMNS]
    cached = [[str(fields[key][1](item, False)) for key in build_cache.COLUMNS] for item in built]
    return text + f"\nBuild cache usage: {size}\n\n" + layout([head_cache, *cached])


class _Columns(Object):
    """One object as its columns."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns

    def field(self, name: str) -> Any:
        return self._columns.get(name, MISSING)

    def document(self) -> dict[str, Any]:
        return self._columns


class Document(Object):
    """All objects with their columns, for templates and JSON."""

    __slots__ = ("lists",)

    type_name = "*formatter.diskUsageContext"

    def __init__(self, **lists: tuple[str, list[dict[str, Any]]]) -> None:
        """Each with what Docker calls one of its objects."""
        self.lists = {
            name: [Pointer(Type("pointer", f"*{kind}"), _Columns(row)) for row in rows]
            for name, (kind, rows) in lists.items()
        }

    def field(self, name: str) -> Any:
        return self.lists.get(name, MISSING)

    def document(self) -> dict[str, Any]:
        return dict(self.lists)


def verbose_document(usage: Any) -> Document:
    """-v with a format: ``{{range .Images}}{{.Repository}}{{end}}``."""
    running = [
        _columns(item, containers.FIELDS) | {"Size": human_size(item.get("SizeRw") or 0)}
        for item in usage.get("Containers") or []
    ]
    kept = [_columns(item, volumes.FIELDS) for item in usage.get("Volumes") or []]
    return Document(
        Images=("formatter.imageContext", [_image(row) for row in images.first_rows(usage.get("Images") or [])]),
        Containers=("formatter.ContainerContext", running),
        Volumes=("formatter.volumeContext", kept),
        BuildCache=("formatter.buildCacheContext", [_columns(item, build_cache.FIELDS) for item in _built(usage)]),
    )


def _columns(item: Any, fields: Any) -> dict[str, Any]:
    return {name: fields[name][1](item, True) for name in sorted(fields)}


def _image(row: Any) -> dict[str, Any]:
    return _columns(row, images.FIELDS) | {"Digest": "" if row["digest"] == "<none>" else row["digest"]}
