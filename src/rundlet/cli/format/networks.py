"""The columns of ``network ls``."""

from __future__ import annotations

from rundlet.cli.format.containers import short_id
from rundlet.cli.format.times import go_timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = ("ID", "Name", "Driver", "Scope")
RAW_ROWS = (("network_id", "ID"), ("name", "Name"), ("driver", "Driver"), ("scope", "Scope"))


def _flag(key: str) -> Any:
    return lambda item, full: "true" if item.get(key) else "false"


def _labels(item: Any, full: bool) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((item.get("Labels") or {}).items()))


FIELDS = {
    "CreatedAt": ("CREATED AT", lambda item, full: go_timestamp(item.get("Created", ""))),
    "Driver": ("DRIVER", lambda item, full: item.get("Driver", "")),
    "ID": ("NETWORK ID", lambda item, full: item["Id"] if full else short_id(item["Id"])),
    "IPv4": ("IPV4", lambda item, full: "false" if item.get("EnableIPv4") is False else "true"),
    "IPv6": ("IPV6", _flag("EnableIPv6")),
    "Internal": ("INTERNAL", _flag("Internal")),
    "Labels": ("LABELS", _labels),
    "Name": ("NAME", lambda item, full: item["Name"]),
    "Scope": ("SCOPE", lambda item, full: item.get("Scope", "")),
}
