"""What a container's network is to be: the plan that the shim carries out."""

import os
from typing import Any

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.network.endpoint import Endpoint, host_name
from rundlet.network.portmap import PublishedPort, Reservation

INTERFACE = "eth0"
# Containers have no IPv6 network: without this the kernel gives eth0 a link-local address and looks for routers. ::1
# stays on lo. Written when the interface exists and is still down.
_NO_IPV6 = {f"net.ipv6.conf.{INTERFACE}.disable_ipv6": "1"}
_IPV6 = "/proc/sys/net/ipv6"


class Mode(msgspec.Struct, frozen=True):
    """A parsed network mode: ``kind`` is ``network``, ``host``, ``none`` or ``container``, ``reference`` its name."""

    kind: str
    reference: str = ""


def parse_mode(value: str) -> Mode:
    """``default``, ``bridge``, a network's name or id, ``host``, ``none``, ``container:<id>``."""
    if value in ("", "default"):
        return Mode("network", "bridge")
    if value in ("host", "none"):
        return Mode(value)
    if value.startswith("container:"):
        reference = value.partition(":")[2]
        if not reference:
            raise InvalidParameterError("invalid container format container:<name|id>")
        return Mode("container", reference)
    return Mode("network", value)


class Sandbox(msgspec.Struct, frozen=True):
    """The shim's plan: ``mode`` is ``new``, ``host``, ``join`` or ``none``."""

    mode: str
    join: str = ""
    """The network namespace to join, a path."""
    links: tuple[dict[str, Any], ...] = ()
    routes: tuple[dict[str, str], ...] = ()
    sysctls: dict[str, str] = {}

    def spec(self) -> dict[str, Any]:
        """The ``net`` object of the shim's spec."""
        return {
            "mode": self.mode,
            "join": self.join,
            "links": list(self.links),
            "routes": list(self.routes),
            "sysctls": dict(self.sysctls),
        }


class Allocation(msgspec.Struct, frozen=True):
    """What :meth:`NetworkService.allocate` gives: the plan, the records, the sockets that hold the ports."""

    sandbox: Sandbox
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    reservation: Reservation | None = None

    def fds(self) -> list[int]:
        """For the shim to hold; close them here by :meth:`close` when it has them."""
        return self.reservation.fds() if self.reservation else []

    def close(self) -> None:
        if self.reservation:
            self.reservation.close()


def plan(instance: str, endpoint: Endpoint, bridge: str, mtu: int) -> Sandbox:
    """A namespace of the container's own with one interface in ``bridge``."""
    link = {
        "bridge": bridge,
        "host_name": host_name(instance, endpoint.id),
        "name": INTERFACE,
        "mac": endpoint.mac,
        "mtu": mtu,
        "addresses": [f"{endpoint.address}/{endpoint.prefix}"],
        "isolated": False,
        # Where bridged frames go through the firewall (br_netfilter), a container that asks for its own published port
        # is answered through the very port of the bridge that it asked by.
        "hairpin": True,
    }
    route = {"dst": "0.0.0.0/0", "gateway": endpoint.gateway}
    return Sandbox("new", links=(link,), routes=(route,), sysctls=_NO_IPV6 if os.path.exists(_IPV6) else {})
