"""Which subnets this host already uses, so that ours keep off them."""

import ipaddress
import socket
from collections.abc import Iterable, Sequence

from rundlet.linux.netlink import Address, Netlink, Route
from rundlet.network import etc_files, ipam
from rundlet.network.errors import NoFreeSubnetError
from rundlet.network.ipam import IPNetwork

_SHORTEST_PREFIX = 8
_LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")


def occupied(
    routes: Iterable[Route], addresses: Iterable[Address], nameservers: Iterable[str], *, own: int, distant: bool
) -> list[IPNetwork]:
    """What a new subnet must not overlap with.

    Routes and addresses of the interface ``own`` don't count, nor do routes for half the internet (a VPN's).
    ``distant``: also routes by way of a gateway.
    """
    found: list[IPNetwork] = []
    for route in routes:
        network = ipaddress.ip_network(route.destination, strict=False)
        if network.version == 6 and network.overlaps(_LINK_LOCAL):
            continue  # Every link has those.
        if route.ifindex != own and network.prefixlen >= _SHORTEST_PREFIX and (distant or not route.gateway):
            found.append(network)
    for address in addresses:
        if address.ifindex != own:
            network = ipaddress.ip_network(f"{address.address}/{address.prefix}", strict=False)
            if not network.is_link_local:
                found.append(network)
    for server in nameservers:
        try:
            found.append(ipaddress.ip_network(server.partition("%")[0]))
        except ValueError:
            continue  # Not an address: the resolver doesn't heed it either.
    return found


def choose(rtnl: Netlink, own: int, pools: Sequence[tuple[str, int]], taken: Sequence[IPNetwork] = ()) -> IPNetwork:
    """A free subnet of the pools, best one that hides nothing at all from this host. Raises NoFreeSubnetError.

    ``taken`` is what other networks of this engine have, whether their interfaces exist or not.
    """
    for distant in (True, False):
        try:
            return ipam.choose_subnet([*_occupied_now(rtnl, own, distant=distant), *taken], pools)
        except NoFreeSubnetError:
            if not distant:
                raise
    raise NoFreeSubnetError()


def is_free(rtnl: Netlink, own: int, subnet: str) -> bool:
    """Whether ``subnet`` overlaps with nothing that is directly reached through another interface."""
    wanted = ipaddress.ip_network(subnet)
    return not any(ipam.overlap(wanted, other) for other in _occupied_now(rtnl, own, distant=False))


def _occupied_now(rtnl: Netlink, own: int, *, distant: bool) -> list[IPNetwork]:
    routes = [*rtnl.routes(), *rtnl.routes(socket.AF_INET6)]
    return occupied(routes, rtnl.addresses(), etc_files.host_nameservers(), own=own, distant=distant)
