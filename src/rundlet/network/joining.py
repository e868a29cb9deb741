"""Containers join and leave networks: addresses, host ports, rules and names, in the order that survives a crash.

First the record, in one transaction, so that two containers never get the same address or port; then the kernel; the
name tables last. A failure takes back what was done.
"""

import errno
import re
import socket
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from rundlet.linux.conntrack import Conntrack, tracked
from rundlet.network import bridge, endpoint, ipam, portmap, rejoining, sandbox
from rundlet.network.endpoint import Endpoint, EndpointStore, Wanted
from rundlet.network.errors import (
    AddressInUseError,
    ConfigurationOnlyError,
    EndpointExistsError,
    FirewallError,
    InvalidAddressError,
    NetworkConfigError,
    NotConnectedError,
    PoolExhaustedError,
    PortUnavailableError,
)
from rundlet.network.firewall import FAMILIES, Firewall, Publication
from rundlet.network.host import Host
from rundlet.network.names import NameTables, Server
from rundlet.network.networks import Network, NetworkStore, Subnet
from rundlet.network.portmap import NewSocket, PortAllocator, PortRequest, PublishedPort, Reach, Reservation, TakenPorts
from rundlet.network.sandbox import Allocation, Change
from rundlet.util.database import Database
from rundlet.util.ids import new_id

MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")

Joined = list[tuple[Endpoint, Network]]
Ends = dict[int, tuple[Endpoint, Network]]
"""By whom a container is reached from outside, by family (4, 6)."""


