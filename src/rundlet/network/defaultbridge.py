"""The network ``bridge``: its bridge, its options and its subnets, as the configuration says now.

It keeps its ID whatever it is told; its subnets move only while no container is on it that runs.
"""

import ipaddress

import msgspec

from rundlet.linux.netlink import Netlink
from rundlet.network import endpoint, ipam, networks, subnets
from rundlet.network.bridge import BridgeDriver, bridge_name
from rundlet.network.endpoint import Endpoint, EndpointStore
from rundlet.network.ipam import IPNetwork
from rundlet.network.networks import DEFAULT_BRIDGE, Network, NetworkStore, Subnet
from rundlet.network.options import DaemonOptions
from rundlet.util.database import Database


class DefaultBridge:
    """Used by ``host``."""

    def __init__(
        self,
        database: Database,
        instance: str,
        store: NetworkStore,
        endpoints: EndpointStore,
        rtnl: Netlink,
        bridges: BridgeDriver,
        options: DaemonOptions,
    ) -> None:
        self._database = database
        self._instance = instance
        self._networks = store
        self._endpoints = endpoints
        self._rtnl = rtnl
        self._bridges = bridges
        self._options = options

    def options(self) -> dict[str, str]:
        """The default bridge's, as daemon.json says now."""
        name = self._options.bridge or bridge_name(self._instance, DEFAULT_BRIDGE)
        options = networks.bridge_options(name, self._options.mtu)
        options[networks.ICC] = str(self._options.icc).lower()
        options[networks.MASQUERADE] = str(self._options.masquerade).lower()
        options[networks.HOST_BINDING] = self._options.binding or "0.0.0.0"
        return options

    def settled(self, network: Network) -> Network:
        """``network`` with the bridge and the subnets that it can have now; an unused one moves where the host needs it
        to. Raises NetworkConfigError: somebody else's bridge is not there."""
        given = self._given_now(network) if self._options.bridge else None
        if (network.options, network.given) != (self.options(), given):
            network = self._changed(network, given)
        link = self._rtnl.link(network.bridge)
        own = link.ifindex if link else 0
        if network.subnets and self._may_keep(network, own):
            return network
        pools = [self._default_pool(network, own)]
        if self._options.ipv6:
            pools.append(self._default_pool6(network, own))
        moved = msgspec.structs.replace(network, subnets=tuple(pools), ipv6=self._options.ipv6)
        with self._database.transaction() as cursor:
            for made in self._endpoints.of_network(network.id):
                endpoint.delete_container(cursor, made.container_id)
            ipam.forget(cursor, network.id)
        self._networks.put(moved)
        return moved

    def _given_now(self, network: Network) -> tuple[str, ...]:
        """The addresses that somebody else's bridge has without us."""
        found = self._bridges.found(self._options.bridge)
        if network.given is None or network.bridge != self._options.bridge:
            return found
        ours = {f"{pool.gateway}/{pool.prefix}" for pool in network.subnets} - set(network.given)
        return tuple(address for address in found if address not in ours)

    def _changed(self, network: Network, given: tuple[str, ...] | None) -> Network:
        """With the options of now, perhaps on another bridge: containers that run find themselves on that."""
        options = self.options()
        name = options[networks.BRIDGE_NAME]
        if network.bridge != name:
            self._bridges.remove(network)
        changed = msgspec.structs.replace(network, options=options, bridge=name, given=given)
        self._networks.put(changed)
        return changed

    def _default_pool(self, network: Network, own: int) -> Subnet:
        options = self._options
        given = _given(network, 4)
        if given is not None:
            return Subnet(str(given.network), str(given.ip), options.fixed_cidr, self._auxiliary(options.gateway))
        if options.bip:
            subnet, gateway = ipam.parse_bip(options.bip)
            return Subnet(str(subnet), gateway, options.fixed_cidr, self._auxiliary(options.gateway))
        if options.fixed_cidr:
            chosen = ipaddress.IPv4Network(options.fixed_cidr, strict=False)
            return Subnet(str(chosen), str(chosen[1]), "", self._auxiliary(options.gateway))
        chosen4 = subnets.choose(self._rtnl, own, self._options.pools_of(self._instance, 4), self._others(network))
        return Subnet(str(chosen4), str(chosen4[1]), "", self._auxiliary(options.gateway))

    def _default_pool6(self, network: Network, own: int) -> Subnet:
        given = _given(network, 6)
        if given is not None:
            return Subnet(str(given.network), str(given.ip), "", self._auxiliary(self._options.gateway_v6))
        if self._options.fixed_cidr_v6:
            chosen: IPNetwork = ipaddress.IPv6Network(self._options.fixed_cidr_v6, strict=False)
        else:
            chosen = subnets.choose(self._rtnl, own, self._options.pools_of(self._instance, 6), self._others(network))
        return Subnet(str(chosen), str(chosen[1]), "", self._auxiliary(self._options.gateway_v6))

    def _auxiliary(self, gateway: str) -> dict[str, str]:
        """Another router on the bridge is somebody else's address."""
        return {networks.DEFAULT_GATEWAY: gateway} if gateway else {}

    def _others(self, network: Network) -> list[IPNetwork]:
        return [
            ipaddress.ip_network(pool.subnet)
            for other in self._networks.all()
            if other.id != network.id
            for pool in other.subnets
        ]

    def _may_keep(self, network: Network, own: int) -> bool:
        if any(self._has_link(made) for made in self._endpoints.of_network(network.id)):
            return True  # A running container uses it.
        options, current = self._options, network.subnets[0]
        if network.ipv6 != options.ipv6:
            return False
        if options.bip or options.fixed_cidr or _given(network, 4) is not None:
            return current == self._default_pool(network, own) and self._may_keep6(network, own)
        if current.auxiliary != self._auxiliary(options.gateway) or current.ip_range:
            return False
        return self._is_of_pools(current, own) and self._may_keep6(network, own)

    def _may_keep6(self, network: Network, own: int) -> bool:
        for pool in network.pools(6):
            if pool.auxiliary != self._auxiliary(self._options.gateway_v6):
                return False
            if _given(network, 6) is not None:
                return pool == self._default_pool6(network, own)
            if self._options.fixed_cidr_v6:
                return ipaddress.ip_network(pool.subnet) == ipaddress.ip_network(
                    self._options.fixed_cidr_v6, strict=False
                )
            return self._is_of_pools(pool, own)
        return True

    def _is_of_pools(self, subnet: Subnet, own: int) -> bool:
        current = ipaddress.ip_network(subnet.subnet)
        pools = [ipaddress.ip_network(pool) for pool, _ in self._options.pools_of(self._instance, subnet.version)]
        inside = any(ipam.overlap(current, pool) and current.prefixlen >= pool.prefixlen for pool in pools)
        return inside and subnets.is_free(self._rtnl, own, str(current))

    def _has_link(self, made: Endpoint) -> bool:
        return self._rtnl.link(endpoint.host_name(self._instance, made.id)) is not None


def _given(network: Network, version: int) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    """The first address of a family that somebody else's bridge has of its own."""
    for text in network.given or ():
        address = ipaddress.ip_interface(text)
        if address.version == version:
            return address
    return None
