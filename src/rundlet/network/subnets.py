"""Which subnets this host already uses, so that ours keep off them."""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from rundlet.linux.netlink import Address, Netlink, Route
from rundlet.network import etc_files, ipam
from rundlet.network.errors import NoFreeSubnetError

_SHORTEST_PREFIX = 8


def occupied(
    routes: Iterable[Route], addresses: Iterable[Address], nameservers: Iterable[str], *, own: int, distant: bool
) -> list[IPv4Network]:
    """What a new subnet must not overlap with.

    Routes and addresses of the interface ``own`` don't count, nor do routes for half the internet (a VPN's).
    ``distant``: also routes by way of a gateway.
    """
    found = []
    for route in routes:
        network = IPv4Network(route.destination, strict=False)
        if route.ifindex != own and network.prefixlen >= _SHORTEST_PREFIX and (distant or not route.gateway):
            found.append(network)
    for address in addresses:
        if address.ifindex != own:
            found.append(IPv4Network(f"{address.address}/{address.prefix}", strict=False))
    for server in nameservers:
        try:
            found.append(IPv4Network(server))
        except ipaddress.AddressValueError:
            continue  # An IPv6 one.
    return found


def choose(rtnl: Netlink, own: int, pools: Sequence[tuple[str, int]], taken: Sequence[IPv4Network] = ()) -> IPv4Network:
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
    wanted = IPv4Network(subnet)
    return not any(wanted.overlaps(other) for other in _occupied_now(rtnl, own, distant=False))


def _occupied_now(rtnl: Netlink, own: int, *, distant: bool) -> list[IPv4Network]:
    addresses = rtnl.addresses(socket.AF_INET)
    return occupied(rtnl.routes(), addresses, etc_files.host_nameservers(), own=own, distant=distant)