class Joiner:
    """Used by the service, from one thread."""

    def __init__(
        self,
        database: Database,
        instance: str,
        networks: NetworkStore,
        endpoints: EndpointStore,
        firewall: Firewall,
        host: Host,
        names: NameTables | None,
        *,
        proxy: bool = False,
        outside: NewSocket | None = None,
    ) -> None:
        self._database = database
        self._instance = instance
        self._networks = networks
        self._endpoints = endpoints
        self._firewall = firewall
        self._host = host
        self._names = names
        self._proxy = proxy
        self._outside = outside is not None
        self._ports = PortAllocator(outside or socket.socket)

    # -- a container starts and ends --------------------------------------------------------------------------------

    def allocate(
        self,
        container_id: str,
        name: str,
        wanted: Sequence[Wanted],
        requests: Sequence[PortRequest],
        servers: Sequence[Server],
    ) -> Allocation:
        """An endpoint for each network that is wanted; eth0 is the first's."""
        pairs = [(one, self._network(one)) for one in wanted]
        self.release(container_id)
        with self._undone(container_id):
            reservation = self._retried(partial(self._record_all, container_id, name, pairs, requests))
            try:
                with kernel_errors():
                    for _, network in pairs:
                        self._host.ensure_links(network)
                    self._publish(container_id, ())
            except BaseException:
                reservation.close()
                raise
        joined = self.joined(container_id)
        self.write_names(container_id, joined, servers)
        plan = msgspec.structs.replace(sandbox.plan(self._instance, joined), resolver=self._resolver(joined))
        return Allocation(plan, tuple(made for made, _ in joined), tuple(reservation.ports), reservation)

    def release(self, container_id: str) -> None:
        """Take back what a container has; nothing is fine. Its addresses are free again after a sweep."""
        joined = self.joined(container_id)
        before = self._publications(container_id)
        self.forget([container_id])
        with kernel_errors():
            self._unpublish(before)
        self._write_networks(network for _, network in joined)
        if self._names is not None and joined:
            self._names.forget(container_id)

    def forget(self, containers: Iterable[str]) -> None:
        with self._database.transaction(durable=False, freeing=True) as cursor:
            for container_id in containers:
                endpoint.delete_container(cursor, container_id)

    # -- a running container ----------------------------------------------------------------------------------------

    def connect(
        self,
        container_id: str,
        name: str,
        wanted: Wanted,
        requests: Sequence[PortRequest],
        servers: Sequence[Server],
    ) -> Change:
        """Record one more endpoint; the change is for the shim."""
        network = self._network(wanted)
        if any(made.network_id == network.id for made in self._endpoints.of_container(container_id)):
            raise EndpointExistsError(name, network.name)
        before = self._publications(container_id)
        reservation = self._retried(partial(self._record_all, container_id, name, [(wanted, network)], requests))
        try:
            with kernel_errors():
                self._host.ensure_links(network)
                self._publish(container_id, before)
        except BaseException:
            reservation.close()
            self.undo(container_id, name, network, reservation, servers)
            raise
        joined = self.joined(container_id)
        self.write_names(container_id, joined, servers)
        made = next(made for made, on in joined if on.id == network.id)
        return Change(
            made,
            sandbox.link(self._instance, made, network),
            sandbox.default_routes(joined),
            sandbox.interface_sysctls(made),
            self._resolver(joined),
            reservation,
        )

    def disconnect(self, container_id: str, name: str, network: Network, servers: Sequence[Server]) -> Change:
        """Forget one endpoint; the change is for the shim. Raises NotConnectedError."""
        before_joined = self.joined(container_id)
        gone = next((made for made, on in before_joined if on.id == network.id), None)
        if gone is None:
            raise NotConnectedError(container_id, network.name)
        before = self._publications(container_id)
        with self._database.transaction(durable=False) as cursor:
            endpoint.delete(cursor, gone.id)
            left = [(made, on) for made, on in before_joined if made.id != gone.id]
            endpoint.set_gateways(cursor, container_id, sandbox.choose_gateways(left))
        with kernel_errors():
            self._publish(container_id, before)
        joined = self.joined(container_id)
        self._write_networks([network])
        self.write_names(container_id, joined, servers)
        return Change(gone, {}, sandbox.default_routes(joined))

    def undo(
        self,
        container_id: str,
        name: str,
        network: Network,
        reservation: Reservation | None,
        servers: Sequence[Server],
    ) -> None:
        """Take a connection back, with the ports that it brought."""
        self.disconnect(container_id, name, network, servers)
        if reservation is not None and reservation.ports:
            with self._database.transaction(durable=False, freeing=True) as cursor:
                endpoint.delete_ports(cursor, reservation.ports)

    def rename(self, container_id: str, name: str) -> None:
        """The container has another name now: the one that it is found by."""
        joined = self.joined(container_id)
        with self._database.transaction(durable=False) as cursor:
            for made, _ in joined:
                endpoint.rename(cursor, made, name)
        self._write_networks(network for _, network in joined)

    def joined(self, container_id: str) -> Joined:
        """A container's endpoints with their networks, in the order of the interfaces."""
        found: Joined = []
        for made in self._endpoints.of_container(container_id):
            network = self._networks.by_id(made.network_id)
            if network is not None:
                found.append((made, network))
        return found

    # -- names ------------------------------------------------------------------------------------------------------

    def write_names(self, container_id: str, joined: Joined, servers: Sequence[Server]) -> None:
        if self._names is not None and any(network.has_names for _, network in joined):
            self._write_networks(network for _, network in joined)
            self._names.write_sandbox(container_id, joined, servers)

    def write_all_names(self) -> None:
        """The tables of every network, and none of what is gone."""
        if self._names is None:
            return
        networks = self._networks.all()
        self._write_networks(networks)
        containers = {made.container_id for made in self._endpoints.all()}
        self._names.keep_only([*(network.id for network in networks if network.has_names), *containers])

    def write_network(self, network: Network) -> None:
        """The table of a new network."""
        self._write_networks([network])

    def _write_networks(self, networks: Iterable[Network]) -> None:
        if self._names is None:
            return
        for network in networks:
            if network.has_names:
                self._names.write_network(network, self._endpoints.of_network(network.id))

    def _resolver(self, joined: Joined) -> str:
        needed = self._names is not None and any(network.has_names for _, network in joined)
        return self._names.socket if needed and self._names is not None else ""

    # -- records ----------------------------------------------------------------------------------------------------

    def _network(self, wanted: Wanted) -> Network:
        network = self._networks.find(wanted.network)
        if network.config_only:
            raise ConfigurationOnlyError
        if wanted.mac and not MAC.fullmatch(wanted.mac):
            raise InvalidAddressError(f"invalid MAC address {wanted.mac}")
        return network

    def _retried(self, record: partial[Reservation]) -> Reservation:
        """Once more after a sweep: what was released a moment ago may be what is missing."""
        try:
            return record()
        except (AddressInUseError, PoolExhaustedError):
            with kernel_errors():
                if not self._host.sweep():
                    raise
            return record()

    def _record_all(
        self,
        container_id: str,
        name: str,
        pairs: Sequence[tuple[Wanted, Network]],
        requests: Sequence[PortRequest],
    ) -> Reservation:
        """Choose and bind in one transaction: two containers never get the same address or port."""
        reservation = Reservation()
        joined = self.joined(container_id)
        have = self._endpoints.ports(container_id)
        try:
            with self._database.transaction(durable=False) as cursor:
                for wanted, network in pairs:
                    interface = _interface(wanted, network, [made.interface for made, _ in joined])
                    made = self._new(container_id, name, wanted, network, interface)
                    joined.append((self._addressed(cursor, made, wanted, network), network))
                    endpoint.insert(cursor, joined[-1][0])
                gateways = sandbox.choose_gateways(joined)
                endpoint.set_gateways(cursor, container_id, gateways)
                if requests:
                    ends = {version: pair for version in gateways for pair in joined if pair[0].id == gateways[version]}
                    reservation = self._reserve(TakenPorts.load(cursor), requests, _bridged(ends), have)
                    endpoint.insert_ports(cursor, container_id, reservation.ports)
                    endpoint.insert_opened(cursor, container_id, reservation.opened)
        except BaseException:
            reservation.close()
            raise
        return reservation

    def _new(self, container_id: str, name: str, wanted: Wanted, network: Network, interface: str) -> Endpoint:
        return Endpoint(
            id=new_id(),
            container_id=container_id,
            network_id=network.id,
            name=name,
            address="",
            prefix=0,
            gateway="",
            mac="",
            interface=interface,
            names=wanted.names or (name,),
            links=wanted.links,
            gw_priority=wanted.gw_priority,
        )

    def _addressed(self, cursor: sqlite3.Cursor, made: Endpoint, wanted: Wanted, network: Network) -> Endpoint:
        """``made`` with an address of each family that the network has."""
        fields: dict[str, Any] = {}
        for version, requested, suffix in ((4, wanted.address, ""), (6, wanted.address6, "6")):
            pools = network.pools(version)
            if not pools or (version == 6 and not wanted.ipv6):
                if requested:
                    raise ipam.NotInSubnetsError(requested)
                continue
            if version == 6 and not requested and network.driver == "bridge":
                chosen = ipam.of_mac(cursor, network.id, pools[0], wanted.mac)
            else:
                chosen = requested
            try:
                address, pool = ipam.allocate_from(cursor, network.id, pools, made.id, requested=chosen or None)
            except PoolExhaustedError as exc:
                raise PoolExhaustedError(f"{network.name} ({network.id})", version) from exc
            fields[f"address{suffix}"], fields[f"prefix{suffix}"] = address, pool.prefix
            fields[f"gateway{suffix}"] = "" if network.internal else _gateway(network, pool)
        given = msgspec.structs.replace(made, **fields)
        # An ipvlan interface has its parent's hardware address.
        mac = "" if network.driver == "ipvlan" else wanted.mac or bridge.mac_of(given.addresses[0])
        return msgspec.structs.replace(given, mac=mac, link_local=wanted.link_local, sysctls=wanted.sysctls)

    def _reserve(
        self, taken: TakenPorts, requests: Sequence[PortRequest], ends: Ends, have: Sequence[PublishedPort]
    ) -> Reservation:
        """What of ``requests`` isn't published yet. ``ends``: who takes what is published, by family."""
        if not ends:
            return Reservation()
        made = next(iter(ends.values()))[0]
        reach = Reach(
            _way(ends, 4),
            _way(ends, 6),
            self._proxy,
            portmap.host_has_ipv6(),
            self._outside,
            frozenset(FAMILIES) - self._firewall.families,
        )
        try:
            lacking = rejoining.still_wanted(requests, reach, have)
            reservation = self._ports.reserve(lacking, taken, reach, made.address or made.address6)
        except PortUnavailableError as exc:
            raise PortUnavailableError(
                "failed to set up container networking: driver failed programming external connectivity on endpoint"
                f" {made.name} ({made.id}): {exc}"
            ) from exc
        # Also of what is published in the other family already.
        opened = {(one.protocol, one.container_port, family) for one in requests for family in reach.opened(one)}
        reservation.opened = sorted(opened)
        reservation.target = _proxy_target(ends)
        return reservation

    def proxied(self, container_id: str) -> tuple[str, list[PublishedPort]]:
        """What the proxy does for a running container: the address that it leads to, and the ports."""
        ends = _bridged({version: pair for pair in self.joined(container_id) for version in pair[0].leads})
        if not ends:
            return "", []
        everything = self._outside or 4 not in self._firewall.families
        ports = [port for port in self._endpoints.ports(container_id) if everything or ":" in port.host_address]
        return _proxy_target(ends), ports if self._proxy else []

    @contextmanager
    def _undone(self, container_id: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.release(container_id)
            raise

    # -- published ports --------------------------------------------------------------------------------------------

    def _publications(self, container_id: str) -> list[Publication]:
        return [_publication(address, port) for address, port in self._endpoints.published(container_id)]

    def _publish(self, container_id: str, before: Sequence[Publication]) -> None:
        """Have the container's ports lead where its records say, not where they led ``before``."""
        wanted = self._publications(container_id)
        self._unpublish([old for old in before if old not in wanted])
        new = [publication for publication in wanted if publication not in before]
        if not new:
            return
        try:
            self._firewall.publish(new)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EEXIST):
                raise
            self._host.sync()  # Someone flushed the table this instant; the records have the new ports already.
        datagrams = [publication for publication in new if publication.protocol == "udp"]
        if datagrams and tracked():
            with Conntrack() as conntrack:
                for publication in datagrams:
                    conntrack.forget_port(socket.IPPROTO_UDP, publication.host_port)

    def _unpublish(self, old: Sequence[Publication]) -> None:
        if not old:
            return
        try:
            self._firewall.unpublish(old)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            self._host.sync()


