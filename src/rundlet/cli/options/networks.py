"""--network and the flags that describe the container's place in it."""

from __future__ import annotations

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIST_KEYS = {"alias": "Aliases", "link-local-ip": "LinkLocalIPs"}
# Flags of the container that are settings of its first network, and what Docker calls these.
FIRST_NETWORKS = (
    ("network-alias", "Aliases", "alias"),
    ("link-local-ip", "LinkLocalIPs", "link-local IP addresses"),
    ("ip", "IPv4", "IPv4 address"),
    ("ip6", "IPv6", "IPv6 address"),
    ("mac-address", "MacAddress", "MAC address"),
)
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
            out["GwPriority"] = _priority(value)
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


def _priority(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"invalid gw-priority ({text}): invalid syntax") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"invalid gw-priority ({text}): value out of range")
    return number


def _is_mac(text: str) -> bool:
    """Whether ``text`` is the address of an Ethernet card."""
    parts = text.split("-" if "-" in text else ":")
    digits = set("0123456789abcdefABCDEF")
    return len(parts) == 6 and all(len(part) == 2 and set(part) <= digits for part in parts)


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
    for flag, key, shown in FIRST_NETWORKS:
        if not flags[flag]:
            continue
        if first.get(key):
            raise RunError(f"conflicting options: cannot specify both --{flag} and per-network {shown}")
        first[key] = flags[flag]
    if flags["link"] and first["Target"] not in NOT_USER_DEFINED:
        # On the default bridge links are the container's (HostConfig.Links), elsewhere the endpoint's.
        first["Links"] = flags["link"]


def _check(attachments: list[dict[str, Any]]) -> None:
    """What can be said without the engine. Raises RunError."""
    names: list[str] = []
    for attachment in attachments:
        name = attachment["Target"]
        if not name.strip():
            raise RunError("no name set for network")
        if attachment.get("Aliases") and not _is_user_defined(name):
            raise RunError("network-scoped aliases are only supported for user-defined networks")
        if attachment.get("MacAddress") and not _is_mac(attachment["MacAddress"]):
            raise RunError(f"{attachment['MacAddress']} is not a valid mac address")
        if name in names:
            raise RunError(f'network "{name}" is specified multiple times')
        names.append(name)
    if len({_is_user_defined(name) for name in names}) > 1:
        raise RunError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")


def _is_user_defined(mode: str) -> bool:
    return mode not in NOT_USER_DEFINED and not mode.startswith("container:")


def networking(flags: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig). Raises RunError."""
    attachments: list[dict[str, Any]] = [dict(one) for one in flags["network"]] or [{"Target": "default"}]
    first = attachments[0]
    mode = first["Target"]
    _merge_flags(first, flags)
    _check(attachments)
    endpoints = {}
    for attachment in attachments:
        settings = _endpoint(attachment)
        if settings or len(attachments) > 1:
            endpoints[attachment["Target"]] = settings
    return mode, endpoints
