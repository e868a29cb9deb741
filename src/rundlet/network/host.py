"""What the host holds for our networks (bridges, table, exceptions, forwarding), made to agree with the records."""

import errno
import ipaddress
from collections.abc import Collection
from contextlib import ExitStack

from rundlet.linux.conntrack import Conntrack, tracked
from rundlet.linux.netlink import Netlink
from rundlet.network import endpoint, ipam, subnets
from rundlet.network.bridge import BridgeDriver, Forwarding, bridge_name
from rundlet.network.defaultbridge import DefaultBridge
from rundlet.network.endpoint import EndpointStore
from rundlet.network.errors import NetworkConfigError
from rundlet.network.firewall import BridgeNetwork, BridgeSubnet, Firewall, LinkedPort, Publication
from rundlet.network.foreign import ForeignFirewalls
from rundlet.network.ipam import IPNetwork
from rundlet.network.networks import DEFAULT_BRIDGE, PARENT_DRIVERS, Network, NetworkStore, Subnet
from rundlet.network.options import DaemonOptions
from rundlet.network.parents import ParentDriver
from rundlet.util.database import Database


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
        self._bridges = BridgeDriver(self._rtnl, route_loopback=4 in self._options.families)
        self._default = DefaultBridge(database, instance, store, endpoints, self._rtnl, self._bridges, self._options)
        self._parents = ParentDriver(self._rtnl)
        self._forwarding = Forwarding(database)
        self._forwarding6 = Forwarding(database, 6)
        self._foreign = ForeignFirewalls(firewall.nft, database, firewall.table)
        self._forwarding_is_ours = False
        self._forwarding6_is_ours = False
        self.warnings: list[str] = []
        self.lost_parents: list[str] = []

    def close(self) -> None:
        self._rtnl.close()

    def ensure(self) -> None:
        """Make or repair everything."""
        self._networks.ensure_defaults(self._default.options() if self._options.default_bridge else None)
        if not self._options.default_bridge:
            self._drop_default()
        for network in self._bridge_networks():
            self._ensure_network(network)
        self._ensure_parents()
        self._ensure_forwarding()
        self.sync()
        self.allow_foreign()
        self.allow_legacy()

    @property
    def _filters(self) -> bool:
        """Whether other firewalls are asked to let containers' packets through."""
        return 4 in self._options.families

    def _ensure_forwarding(self) -> None:
        if self._options.forwarding:
            self._forwarding_is_ours = self._forwarding.ensure()
            if any(network.ipv6 for network in self._bridge_networks()):
                self._forwarding6_is_ours = self._forwarding6.ensure()

    def link(self, wanted: Collection[LinkedPort]) -> None:
        """Let linked containers of the default bridge reach one another, where it keeps them apart."""
        before = self._firewall.linked
        if before == frozenset(wanted):
            return
        bridge = self._networks.find(DEFAULT_BRIDGE)
        if not wanted:
            self._bridges.route_within(bridge, on=False)
        try:
            self._firewall.link(wanted)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            self.sync()  # Someone flushed the table this instant.
        if wanted and not before:
            self._bridges.route_within(bridge, on=True)

    def ensure_links(self, network: Network) -> None:
        """Make the network's bridge or parent again if it is gone: one look otherwise. Raises NetworkConfigError."""
        if network.driver in PARENT_DRIVERS:
            self._parents.ensure(network)
        elif not self._bridges.exists(network):
            self._bridges.ensure(network)
            self._adopt(network)

    def bridge_found(self, name: str) -> tuple[str, ...]:
        """The addresses of somebody else's bridge. Raises NetworkConfigError: it is none."""
        return self._bridges.found(name)

    def has_interface(self, name: str) -> bool:
        return self._parents.exists(name)

    def add(self, network: Network) -> None:
        """Make what a new network needs. Raises NetworkConfigError."""
        if network.given is not None:
            self._bridges.ensure(network)  # it is there, and lacks what is ours
        self.ensure_links(network)
        if network.driver == "bridge":
            before = self._closed_families()
            if network.ipv6:
                self._ensure_forwarding()
            self._add_to_table(network, rebuild=self._closed_families() != before)
            self.allow_foreign()
            if self._filters:
                self._foreign.allow_legacy([network.bridge], [network.bridge] if network.ipv6 else [])

    def remove_links(self, network: Network) -> None:
        """Remove a network's bridge or parent. Before its record: without that the next engine would not find them.

        Slow; safe beside every other call.
        """
        with Netlink() as rtnl:
            if network.driver in PARENT_DRIVERS:
                ParentDriver(rtnl).remove(network)
            elif network.driver == "bridge":
                BridgeDriver(rtnl).remove(network)

    def discard(self, network: Network) -> None:
        """Take a network that is not in the records any more out of the firewalls."""
        if network.driver == "bridge":
            self.sync()
            self._foreign.forget_bridge(network.bridge)

    def choose_subnet(self, version: int) -> IPNetwork:
        """A free one for a new network. Raises NoFreeSubnetError."""
        taken = [ipaddress.ip_network(pool.subnet) for n in self._networks.all() for pool in n.subnets]
        return subnets.choose(self._rtnl, 0, self._options.pools_of(self._instance, version), taken)

    def sync(self) -> None:
        """Make the table anew from the records."""
        published = [
            Publication(port.protocol, port.host_address, port.host_port, address, port.container_port)
            for address, port in self._endpoints.published()
        ]
        known = [_known(network) for network in self._bridge_networks()]
        self._firewall.sync(known, published, close_other_forwarding=self._closed_families())

    def _closed_families(self) -> list[int]:
        """Those that the host forwards for containers only."""
        if self._options.forward_others:
            return []
        ours = ((4, self._forwarding_is_ours), (6, self._forwarding6_is_ours))
        return [version for version, closed in ours if closed]

    def _add_to_table(self, network: Network, *, rebuild: bool) -> None:
        """One network more: whatever else the table holds stays as it is."""
        if not rebuild:
            try:
                self._firewall.add(_known(network))
                return
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.EEXIST):
                    raise
        self.sync()  # Someone flushed the table, or left a part of it.

    def allow_foreign(self) -> None:
        """Let our bridges through other tables that drop by default."""
        if not self._filters:
            return
        known = self._bridge_networks()
        refused = self._foreign.allow(
            [network.bridge for network in known], [network.bridge for network in known if network.ipv6]
        )
        self.warnings = [
            f"the firewall's chain {chain.table} {chain.name} drops the traffic of containers and can't be changed:"
            f" allow it there for the interfaces {bridge_name(self._instance, '*')}"
            for chain in refused
        ]

    def allow_legacy(self) -> None:
        """The same in the old iptables, which tells nobody of changes. Slow where it is in use."""
        if self._filters:
            known = self._bridge_networks()
            both = [network.bridge for network in known if network.ipv6]
            self._foreign.allow_legacy([network.bridge for network in known], both)

    def _ensure_parents(self) -> None:
        """A parent that went away is no reason to keep every other network down: its containers' starts will say so."""
        for network in self._networks.all():
            if network.driver in PARENT_DRIVERS:
                try:
                    self._parents.ensure(network)
                except (NetworkConfigError, OSError) as exc:
                    self.lost_parents.append(f"network {network.name}: {exc}")

    def sweep(self) -> int:
        """Delete links without an endpoint; forget the connections of addresses without one and free them."""
        with Netlink() as rtnl:
            for name in self._stale_links(rtnl):
                rtnl.delete_link(name, missing_ok=True)
        freed = ipam.ownerless(self._database)
        if freed and tracked():
            with Conntrack() as conntrack:
                conntrack.forget_addresses({address for _, address in freed})
        with self._database.transaction(durable=False, freeing=True) as cursor:
            ipam.free(cursor, freed)
        return len(freed)

    def remove(self) -> None:
        """Remove everything of ours from the kernel, and all endpoints."""
        with self._database.transaction(freeing=True) as cursor:
            for container_id in {made.container_id for made in self._endpoints.all()}:
                endpoint.delete_container(cursor, container_id)
        # Each step is taken, whatever became of the one before: last in, first out.
        with ExitStack() as steps:
            steps.callback(self._restore_forwarding)
            for network in self._networks.all():
                if network.driver in PARENT_DRIVERS:
                    steps.callback(self._parents.remove, network)
            for network in self._bridge_networks():
                steps.callback(self._bridges.remove, network)
            for step in (self.sweep, self._firewall.remove, self._foreign.withdraw):
                steps.callback(step)

    def _restore_forwarding(self) -> None:
        self._forwarding.restore(self._rtnl)
        self._forwarding6.restore(self._rtnl)
        self._forwarding_is_ours = self._forwarding6_is_ours = False

    def _bridge_networks(self) -> list[Network]:
        return [network for network in self._networks.all() if network.driver == "bridge"]

    def _drop_default(self) -> None:
        """An earlier engine's default bridge, unless a container is still on it."""
        for network in self._bridge_networks():
            if network.name == DEFAULT_BRIDGE and not self._endpoints.of_network(network.id):
                self._bridges.remove(network)
                self._networks.delete(network.id)

    def _ensure_network(self, network: Network) -> None:
        if network.name == DEFAULT_BRIDGE:
            network = self._default.settled(network)
        self._bridges.ensure(network)
        self._adopt(network)

    def _adopt(self, network: Network) -> None:
        made = self._endpoints.of_network(network.id)
        self._bridges.adopt(network, [endpoint.host_name(self._instance, e.id) for e in made])

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


def _known(network: Network) -> BridgeNetwork:
    """What the firewall is told of a network."""
    return BridgeNetwork(
        network.bridge,
        tuple(_family(network, pool) for pool in network.subnets),
        internal=network.internal,
        icc=network.icc,
        trusted=network.trusted_interfaces,
    )


def _family(network: Network, pool: Subnet) -> BridgeSubnet:
    version = pool.version
    return BridgeSubnet(
        pool.subnet,
        pool.gateway,
        mode=network.gateway_mode(version),
        masquerade=network.masquerade and network.gateway_mode(version) in ("nat", "nat-unprotected"),
        source=network.source(version),
    )