def _publication(address: str, port: PublishedPort) -> Publication:
    return Publication(port.protocol, port.host_address, port.host_port, address, port.container_port)


def _interface(wanted: Wanted, network: Network, taken: Sequence[str]) -> str:
    """The name asked for, or the network's prefix with the first number that is free. Raises NetworkConfigError."""
    if wanted.interface:
        if wanted.interface in taken:
            raise NetworkConfigError(f'error renaming interface to "{wanted.interface}": file exists')
        return wanted.interface
    number = 0
    while f"{network.interface_prefix}{number}" in taken:
        number += 1
    return f"{network.interface_prefix}{number}"


def _gateway(network: Network, pool: Subnet) -> str:
    """The router in one of the network's subnets."""
    return network.way_out(pool.version) if pool in network.pools(pool.version)[:1] else pool.gateway


def _bridged(ends: Ends) -> Ends:
    """Ports are published on bridges only."""
    return {version: ends[version] for version in sorted(ends) if ends[version][1].driver == "bridge"}


def _proxy_target(ends: Ends) -> str:
    if _way(ends, 6) == "nat":
        return ends[6][0].address6
    return ends[4][0].address if 4 in ends else ""


def _way(ends: Ends, version: int) -> str:
    """How the world reaches the container (see :class:`Reach`)."""
    if version not in ends:
        return ""
    mode = ends[version][1].gateway_mode(version)
    return {"nat": "nat", "nat-unprotected": "nat", "routed": "routed"}.get(mode, "")


@contextmanager
def kernel_errors() -> Iterator[None]:
    """The kernel's refusals as the room's own error."""
    try:
        yield
    except OSError as exc:
        raise FirewallError(exc) from exc
