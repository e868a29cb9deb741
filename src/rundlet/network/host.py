"""What the host holds for our networks (bridges, table, exceptions, forwarding), made to agree with the records."""

import ipaddress

import msgspec

from rundlet.linux.conntrack import Conntrack, tracked
from rundlet.linux.netlink import Netlink
from rundlet.network import endpoint, ipam, networks, subnets
from rundlet.network.bridge import BridgeDriver, Forwarding, bridge_name
from rundlet.network.endpoint import Endpoint, EndpointStore
from rundlet.network.errors import NetworkConfigError
from rundlet.network.firewall import BridgeNetwork, Firewall, Publication
from rundlet.network.foreign import ForeignFirewalls
from rundlet.network.networks import DEFAULT_BRIDGE, PARENT_DRIVERS, Network, NetworkStore, Subnet
from rundlet.network.parents import ParentDriver
from rundlet.util.database import Database


class DaemonOptions(msgspec.Struct, frozen=True):
    """What daemon.json says about networks."""

    bip: str = ""
    """The default bridge's address and subnet; empty: the first pool that is free."""
    mtu: int = 1500
    pools: tuple[tuple[str, int], ...] = ipam.DEFAULT_POOLS


class Host:
    """Raises OSError that names the step."""

    def __init__(
        self,
        database: Database,
        instance: str,
        store: NetworkStore,
        endpoints: EndpointStore,
        firewall: Firewall,
        *,
        options: DaemonOptions,
    ) -> None:
        self._database = database
        self._instance = instance
        self._networks = store
        self._endpoints = endpoints
        self._firewall = firewall
        self._options = options
        self._rtnl = Netlink()
        self._bridges = BridgeDriver(self._rtnl)
        self._parents = ParentDriver(self._rtnl)
        self._forwarding = Forwarding(database)
        self._foreign = ForeignFirewalls(firewall.nft, database, firewall.table)
        self._forwarding_is_ours = False
        self.warnings: list[str] = []
        self.lost_parents: list[str] = []

    def close(self) -> None:
        self._rtnl.close()

    def ensure(self) -> None:
        """Make or repair everything."""
        options = networks.bridge_options(bridge_name(self._instance, DEFAULT_BRIDGE), self._options.mtu)
        self._networks.ensure_defaults(options)
        for network in self._bridge_networks():
            self._ensure_network(network)
        self._ensure_parents()
        self._forwarding_is_ours = self._forwarding.ensure()
        self.sync()
        self.allow_foreign()
        self._foreign.allow_legacy([network.bridge for network in self._bridge_networks()])

    def ensure_links(self, network: Network) -> None:
        """Make the network's bridge or parent again if it is gone: one look otherwise. Raises NetworkConfigError."""
        if network.driver in PARENT_DRIVERS:
            self._parents.ensure(network)
        elif not self._bridges.exists(network):
            self._bridges.ensure(network)
            self._adopt(network)

    def has_interface(self, name: str) -> bool:
        return self._parents.exists(name)

    def add(self, network: Network) -> None:
        """Make what a new network needs. Raises NetworkConfigError."""
        self.ensure_links(network)
        if network.driver == "bridge":
            self.sync()
            self.allow_foreign()
            self._foreign.allow_legacy([network.bridge])

    def discard(self, network: Network) -> None:
        """Remove what belongs to a network that is not in the records any more."""
        if network.driver in PARENT_DRIVERS:
            self._parents.remove(network)
        elif network.driver == "bridge":
            self.sync()
            self._foreign.forget_bridge(network.bridge)
            self._bridges.remove(network)

    def choose_subnet(self) -> ipaddress.IPv4Network:
        """A free one for a new network. Raises NoFreeSubnetError."""
        taken = [ipaddress.IPv4Network(pool.subnet) for n in self._networks.all() for pool in n.subnets]
        return subnets.choose(self._rtnl, 0, self._options.pools, taken)

    def sync(self) -> None:
        """Make the table anew from the records."""
        published = [
            Publication(port.protocol, port.host_address, port.host_port, address, port.container_port)
            for address, port in self._endpoints.published()
        ]
        known = [
            BridgeNetwork(
                network.bridge,
                subnet.subnet,
                subnet.gateway,
                internal=network.internal,
                icc=network.icc,
                masquerade=network.masquerade,
            )
            for network in self._bridge_networks()
            for subnet in network.subnets[:1]
        ]
        self._firewall.sync(known, published, drop_other_forwarding=self._forwarding_is_ours)

    def allow_foreign(self) -> None:
        """Let our bridges through other tables that drop by default."""
        refused = self._foreign.allow([network.bridge for network in self._bridge_networks()])
        self.warnings = [
            f"the firewall's chain {chain.table} {chain.name} drops the traffic of containers and can't be changed:"
            f" allow it there for the interfaces {bridge_name(self._instance, '*')}"
            for chain in refused
        ]

    def _ensure_parents(self) -> None:
        """A parent that went away is no reason to keep every other network down: its containers' starts will say so."""
        for network in self._networks.all():
            if network.driver in PARENT_DRIVERS:
                try:
                    self._parents.ensure(network)
                except (NetworkConfigError, OSError) as exc:
                    self.lost_parents.append(f"network {network.name}: {exc}")

    def has_link(self, made: Endpoint) -> bool:
        """Whether the host's end of the endpoint's veth exists."""
        return self._rtnl.link(endpoint.host_name(self._instance, made.id)) is not None

    def sweep(self) -> int:
        """Delete links without an endpoint; forget the connections of addresses without one and free them."""
        with Netlink() as rtnl:
            for name in self._stale_links(rtnl):
                rtnl.delete_link(name, missing_ok=True)
        freed = self._database.query(
            "SELECT network_id, address FROM ipam_addresses WHERE owner NOT IN (SELECT id FROM endpoints)"
        )
        if freed and tracked():
            with Conntrack() as conntrack:
                conntrack.forget_addresses({str(ipaddress.IPv4Address(address)) for _, address in freed})
        with self._database.transaction() as cursor:
            cursor.executemany("DELETE FROM ipam_addresses WHERE network_id = ? AND address = ?", freed)
        return len(freed)

    def remove(self) -> None:
        """Remove everything of ours from the kernel, and all endpoints."""
        with self._database.transaction() as cursor:
            for container_id in {made.container_id for made in self._endpoints.all()}:
                endpoint.delete_container(cursor, container_id)
        self._foreign.withdraw()
        self._firewall.remove()
        self.sweep()
        for network in self._bridge_networks():
            self._bridges.remove(network)
        for network in self._networks.all():
            if network.driver in PARENT_DRIVERS:
                self._parents.remove(network)
        self._forwarding.restore(self._rtnl)
        self._forwarding_is_ours = False

    def _bridge_networks(self) -> list[Network]:
        return [network for network in self._networks.all() if network.driver == "bridge"]

    def _ensure_network(self, network: Network) -> None:
        self._bridges.ensure(self._with_subnet(network))
        self._adopt(network)

    def _adopt(self, network: Network) -> None:
        made = self._endpoints.of_network(network.id)
        self._bridges.adopt(network, [endpoint.host_name(self._instance, e.id) for e in made])

    def _with_subnet(self, network: Network) -> Network:
        """``network`` with a subnet that it can have now; an unused one moves where the host needs it to."""
        link = self._rtnl.link(network.bridge)
        own = link.ifindex if link else 0
        bip = self._options.bip if network.name == DEFAULT_BRIDGE else ""
        if network.subnets and self._may_keep(network, own, bip):
            return network
        if bip:
            subnet, gateway = ipam.parse_bip(bip)
        else:
            taken = [
                ipaddress.IPv4Network(pool.subnet)
                for other in self._networks.all()
                if other.id != network.id
                for pool in other.subnets
            ]
            subnet = subnets.choose(self._rtnl, own, self._options.pools, taken)
            gateway = str(subnet.network_address + 1)
        moved = msgspec.structs.replace(network, subnets=(Subnet(str(subnet), gateway),))
        with self._database.transaction() as cursor:
            for made in self._endpoints.of_network(network.id):
                endpoint.delete_container(cursor, made.container_id)
            ipam.forget(cursor, network.id)
        self._networks.put(moved)
        return moved

    def _may_keep(self, network: Network, own: int, bip: str) -> bool:
        if network.name != DEFAULT_BRIDGE:
            return True  # Someone asked for that subnet.
        if any(self.has_link(made) for made in self._endpoints.of_network(network.id)):
            return True  # A running container uses it.
        if bip:
            subnet, gateway = ipam.parse_bip(bip)
            return network.subnets == (Subnet(str(subnet), gateway),)
        pools = [ipaddress.IPv4Network(pool) for pool, _ in self._options.pools]
        current = ipaddress.IPv4Network(network.subnets[0].subnet)
        return any(current.subnet_of(pool) for pool in pools) and subnets.is_free(self._rtnl, own, str(current))

    def _stale_links(self, rtnl: Netlink) -> list[str]:
        """Our veths without an endpoint. The links are read first: an endpoint's record precedes its link."""
        links = rtnl.links()
        bridges = {network.bridge for network in self._bridge_networks()}
        masters = {link.ifindex for link in links if link.name in bridges}
        known = {endpoint.host_name(self._instance, made.id) for made in self._endpoints.all()}
        prefix = endpoint.host_name_prefix(self._instance)
        return [
            link.name
            for link in links
            if link.name.startswith(prefix) and link.master in masters and link.name not in known
        ]
