"""``rundlet network connect``."""

from __future__ import annotations

from rundlet.cli.each import check_name, object_path
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NETWORK CONTAINER"
SHORT = "Connect a container to a network"
ARGS = (2, 2)
FLAGS = (
    ("alias", "", "strings", "Add network-scoped alias for the container"),
    ("driver-opt", "", "strings", "driver options for the network"),
    (
        "gw-priority",
        "",
        "int",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    ("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
    ("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
    ("link", "", "list", "Add link to another container"),
    ("link-local-ip", "", "strings", "Add a link-local address for the container"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    network, container = call.args
    check_name("container", container)
    ipam: dict[str, Any] = {}
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs")):
        if flags[flag]:
            ipam[key] = flags[flag]
    settings: dict[str, Any] = {"IPAMConfig": ipam} if ipam else {}
    for flag, key in (("link", "Links"), ("alias", "Aliases"), ("gw-priority", "GwPriority")):
        if flags[flag]:
            settings[key] = flags[flag]
    if flags["driver-opt"]:
        settings["DriverOpts"] = _pairs(flags["driver-opt"])
    body = {"Container": container, "EndpointConfig": settings}
    call.context.session.post(object_path("network", network, "connect"), body=body)
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    """Raises CommandError."""
    if not all("=" in text for text in texts):
        raise CommandError("invalid key/value pair format in driver options")
    return {key.strip(): value.strip() for key, _, value in (text.partition("=") for text in texts)}
