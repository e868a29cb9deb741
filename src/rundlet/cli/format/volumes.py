"""The columns of ``volume ls``."""

from __future__ import annotations

from rundlet.cli.format.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = ("Driver", "Name")
CLUSTER_COLUMNS = ("Name", "Group", "Driver", "Availability", "Status")
RAW_ROWS = (("name", "Name"), ("driver", "Driver"))


def _labels(item: Any, full: bool) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((item.get("Labels") or {}).items()))


def _links(item: Any, full: bool) -> str:
    usage = item.get("UsageData")
    return str(usage["RefCount"]) if usage else "N/A"


def _size(item: Any, full: bool) -> str:
    usage = item.get("UsageData")
    return human_size(usage["Size"], 4) if usage and usage["Size"] >= 0 else "N/A"


FIELDS = {
    "Availability": ("AVAILABILITY", lambda item, full: "N/A"),
    "Driver": ("DRIVER", lambda item, full: item.get("Driver", "")),
    "Group": ("GROUP", lambda item, full: "N/A"),
    "Labels": ("LABELS", _labels),
    "Links": ("LINKS", _links),
    "Mountpoint": ("MOUNTPOINT", lambda item, full: item.get("Mountpoint", "")),
    "Name": ("VOLUME NAME", lambda item, full: item["Name"]),
    "Scope": ("SCOPE", lambda item, full: item.get("Scope", "")),
    "Size": ("SIZE", _size),
    "Status": ("STATUS", lambda item, full: "N/A"),
}
