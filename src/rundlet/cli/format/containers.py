"""The columns of ``ps``."""

from __future__ import annotations

import time

from rundlet.cli.format.table import ellipsis
from rundlet.cli.format.units import human_duration, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUIET = "ID"
SHORT_ID = 12
COMMAND_WIDTH = 20


def short_id(identifier: str) -> str:
    """The first twelve digits, without ``sha256:``."""
    return identifier.partition(":")[2][:SHORT_ID] if ":" in identifier else identifier[:SHORT_ID]


def _id(item: Any, full: bool) -> str:
    return str(item["Id"]) if full else short_id(item["Id"])


def _image(item: Any, full: bool) -> str:
    image = item.get("Image") or ""
    if not image:
        return "<no image>"
    if full:
        return str(image)
    name, at, _digest = image.partition("@")
    if at:
        return str(name)
    hexadecimal = image.removeprefix("sha256:")
    if len(hexadecimal) >= 64:  # names, which are shorter, need no more of the command line's modules
        from rundlet.cli.reference import is_id

        if is_id(hexadecimal):
            return str(hexadecimal[:SHORT_ID])
    return str(image)


def _command(item: Any, full: bool) -> str:
    text = item.get("Command") or ""
    if not full:
        text = ellipsis(text, COMMAND_WIDTH)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _created(item: Any, full: bool) -> str:
    return human_duration(time.time() - item.get("Created", 0)) + " ago"


def _created_at(item: Any, full: bool) -> str:
    from rundlet.cli.format.times import go_time

    return go_time(item.get("Created", 0))


def _running_for(item: Any, full: bool) -> str:
    return _created(item, full)


def _names(item: Any, full: bool) -> str:
    names = [name.removeprefix("/") for name in item.get("Names") or []]
    if not full:
        names = [name for name in names if "/" not in name]
    return ",".join(names)


def _size(item: Any, full: bool) -> str:
    text = human_size(item.get("SizeRw", 0))
    virtual = item.get("SizeRootFs", 0)
    return f"{text} (virtual {human_size(virtual)})" if virtual > 0 else text


def _labels(item: Any, full: bool) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((item.get("Labels") or {}).items()))


def label(item: Any, name: str) -> str:
    """``{{.Label "x"}}`` of any object that has labels."""
    return str((item.get("Labels") or {}).get(name, ""))


def _mounts(item: Any, full: bool) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in item.get("Mounts") or []]
    return ",".join(names if full else (ellipsis(name, 15) for name in names))


def _local_volumes(item: Any, full: bool) -> str:
    return str(sum(1 for mount in item.get("Mounts") or [] if mount.get("Driver") == "local"))


def _networks(item: Any, full: bool) -> str:
    return ",".join(sorted((item.get("NetworkSettings") or {}).get("Networks") or {}))


def _ports(item: Any, full: bool) -> str:
    return display_ports(item.get("Ports") or [])


def _platform(item: Any, full: bool) -> Any:
    found = (item.get("ImageManifestDescriptor") or {}).get("platform")
    if not found:
        return None
    return "/".join(filter(None, (found.get("os"), found.get("architecture"), found.get("variant"))))


def display_ports(ports: list[Any]) -> str:
    """``0.0.0.0:8080->80/tcp, 443/tcp``, neighbouring ports joined to ranges."""
    groups: dict[str, list[int]] = {}
    result: list[str] = []
    mapped: list[str] = []
    order: list[str] = []
    for port in sorted(ports, key=_port_key):
        private, public = int(port["PrivatePort"]), int(port.get("PublicPort") or 0)
        protocol, address = port.get("Type", "tcp"), port.get("IP") or ""
        key = protocol
        if address:
            if public != private:
                mapped.append(f"{_joined(address, public)}->{private}/{protocol}")
                continue
            key = f"{address}/{protocol}"
        group = groups.get(key)
        if group is None:
            groups[key] = [private, private]
            order.append(key)
        elif private == group[1] + 1:
            group[1] = private
        else:
            result.append(_group(key, group))
            groups[key] = [private, private]
    result += [_group(key, groups[key]) for key in order]
    return ", ".join(result + mapped)


def _port_key(port: Any) -> tuple[Any, ...]:
    return (port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port.get("Type") or "")


def _joined(address: str, port: int | str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _group(key: str, group: list[int]) -> str:
    address, slash, protocol = key.rpartition("/")
    span = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    if slash:
        return f"{_joined(address, span)}->{span}/{protocol}"
    return f"{span}/{key}"


FIELDS = {
    "Command": ("COMMAND", _command),
    "CreatedAt": ("CREATED AT", _created_at),
    "ID": ("CONTAINER ID", _id),
    "Image": ("IMAGE", _image),
    "Labels": ("LABELS", _labels),
    "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
    "Mounts": ("MOUNTS", _mounts),
    "Names": ("NAMES", _names),
    "Networks": ("NETWORKS", _networks),
    "Platform": ("PLATFORM", _platform),
    "Ports": ("PORTS", _ports),
    "RunningFor": ("CREATED", _running_for),
    "Size": ("SIZE", _size),
    "State": ("STATE", lambda item, full: item.get("State", "")),
    "Status": ("STATUS", lambda item, full: item.get("Status", "")),
}


def raw(*, size: bool) -> tuple[tuple[str, str], ...]:
    """What ``--format raw`` shows."""
    base = (
        ("container_id", "ID"),
        ("image", "Image"),
        ("command", "Command"),
        ("created_at", "CreatedAt"),
        ("state", "State"),
        ("status", "Status"),
        ("names", "Names"),
        ("labels", "Labels"),
        ("ports", "Ports"),
    )
    return (*base, ("size", "Size")) if size else base


def columns(*, size: bool) -> tuple[str, ...]:
    """The default table's."""
    base = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
    return (*base, "Size") if size else base
