"""``rundlet builder du``."""

from __future__ import annotations

import sys
import time

from rundlet.cli.format.table import layout
from rundlet.cli.format.times import parse_rfc3339
from rundlet.cli.format.units import human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Show what the build cache takes up"
ARGS = (0, 0)
FLAGS = (("verbose", "", "bool", "Provide a more verbose output"),)


def run(call: Invocation) -> int:
    usage = call.context.session.get("/system/df", {"type": "build-cache"})
    records = usage.get("BuildCache") or []
    if call.flags["verbose"]:
        sys.stdout.write("".join(_record(record) for record in records))
    elif records:
        rows = [("ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"), *(_row(record) for record in records)]
        sys.stdout.write(layout(rows))
    sys.stdout.write(_sums(records))
    return 0


def _size(record: dict[str, Any]) -> int:
    return int(record.get("Size") or 0)


def _row(record: dict[str, Any]) -> tuple[str, str, str, str]:
    shared = "*" if record.get("Shared") else ""
    reclaimable = "false" if record.get("InUse") else "true"
    return str(record["ID"]), reclaimable, human_size(_size(record), 4) + shared, _accessed(record)


def _accessed(record: dict[str, Any]) -> str:
    text = record.get("LastUsedAt")
    return f"{human_duration(max(0.0, time.time() - parse_rfc3339(text)))} ago" if text else ""


def _record(record: dict[str, Any]) -> str:
    fields = [
        ("ID", str(record["ID"])),
        ("Parents", ", ".join(record.get("Parents") or ())),
        ("Created at", str(record.get("CreatedAt") or "")),
        ("Reclaimable", "false" if record.get("InUse") else "true"),
        ("Shared", str(bool(record.get("Shared"))).lower()),
        ("Size", human_size(_size(record), 4)),
        ("Description", str(record.get("Description") or "")),
        ("Usage count", str(record.get("UsageCount") or 0)),
        ("Last used", _accessed(record)),
        ("Type", str(record.get("Type") or "")),
    ]
    return "".join(f"{name + ':':<14} {text}\n" for name, text in fields if text) + "\n"


def _sums(records: list[dict[str, Any]]) -> str:
    total = sum(map(_size, records))
    shared = sum(_size(record) for record in records if record.get("Shared"))
    free = sum(_size(record) for record in records if not record.get("InUse"))
    sums = (("Shared", shared), ("Private", total - shared)) if shared else ()
    rows = [(f"{name}:", human_size(size, 4)) for name, size in (*sums, ("Reclaimable", free), ("Total", total))]
    return layout(rows)
