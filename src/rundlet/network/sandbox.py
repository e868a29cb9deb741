"""What a container's network is to be: the plan that the shim carries out."""

import ipaddress
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.network.bridge import mac_of
from rundlet.network.endpoint import Endpoint, host_name
from rundlet.network.networks import Network
from rundlet.network.portmap import PublishedPort, Reservation

_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
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
    if value == "container" or value.startswith("container:"):
        reference = value.partition(":")[2]
        if not reference:
            raise InvalidParameterError("invalid network mode: invalid container format container:<name|id>")
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
    resolver: str = ""
    """The path of the resolver's socket, where names are looked up by 127.0.0.11."""

    def spec(self) -> dict[str, Any]:
        """The ``net`` object of the shim's spec."""
        return {
            "mode": self.mode,
            "join": self.join,
            "links": list(self.links),
            "routes": list(self.routes),
            "sysctls": dict(self.sysctls),
            "resolver": self.resolver,
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


class Change(msgspec.Struct, frozen=True):
    """What a running container's shim is to do: one interface more or less, and the way out from then on."""

    endpoint: Endpoint
    link: dict[str, Any]
    routes: tuple[dict[str, str], ...]
    sysctls: dict[str, str] = {}
    resolver: str = ""
    reservation: Reservation | None = None

    def close(self) -> None:
        if self.reservation:
            self.reservation.close()


def plan(instance: str, joined: Sequence[tuple[Endpoint, Network]]) -> Sandbox:
    """A namespace of the container's own with an interface for each network."""
    sysctls: dict[str, str] = {}
    for endpoint, _network in joined:
        sysctls |= interface_sysctls(endpoint)
    return Sandbox(
        "new",
        links=tuple(link(instance, endpoint, network) for endpoint, network in joined),
        routes=default_routes(joined),
        sysctls=sysctls,
    )


def link(instance: str, endpoint: Endpoint, network: Network) -> dict[str, Any]:
    """One interface, as the shim is told to make it."""
    made: dict[str, Any] = {
        "name": endpoint.interface,
        "mac": endpoint.mac,
        "mtu": network.mtu,
        "addresses": _addresses(endpoint),
    }
    messages, interval = network.announcing(known=endpoint.mac == mac_of(endpoint.addresses[0]))
    if messages:
        made["announce"] = [messages, interval]
    if network.driver != "bridge":
        mode = network.options.get(f"{network.driver}_mode", "")
        flag = network.options.get("ipvlan_flag", "")
        return made | {"kind": network.driver, "parent": network.parent, "link_mode": mode, "link_flag": flag}
    return made | {
        "bridge": network.bridge,
        "host_name": host_name(instance, endpoint.id),
        "isolated": not network.icc,
        # Where bridged frames go through the firewall (br_netfilter), a container that asks for its own published port
        # is answered through the very port of the bridge that it asked by.
        "hairpin": True,
        # Somebody else's bridge stays as it is: it may lead to hardware.
        "large": network.given is None,
    }


def _addresses(endpoint: Endpoint) -> list[str]:
    """With their prefixes, as the interface gets them."""
    found = [f"{endpoint.address}/{endpoint.prefix}"] if endpoint.address else []
    if endpoint.address6:
        found.append(f"{endpoint.address6}/{endpoint.prefix6}")
    return found + [f"{address}/{64 if ':' in address else 16}" for address in endpoint.link_local]


def interface_sysctls(endpoint: Endpoint) -> dict[str, str]:
    """The interface's switches. Written when it exists and is still down.

    Without an IPv6 network the kernel would give it a link-local address and look for routers. ::1 stays on lo.
    """
    interface = endpoint.interface
    wanted = {}
    if os.path.exists(_IPV6):
        needed = endpoint.address6 or any(":" in address for address in endpoint.link_local)
        wanted[f"net.ipv6.conf.{interface}.disable_ipv6"] = "0" if needed else "1"
    return wanted | {key.replace(".IFNAME.", f".{interface}."): value for key, value in endpoint.sysctls.items()}


def default_routes(joined: Sequence[tuple[Endpoint, Network]]) -> tuple[dict[str, str], ...]:
    """The ways out, one for each family that has any."""
    routes: list[dict[str, str]] = []
    for endpoint, network in joined:
        for version in endpoint.leads:
            gateway = endpoint.gateway_of(version)
            if gateway:
                route = {"dst": _EVERYWHERE[version], "gateway": gateway}
                if ipaddress.ip_address(gateway).is_link_local:  # an address that every link has its own of
                    route["interface"] = endpoint.interface
                routes.append(route)
            elif network.third_layer and (endpoint.address if version == 4 else endpoint.address6):
                routes.append({"dst": _EVERYWHERE[version], "interface": endpoint.interface})
    return tuple(routes)


def choose_gateways(joined: Sequence[tuple[Endpoint, Network]]) -> dict[int, str]:
    """The IDs of the endpoints that the default routes go by, by family (4, 6).

    The highest priority comes first, then who leads out by both families, then by IPv4, then the first name.
    """
    able = [
        (-endpoint.gw_priority, -len(ways), 4 not in ways, network.name, endpoint.id, ways)
        for endpoint, network in joined
        if (ways := _ways_out(endpoint, network))
    ]
    chosen: dict[int, str] = {}
    for *_, identifier, ways in sorted(able):
        for version in ways:
            chosen.setdefault(version, identifier)
    return chosen


def _ways_out(endpoint: Endpoint, network: Network) -> list[int]:
    addresses = {4: endpoint.address, 6: endpoint.address6}
    return [
        version
        for version, address in addresses.items()
        if address and leads_out(network, endpoint.gateway_of(version))
    ]


def leads_out(network: Network, gateway: str) -> bool:
    """Whether a default route can go by a network: ipvlan in its third layer's modes has no gateway and needs none."""
    if network.internal:
        return False
    return bool(gateway) or network.third_layer
