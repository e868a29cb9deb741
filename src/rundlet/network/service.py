"""The network's door for the engine: allocate, release, recover.

Every call is synchronous and short, so the engine makes them from its event loop; only :meth:`NetworkService.sweep`,
:meth:`~NetworkService.shutdown` and :meth:`~NetworkService.remove_all` wait for the kernel (20 ms for each link that
has to be deleted, 8 ms to look through the tracked connections for one address) and belong in a thread. Errors of the
kernel arrive as ``FirewallError``.
"""

import errno
import re
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rundlet.linux.conntrack import Conntrack, tracked
from rundlet.network import bridge, endpoint, foreign, ipam, networks, portmap, sandbox
from rundlet.network.endpoint import Endpoint, EndpointStore
from rundlet.network.errors import (
    AddressInUseError,
    FirewallError,
    InvalidAddressError,
    PoolExhaustedError,
    PortUnavailableError,
)
from rundlet.network.firewall import Firewall, Publication
from rundlet.network.host import DaemonOptions, Host
from rundlet.network.networks import DEFAULT_BRIDGE, Network, NetworkStore
from rundlet.network.portmap import PortAllocator, PortRequest, PublishedPort, Reservation, TakenPorts
from rundlet.network.sandbox import Allocation, Sandbox, parse_mode
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.util.ids import new_id

SCHEMA: tuple[str, ...] = (
    networks.SCHEMA + ipam.SCHEMA + endpoint.SCHEMA + portmap.SCHEMA + bridge.SCHEMA + foreign.SCHEMA
)

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


