"""--network and the flags that describe the container's place in it."""

from __future__ import annotations

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIST_KEYS = {"alias": "Aliases", "link-local-ip": "LinkLocalIPs"}
NOT_USER_DEFINED = frozenset(("", "default", "bridge", "host", "none"))


def parse_network(text: str) -> dict[str, Any]:
    """``NETWORK`` or ``name=NETWORK,alias=…,ip=…``. Raises ValueError."""
    if "=" not in text:
        return {"Target": text}
    out: dict[str, Any] = {"Target": ""}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key == "name":
            out["Target"] = value
        elif key in LIST_KEYS:
            out.setdefault(LIST_KEYS[key], []).append(value)
        elif key == "ip":
            out["IPv4"] = value
        elif key == "ip6":
            out["IPv6"] = value
        elif key == "mac-address":
            out["MacAddress"] = value
        elif key == "gw-priority":
            try:
                out["GwPriority"] = int(value)
            except ValueError:
                raise ValueError(f"invalid gw-priority: {value}") from None
        elif key == "driver-opt":
            name, equals, option = value.partition("=")
            if not equals:
                raise ValueError("invalid key value pair format in driver options")
            out.setdefault("DriverOpts", {})[name.lower()] = option
        else:
            raise ValueError(f"invalid field key {key}")
    if not out["Target"]:
        raise ValueError("network name/id is not specified")
    return out


def _endpoint(attachment: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key in ("Aliases", "DriverOpts", "Links", "MacAddress", "GwPriority"):
        if attachment.get(key):
            settings[key] = attachment[key]
    ipam: dict[str, Any] = {}
    for key, name in (("IPv4", "IPv4Address"), ("IPv6", "IPv6Address"), ("LinkLocalIPs", "LinkLocalIPs")):
        if attachment.get(key):
            ipam[name] = attachment[key]
    if ipam:
        settings["IPAMConfig"] = ipam
    return settings


def _merge_flags(first: dict[str, Any], flags: dict[str, Any]) -> None:
    """--ip and its like belong to the first network."""
    pairs = (
        ("network-alias", "Aliases"),
        ("link-local-ip", "LinkLocalIPs"),
        ("ip", "IPv4"),
        ("ip6", "IPv6"),
        ("mac-address", "MacAddress"),
    )
    for flag, key in pairs:
        if not flags[flag]:
            continue
        if first.get(key):
            raise RunError(f"conflicting options: cannot specify both --{flag} and per-network {key}")
        first[key] = flags[flag]
    if flags["link"] and first["Target"] not in NOT_USER_DEFINED:
        # On the default bridge links are the container's (HostConfig.Links), elsewhere the endpoint's.
        first["Links"] = flags["link"]


def networking(flags: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig). Raises RunError."""
    attachments: list[dict[str, Any]] = [dict(one) for one in flags["network"]] or [{"Target": "default"}]
    names = [attachment["Target"] for attachment in attachments]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise RunError(f'conflicting options: cannot specify the same network more than once: "{name}"')
        if len(names) > 1 and (name in ("host", "none") or name.startswith("container:")):
            raise RunError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    first = attachments[0]
    mode = first["Target"]
    _merge_flags(first, flags)
    if first.get("Aliases") and (mode in NOT_USER_DEFINED or mode.startswith("container:")):
        raise RunError("network-scoped aliases are only supported for user-defined networks")
    endpoints = {}
    for attachment in attachments:
        settings = _endpoint(attachment)
        if settings or len(attachments) > 1:
            endpoints[attachment["Target"]] = settings
    return mode, endpoints
