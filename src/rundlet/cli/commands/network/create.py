"""``rundlet network create``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.options.environment import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NETWORK"
SHORT = "Create a network"
ARGS = (1, 1)
FLAGS = (
    ("attachable", "", "bool", "Enable manual container attachment"),
    ("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])"),
    ("config-from", "", "string", "The network from which to copy the configuration"),
    ("config-only", "", "bool", "Create a configuration only network"),
    ("driver", "d", "string", 'Driver to manage the Network (default "bridge")', "bridge"),
    ("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    ("ingress", "", "bool", "Create swarm routing-mesh network"),
    ("internal", "", "bool", "Restrict external access to the network"),
    ("ip-range", "", "strings", "Allocate container ip from a sub-range"),
    ("ipam-driver", "", "string", 'IP Address Management Driver (default "default")', "default"),
    ("ipam-opt", "", "map", "Set IPAM driver specific options (default map[])"),
    ("ipv4", "", "bool", "Enable or disable IPv4 address assignment (default true)", True),
    ("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
    ("label", "", "label", "Set metadata on a network"),
    ("opt", "o", "map", "Set driver specific options (default map[])"),
    ("scope", "", "string", "Control the network's scope"),
    ("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
)


def _pools(flags: dict[str, Any]) -> list[dict[str, Any]]:
    """The API's IPAM.Config. Raises CommandError."""
    asked = (flags["subnet"], flags["ip-range"], flags["gateway"], dict(flags["aux-address"]))
    if not any(asked):
        return []
    # Addresses take longer to import than the rest of the command: not for a network that names none.
    from rundlet.cli.options.ipam import ipam_config

    try:
        return ipam_config(*asked)
    except ValueError as exc:
        raise CommandError(str(exc)) from exc


def run(call: Invocation) -> int:
    flags = call.flags
    config = _pools(flags)
    body: dict[str, Any] = {
        "Name": call.args[0],
        "Driver": flags["driver"],
        "Options": dict(flags["opt"]),
        "IPAM": {"Driver": flags["ipam-driver"], "Config": config, "Options": dict(flags["ipam-opt"])},
        "Internal": flags["internal"],
        "Attachable": flags["attachable"],
        "Ingress": flags["ingress"],
        "ConfigOnly": flags["config-only"],
        "Scope": flags["scope"],
        "Labels": labels(flags["label"]),
    }
    for flag, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if call.given(flag):
            body[key] = flags[flag]
    if flags["config-from"]:
        body["ConfigFrom"] = {"Network": flags["config-from"]}
    answer = call.context.session.post("/networks/create", body=body)
    if answer.get("Warning"):
        call.context.warn(f"WARNING: {answer['Warning']}")
    call.context.say(answer["Id"])
    return 0
