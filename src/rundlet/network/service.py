"""The network's door for the engine: allocate, release, recover.

Every call is synchronous and short, so the engine makes them from its event loop; only :meth:`NetworkService.sweep`,
:meth:`~NetworkService.remove_links`, :meth:`~NetworkService.shutdown` and :meth:`~NetworkService.remove_all` wait for
the kernel (20 ms and more for each link that has to be deleted, 8 ms to look through the tracked connections for one
address) and belong in a thread, as :meth:`~NetworkService.allow_legacy` does, which runs other programs. Errors of the
kernel arrive as ``FirewallError``.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from rundlet.network import bridge, creation, endpoint, foreign, ipam, networks, portmap
from rundlet.network.endpoint import Endpoint, EndpointStore, Wanted
from rundlet.network.errors import (
    ActiveEndpointsError,
    ConfigurationNotFoundError,
    NetworkConfigError,
    NetworkExistsError,
    NetworkForbiddenError,
    NetworkNotFoundError,
    PredefinedNetworkError,
)
from rundlet.network.firewall import Firewall, LinkedPort
from rundlet.network.host import Host
from rundlet.network.joining import Joined, Joiner, kernel_errors
from rundlet.network.names import NameTables, Server
from rundlet.network.networks import BRIDGE_NAME, DEFAULT_BRIDGE, PARENT_DRIVERS, Network, NetworkStore, Subnet
from rundlet.network.options import DaemonOptions
from rundlet.network.portmap import PortRequest, PublishedPort
from rundlet.network.sandbox import Allocation, Change, Sandbox, leads_out, parse_mode
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.util.ids import new_id

SCHEMA: tuple[str, ...] = (
    networks.SCHEMA + ipam.SCHEMA + endpoint.SCHEMA + portmap.SCHEMA + bridge.SCHEMA + foreign.SCHEMA
)


class NetworkService:
    """Networks, endpoints and published ports of one engine.

    ``names`` is the directory of the name tables (below the run directory); empty: no names are served. ``proxy``:
    somebody answers at the published ports that the firewall can't send on. ``outside`` makes sockets in the machine's
    network, where ports are published, if that is not the one that the containers' bridges are in.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        instance: str,
        options: DaemonOptions | None = None,
        *,
        names: str = "",
        proxy: bool = False,
        outside: portmap.NewSocket | None = None,
    ) -> None:
        self._database = database
        self._instance = instance
        self._options = options or DaemonOptions()
        self._networks = NetworkStore(database, clock)
        self._endpoints = EndpointStore(database)
        self._firewall = Firewall(instance, self._options.families, direct=self._options.direct)
        self._host = Host(database, instance, self._networks, self._endpoints, self._firewall, options=self._options)
        self._names = NameTables(names) if names else None
        self._joiner = Joiner(
            database,
            instance,
            self._networks,
            self._endpoints,
            self._firewall,
            self._host,
            self._names,
            proxy=proxy,
            outside=outside,
        )
        self.on_release: Callable[[], None] = _nothing
        """Called when something was released that :meth:`sweep` should clear up behind."""

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the default networks with their bridges, addresses and rules, whatever is left from before.

        Raises FirewallError, NoFreeSubnetError, InvalidAddressError (``bip``).
        """
        with kernel_errors():
            self._host.ensure()
        self._joiner.write_all_names()

    def recover(self, live: Collection[str]) -> list[str]:
        """Release the endpoints of containers that are not in ``live``. Returns those containers' ids."""
        dead = sorted(self._endpoints.containers() - set(live))
        if dead:
            self._joiner.forget(dead)
            with kernel_errors():
                self._host.sync()
            self._joiner.write_all_names()
        return dead

    def watch(self) -> int:
        """A descriptor that is readable when :meth:`on_firewall_change` should run."""
        with kernel_errors():
            return self._firewall.watch()

    def on_firewall_change(self) -> bool:
        """Repair our table when someone else changed it, and our exceptions when other tables changed.

        Returns whether our table had to be repaired.
        """
        with kernel_errors():
            ours, theirs = self._firewall.disturbed()
            if ours:
                self._host.sync()
            if theirs:
                self._host.allow_foreign()
        return ours

    def allow_legacy(self) -> None:
        """Let containers' packets through the old iptables, which tells nobody of changes: look from time to time.

        Slow where it is in use; safe beside every other call.
        """
        self._host.allow_legacy()

    def sweep(self) -> int:
        """Clear up behind released endpoints, and free their addresses for use. Slow; safe beside every other call.

        Their connections are forgotten, and links that some process keeps alive are deleted. To be called soon after
        every release, in a thread. Returns how many addresses are free again.
        """
        with kernel_errors():
            return self._host.sweep()

    def shutdown(self) -> None:
        """The engine ends: leave what running containers need; without any, leave nothing. Slow."""
        if not self._endpoints.all():
            self.remove_all()
        self.close()

    def remove_all(self) -> None:
        """Remove every rule, bridge, link and exception of ours from the host, and every endpoint. Slow."""
        with kernel_errors():
            self._host.remove()

    def close(self) -> None:
        """Close the sockets; nothing in the kernel changes."""
        self._firewall.close()
        self._host.close()

    # -- reading ------------------------------------------------------------------------------------------------

    def networks(self) -> list[Network]:
        return self._networks.all()

    def network(self, reference: str) -> Network:
        """By name, id or start of an id. Raises NetworkNotFoundError."""
        return self._networks.find(reference)

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """The endpoints of a container that is allocated."""
        return self._endpoints.of_container(container_id)

    def joined(self, container_id: str) -> Joined:
        """The same with their networks."""
        return self._joiner.joined(container_id)

    def endpoints_of(self, network: Network) -> list[Endpoint]:
        return self._endpoints.of_network(network.id)

    def ports(self, container_id: str) -> list[PublishedPort]:
        """The ports published for a container that is allocated; without a host port what is open at its own address
        (gateway mode ``routed``)."""
        return sorted(self._endpoints.ports(container_id) + self._endpoints.opened(container_id))

    def proxied(self, container_id: str) -> tuple[str, list[PublishedPort]]:
        """What the proxy does for a container that is allocated: the address that it leads to, and the host's ports."""
        return self._joiner.proxied(container_id)

    def pools(self) -> tuple[tuple[str, int], ...]:
        """The address pools that were configured, with the prefix of the subnets cut from them."""
        return self._options.pools

    def host_gateways(self) -> tuple[str, ...]:
        """The host's addresses on the default bridge: what ``host-gateway`` in ``--add-host`` stands for."""
        chosen = self._options.host_gateways
        if chosen or not self._options.default_bridge:
            return chosen
        bridge = self._networks.find(DEFAULT_BRIDGE)
        return tuple(address for version in (4, 6) if (address := bridge.gateway(version)))

    @property
    def default_mode(self) -> str:
        """What containers have that choose no network, or the default one: ``bridge``, or ``none`` without that."""
        return DEFAULT_BRIDGE if self._options.default_bridge else "none"

    def warnings(self) -> list[str]:
        """What keeps containers from the network on this host, for ``info``; one sentence each."""
        return [*self._host.warnings, *self._host.lost_parents]

    @property
    def resolver_socket(self) -> str:
        """Where the resolver is to listen."""
        return self._names.socket if self._names is not None else ""

    @property
    def proxy_socket(self) -> str:
        """Where the proxy is to listen."""
        return self._names.proxy if self._names is not None else ""

    @property
    def needs_resolver(self) -> bool:
        """Whether a container that is allocated looks names up."""
        named = {network.id for network in self._networks.all() if network.has_names}
        return any(made.network_id in named for made in self._endpoints.all())

    # -- networks -----------------------------------------------------------------------------------------------

    def create(self, request: creation.Request) -> Network:
        """Make a network: its record, then its interface and rules; on failure nothing is left.

        Raises what ``creation`` raises, NetworkExistsError, PoolOverlapError, NoFreeSubnetError, FirewallError.
        """
        request = creation.normalised(self._with_defaults(request))
        creation.check(request)
        existing = self._networks.all()
        if any(network.name == request.name for network in existing):
            raise NetworkExistsError(request.name)
        if request.config_from:
            request = self._configured(request)
        made = self._placed(self._subnetted(self._recorded(request), request), existing)
        self._networks.put(made)
        if made.config_only:
            return made
        try:
            with kernel_errors():
                self._host.add(made)
        except BaseException:
            self.remove_links(made)
            self.left(made)
            raise
        self._joiner.write_network(made)
        return made

    def remove(self, reference: str) -> Network:
        """Remove a network that no running container is on, in one go. Slow.

        Raises what :meth:`leave` raises.
        """
        network = self.leave(reference)
        try:
            self.remove_links(network)
        except BaseException:
            self.stay(network)
            raise
        self.left(network)
        return network

    def leave(self, reference: str) -> Network:
        """The first part of a removal: from now on nobody finds the network.

        Then come :meth:`remove_links`, in a thread, and :meth:`left`, or :meth:`stay` if that failed; no network is
        made before: it might get what this one still has. Raises NetworkNotFoundError, PredefinedNetworkError,
        ActiveEndpointsError, NetworkForbiddenError.
        """
        network = self._networks.find(reference)
        if network.predefined:
            raise PredefinedNetworkError(f"{network.name} is a pre-defined network and cannot be removed")
        endpoints = self._endpoints.of_network(network.id)
        if endpoints:
            raise ActiveEndpointsError(network.name, [(made.name, made.id) for made in endpoints])
        if network.config_only and any(other.config_from == network.name for other in self._networks.all()):
            raise NetworkForbiddenError(
                f'error while removing network: configuration network "{network.name}" is in use'
            )
        self._networks.hide(network.id)
        # Who is the last on an interface takes it away.
        shared = any(network.parent and other.parent == network.parent for other in self._networks.all())
        return msgspec.structs.replace(network, parent_made=network.parent_made and not shared)

    def remove_links(self, network: Network) -> None:
        """The second part of a removal. Slow; safe beside every other call."""
        with kernel_errors():
            self._host.remove_links(network)

    def stay(self, network: Network) -> None:
        """It could not be removed."""
        self._networks.show(network.id)

    def left(self, network: Network) -> None:
        """The last part of a removal."""
        self._networks.delete(network.id)
        with self._database.transaction(freeing=True) as cursor:
            ipam.forget(cursor, network.id)
        with kernel_errors():
            self._host.discard(network)
        if self._names is not None:
            self._names.forget(network.id)

    def _configured(self, request: creation.Request) -> creation.Request:
        """The request with what its configuration network says."""
        try:
            source = self._networks.find(request.config_from)
        except NetworkNotFoundError as exc:
            raise ConfigurationNotFoundError(request.config_from) from exc
        if not source.config_only:
            raise ConfigurationNotFoundError(request.config_from)
        pools = tuple(
            creation.Pool(pool.subnet, pool.ip_range, pool.gateway, dict(pool.auxiliary)) for pool in source.subnets
        )
        made = msgspec.structs.replace(
            request,
            pools=pools,
            options=source.options,
            labels=source.labels,
            config_from="",
            ipv4=source.ipv4,
            ipv6=source.ipv6,
        )
        creation.check(made)
        return msgspec.structs.replace(made, config_from=source.name)

    def _recorded(self, request: creation.Request) -> Network:
        return Network(
            id=new_id(),
            name=request.name,
            driver="null" if request.config_only else request.driver,
            created=self._networks.now_ns(),
            options=dict(request.options),
            ipam_options=request.ipam_options,
            labels=dict(request.labels),
            internal=request.internal,
            attachable=request.attachable,
            config_only=request.config_only,
            config_from=request.config_from,
            ipv4=request.has(4),
            ipv6=request.has(6),
        )

    def _with_defaults(self, request: creation.Request) -> creation.Request:
        """The request with what daemon.json says about networks of its driver, and its own options over that."""
        if request.config_only or request.config_from:
            return request
        options = {**self._options.defaults.get(request.driver, {}), **request.options}
        if request.driver == "bridge" and self._options.mtu != networks.STANDARD_MTU:
            options.setdefault(networks.MTU, str(self._options.mtu))
        return msgspec.structs.replace(request, options=options)

    def _subnetted(self, made: Network, request: creation.Request) -> Network:
        if made.config_only:
            given = [Subnet(p.subnet, p.gateway, p.ip_range, dict(p.auxiliary), True) for p in request.pools]
            return msgspec.structs.replace(made, subnets=tuple(given))
        named = [pool for pool in request.pools if pool.subnet]
        idle = [
            Subnet(p.subnet, p.gateway, p.ip_range, dict(p.auxiliary), True)
            for p in named
            if not request.has(p.version)
        ]
        given = [
            creation.subnet(pool, None, gateway=_has_gateway(made, pool.version))
            for pool in named
            if request.has(pool.version)
        ]
        creation.pool_overlaps(given, self._networks.all())
        for version in (4, 6):
            if request.has(version) and not any(pool.version == version for pool in given):
                with kernel_errors():
                    chosen = self._host.choose_subnet(version)
                given.append(creation.subnet(creation.Pool(), chosen, gateway=_has_gateway(made, version)))
        subnets = tuple(sorted(given, key=lambda pool: pool.version))
        return msgspec.structs.replace(made, subnets=subnets, idle=tuple(idle))

    def _placed(self, made: Network, existing: Iterable[Network]) -> Network:
        """The names of the interfaces that the network is to have. Raises NetworkForbiddenError."""
        if made.driver == "bridge":
            name = made.options.get(BRIDGE_NAME, "")
            if name and any(other.bridge == name for other in existing):
                raise NetworkForbiddenError(f"networks have same bridge name: {name}")
            given = self._host.bridge_found(name) if name and self._host.has_interface(name) else None
            own = bridge.bridge_name(self._instance, made.id[:8])
            return msgspec.structs.replace(made, bridge=name or own, given=given)
        if made.driver in PARENT_DRIVERS:
            parent = made.options.get("parent", "")
            others = [other for other in existing if parent and other.parent == parent]
            creation.check_shared(made, [other for other in others if other.driver == made.driver])
            ours = not self._host.has_interface(parent) if parent else True
            ours = ours or any(other.parent_made for other in others)
            name = parent or bridge.bridge_name(self._instance, made.id[:8])
            # Without a parent it leads nowhere.
            return msgspec.structs.replace(made, parent=name, parent_made=ours, internal=made.internal or not parent)
        return made

    # -- containers ---------------------------------------------------------------------------------------------

    def way_out(self, wanted: Iterable[Wanted]) -> Network | None:
        """The network that a container's first default route and its published ports would go by."""
        found = []
        for one in wanted:
            try:
                network = self._networks.find(one.network)
            except NetworkNotFoundError:
                continue
            gateways = [version for version in (4, 6) if network.gateway(version)]
            if leads_out(network, network.gateway(gateways[0]) if gateways else ""):
                found.append(((-one.gw_priority, -len(gateways), 4 not in gateways, network.name), network))
        return min(found, key=lambda item: item[0])[1] if found else None

    def allocate(
        self,
        container_id: str,
        name: str,
        mode: str = "default",
        *,
        wanted: Sequence[Wanted] | None = None,
        requests: Sequence[PortRequest] = (),
        servers: Sequence[Server] = (),
        join: str = "",
    ) -> Allocation:
        """Everything that a container about to start needs: addresses, its host ports (bound), its rules.

        ``wanted`` are its networks, the first one's interface first; None: the one that ``mode`` names. ``join`` is the
        network namespace of the container that ``container:<id>`` names. Ports are published on bridge networks only.
        What is allocated stays until :meth:`release`; the caller closes the allocation once the shim has its
        descriptors. Raises NetworkNotFoundError, PortUnavailableError, AddressInUseError, InvalidAddressError,
        PoolExhaustedError, FirewallError, NetworkConfigError; nothing is left allocated then.
        """
        parsed = parse_mode(mode)
        if parsed.kind == "container":
            return Allocation(Sandbox("join", join=join))
        if parsed.kind in ("host", "none"):
            return Allocation(Sandbox(parsed.kind))
        chosen = (Wanted(parsed.reference),) if wanted is None else tuple(wanted)
        found = [self._networks.find(one.network) for one in chosen]
        if any(network.driver in ("host", "null") and not network.config_only for network in found):
            raise NetworkConfigError("the networks host and none are reached by their names alone")
        return self._joiner.allocate(container_id, name, chosen, requests, servers)

    def release(self, container_id: str) -> None:
        """Take back what a container has; nothing is fine. Its address is free again after :meth:`sweep`."""
        if self._firewall.linked:
            gone = {address for made in self._endpoints.of_container(container_id) for address in made.addresses}
            self.link([one for one in self._firewall.linked if gone.isdisjoint((one.source, one.address))])
        self._joiner.release(container_id)
        self.on_release()

    @property
    def links_open_ports(self) -> bool:
        """Whether the default bridge keeps containers apart that have no link to one another."""
        return self._options.default_bridge and not self._options.icc and 4 in self._options.families

    def link(self, wanted: Collection[LinkedPort]) -> None:
        """What containers of the default bridge may ask of others, instead of what they might before."""
        with kernel_errors():
            self._host.link(wanted)

    def connect(
        self,
        container_id: str,
        name: str,
        wanted: Wanted,
        *,
        requests: Sequence[PortRequest] = (),
        servers: Sequence[Server] = (),
    ) -> Change:
        """A running container joins one more network. The caller has its shim carry the change out (or undoes it) and
        closes it. Raises what :meth:`allocate` raises, EndpointExistsError."""
        return self._joiner.connect(container_id, name, wanted, requests, servers)

    def disconnect(self, container_id: str, name: str, network: Network, *, servers: Sequence[Server] = ()) -> Change:
        """A running container leaves a network. Raises NotConnectedError, FirewallError."""
        change = self._joiner.disconnect(container_id, name, network, servers)
        self.on_release()
        return change

    def undo(self, container_id: str, name: str, change: Change, *, servers: Sequence[Server] = ()) -> None:
        """A connection could not be carried out."""
        network = self._networks.by_id(change.endpoint.network_id)
        if network is not None:
            self._joiner.undo(container_id, name, network, change.reservation, servers)
        self.on_release()

    def rename(self, container_id: str, name: str) -> None:
        """A container has another name from now on."""
        self._joiner.rename(container_id, name)


def _has_gateway(network: Network, version: int) -> bool:
    """Whether an address of each subnet is a router's where none is named: who is on a LAN knows its routers."""
    return network.driver not in PARENT_DRIVERS and (network.host_has_address(version) or not network.internal)


def _nothing() -> None:
    return None