class NetworkService:
    """Networks, endpoints and published ports of one engine."""

    def __init__(self, database: Database, clock: Clock, instance: str, options: DaemonOptions | None = None) -> None:
        self._database = database
        self._instance = instance
        self._networks = NetworkStore(database, clock)
        self._endpoints = EndpointStore(database)
        self._firewall = Firewall(instance)
        self._host = Host(
            database, instance, self._networks, self._endpoints, self._firewall, options=options or DaemonOptions()
        )
        self._ports = PortAllocator()

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the default networks with their bridges, addresses and rules, whatever is left from before.

        Raises FirewallError, NoFreeSubnetError, InvalidAddressError (``bip``).
        """
        with _kernel_errors():
            self._host.ensure()

    def recover(self, live: Collection[str]) -> list[str]:
        """Release the endpoints of containers that are not in ``live``. Returns those containers' ids."""
        dead = [made for made in self._endpoints.all() if made.container_id not in live]
        if dead:
            self._forget(dead)
            with _kernel_errors():
                self._host.sync()
        return sorted({made.container_id for made in dead})

    def watch(self) -> int:
        """A descriptor that is readable when :meth:`on_firewall_change` should run."""
        with _kernel_errors():
            return self._firewall.watch()

    def on_firewall_change(self) -> bool:
        """Repair our table when someone else changed it, and our exceptions when other tables changed.

        Returns whether our table had to be repaired.
        """
        with _kernel_errors():
            ours, theirs = self._firewall.disturbed()
            if ours:
                self._host.sync()
            if theirs:
                self._host.allow_foreign()
        return ours

    def sweep(self) -> int:
        """Clear up behind released endpoints, and free their addresses for use. Slow; safe beside every other call.

        Their connections are forgotten, and links that some process keeps alive are deleted. To be called soon after
        every release, in a thread. Returns how many addresses are free again.
        """
        with _kernel_errors():
            return self._host.sweep()

    def shutdown(self) -> None:
        """The engine ends: leave what running containers need; without any, leave nothing. Slow."""
        if not self._endpoints.all():
            self.remove_all()
        self.close()

    def remove_all(self) -> None:
        """Remove every rule, bridge, link and exception of ours from the host, and every endpoint. Slow."""
        with _kernel_errors():
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

    def endpoints_of(self, network: Network) -> list[Endpoint]:
        return self._endpoints.of_network(network.id)

    def ports(self, container_id: str) -> list[PublishedPort]:
        """The ports published for a container that is allocated."""
        found = [port for e in self._endpoints.of_container(container_id) for port in self._endpoints.ports(e.id)]
        return sorted(found)

    def host_gateway(self) -> str:
        """The host's address on the default bridge: what ``host-gateway`` in ``--add-host`` stands for."""
        subnets = self._networks.find(DEFAULT_BRIDGE).subnets
        return subnets[0].gateway if subnets else ""

    def warnings(self) -> list[str]:
        """What keeps containers from the network on this host, for ``info``; one sentence each."""
        return list(self._host.warnings)

    def check_mode(self, mode: str) -> None:
        """Raises what :meth:`allocate` would raise for an unknown network or a malformed mode."""
        parsed = parse_mode(mode)
        if parsed.kind == "network":
            self._networks.find(parsed.reference)

    # -- containers ---------------------------------------------------------------------------------------------

    def allocate(
        self,
        container_id: str,
        name: str,
        mode: str = "default",
        *,
        requests: Sequence[PortRequest] = (),
        join: str = "",
        address: str | None = None,
        mac: str | None = None,
    ) -> Allocation:
        """Everything that a container about to start needs: an address, its host ports (bound), its rules.

        ``join`` is the network namespace of the container that ``container:<id>`` names. Ports are published on
        bridge networks only. What is allocated stays until :meth:`release`; the caller closes the allocation once
        the shim has its descriptors. Raises NetworkNotFoundError, PortUnavailableError, AddressInUseError,
        InvalidAddressError, PoolExhaustedError, FirewallError; nothing is left allocated then.
        """
        parsed = parse_mode(mode)
        if parsed.kind == "container":
            return Allocation(Sandbox("join", join=join))
        if parsed.kind in ("host", "none"):
            return Allocation(Sandbox(parsed.kind))
        network = self._networks.find(parsed.reference)
        if network.driver != "bridge":
            return Allocation(Sandbox("host" if network.driver == "host" else "none"))
        if mac is not None and not _MAC.fullmatch(mac):
            raise InvalidAddressError(f"address {mac}: invalid MAC address")
        self.release(container_id)
        choose = partial(self._record, container_id, name, network, requests, address=address, mac=mac)
        try:
            made, reservation = choose()
        except (AddressInUseError, PoolExhaustedError):
            if not self.sweep():
                raise
            made, reservation = choose()
        try:
            with _kernel_errors():
                self._host.ensure_bridge(network)
                self._publish(made, reservation.ports)
        except BaseException:
            reservation.close()
            self.release(container_id)
            raise
        plan = sandbox.plan(self._instance, made, network.bridge, network.mtu)
        return Allocation(plan, (made,), tuple(reservation.ports), reservation)

    def release(self, container_id: str) -> None:
        """Take back what a container has; nothing is fine. Its address is free again after :meth:`sweep`."""
        endpoints = self._endpoints.of_container(container_id)
        published = [(made, self._endpoints.ports(made.id)) for made in endpoints]
        self._forget(endpoints)
        with _kernel_errors():
            for made, ports in published:
                self._unpublish(made, ports)

    def _forget(self, endpoints: Sequence[Endpoint]) -> None:
        if endpoints:
            with self._database.transaction() as cursor:
                for made in endpoints:
                    endpoint.delete(cursor, made.id)

    def _record(
        self,
        container_id: str,
        name: str,
        network: Network,
        requests: Sequence[PortRequest],
        *,
        address: str | None,
        mac: str | None,
    ) -> tuple[Endpoint, Reservation]:
        """Choose and bind in one transaction: two containers never get the same address or port."""
        identifier, pool = new_id(), network.subnets[0]
        reservation = Reservation()
        try:
            with self._database.transaction() as cursor:
                chosen = ipam.allocate(cursor, network.id, pool, identifier, requested=address)
                if requests:
                    reservation = self._ports.reserve(requests, TakenPorts.load(cursor), chosen)
                made = Endpoint(
                    id=identifier,
                    container_id=container_id,
                    network_id=network.id,
                    name=name,
                    address=chosen,
                    prefix=int(pool.subnet.partition("/")[2]),
                    gateway=pool.gateway,
                    mac=mac or bridge.mac_of(chosen),
                )
                endpoint.insert(cursor, made, reservation.ports)
        except PortUnavailableError as exc:
            raise PortUnavailableError(
                "failed to set up container networking: driver failed programming external connectivity on endpoint"
                f" {name} ({identifier}): {exc}"
            ) from exc
        except BaseException:
            reservation.close()
            raise
        return made, reservation

    def _publish(self, made: Endpoint, ports: Sequence[PublishedPort]) -> None:
        if not ports:
            return
        try:
            self._firewall.publish(_publications(made, ports))
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EEXIST):
                raise
            self._host.sync()  # Someone flushed the table this instant; the records have the new ports already.
        datagrams = [port for port in ports if port.protocol == "udp"]
        if datagrams and tracked():
            with Conntrack() as conntrack:
                for port in datagrams:
                    conntrack.forget_port(socket.IPPROTO_UDP, port.host_port)

    def _unpublish(self, old: Endpoint, ports: Sequence[PublishedPort]) -> None:
        if not ports:
            return
        try:
            self._firewall.unpublish(_publications(old, ports))
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            self._host.sync()


def _publications(owner: Endpoint, ports: Sequence[PublishedPort]) -> list[Publication]:
    return [Publication(p.protocol, p.host_address, p.host_port, owner.address, p.container_port) for p in ports]


@contextmanager
def _kernel_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise FirewallError(exc) from exc
