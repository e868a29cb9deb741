"""A container's network: what is asked of it in the request, what it got, and how the API shows both."""

import hashlib
import ipaddress
from collections.abc import Callable

import msgspec

from rundlet.api.container_config import EndpointSettings, PortBinding, PortMap
from rundlet.api.containers import NetworkSettings, Port
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents, network_modes, ports
from rundlet.engine.containers.etc import EtcFiles, has_ipv6
from rundlet.engine.containers.links import Links
from rundlet.engine.context import Context
from rundlet.network.endpoint import Endpoint, Wanted
from rundlet.network.errors import (
    AddressInUseError,
    ConfigurationOnlyError,
    NetworkNotFoundError,
    PoolExhaustedError,
)
from rundlet.network.joining import Joined
from rundlet.network.networks import DEFAULT_BRIDGE, Network
from rundlet.network.portmap import EVERY, PortRequest, requests_for_exposed, requests_from_bindings
from rundlet.network.sandbox import Allocation, parse_mode
from rundlet.util import ids

Find = Callable[[str], Network | None]


def lone_endpoint(record: Record, network: Network) -> str:
    """The ID that clients are told of a running container's place in ``host`` or ``none``, where it has nothing.

    Another one for each start; empty: it has no such place there.
    """
    mode = parse_mode(documents.host(record).network_mode)
    if not is_running(record.state.status) or mode.kind != network.name or mode.kind not in ("host", "none"):
        return ""
    return hashlib.sha256(f"{record.id} {network.id} {record.state.started_ns}".encode()).hexdigest()


class Networking:
    """Between container records and the network room."""

    def __init__(self, context: Context, etc: EtcFiles) -> None:
        self._context = context
        self._etc = etc
        self._links = Links(context.containers, context.network)

    def allocate(self, record: Record) -> Allocation:
        """Addresses, ports and rules for a container about to start. Raises what the network room raises."""
        try:
            return self._allocated(record)
        except (NetworkNotFoundError, ConfigurationOnlyError, AddressInUseError, PoolExhaustedError) as error:
            error.message = f"failed to set up container networking: {error.message}"
            raise

    def _allocated(self, record: Record) -> Allocation:
        host, config = documents.host(record), documents.config(record)
        mode = "none" if config.network_disabled else host.network_mode
        wanted = self.all_wanted(record)
        allocation = self._context.network.allocate(
            record.id,
            record.name,
            mode,
            wanted=wanted,
            requests=self.requests(record, self._context.network.way_out(wanted)),
            servers=self._etc.servers(record) if wanted else (),
        )
        self._links.open_ports()
        return allocation

    def all_wanted(self, record: Record) -> list[Wanted]:
        """What the container asks of each of its networks, that of its network mode first."""
        first = parse_mode(documents.host(record).network_mode).reference
        asked = documents.networking(record).endpoints_config
        names = sorted(asked, key=lambda name: (name != first, name))
        return [self.wanted(record, name, asked[name] or EndpointSettings()) for name in names]

    def wanted(self, record: Record, network: str, settings: EndpointSettings) -> Wanted:
        """What a container asks of one network."""
        ipam = settings.ipam_config
        interface, sysctls = network_modes.driver_options(settings)
        return Wanted(
            network,
            address=(ipam.ipv4_address if ipam is not None else ""),
            address6=(str(ipaddress.ip_address(ipam.ipv6_address)) if ipam is not None and ipam.ipv6_address else ""),
            link_local=tuple(ipam.link_local_ips or ()) if ipam is not None else (),
            interface=interface,
            sysctls=sysctls,
            mac=settings.mac_address,
            names=self.dns_names(record, settings),
            links=settings.links or (),
            gw_priority=settings.gw_priority,
            ipv6=has_ipv6(documents.host(record)),
        )

    def dns_names(self, record: Record, settings: EndpointSettings) -> tuple[str, ...]:
        """What others on a network of one's own may call the container, its own name first."""
        hostname = documents.config(record).hostname
        names = (record.name, *(settings.aliases or ()), ids.short(record.id), *((hostname,) if hostname else ()))
        return tuple(dict.fromkeys(names))

    def requests(self, record: Record, way_out: Network | None) -> list[PortRequest]:
        """Ports to publish, by the network ``way_out``. Raises InvalidPortError, NotSupportedError."""
        host, config = documents.host(record), documents.config(record)
        bindings = {
            port: [(binding.host_ip, binding.host_port) for binding in chosen or ()]
            for port, chosen in (host.port_bindings or {}).items()
        }
        address = way_out.host_binding if way_out is not None else EVERY
        requests = requests_from_bindings(bindings, address)
        if host.publish_all_ports:
            requests += requests_for_exposed(config.exposed_ports or (), requests, address)
        return requests

    def settings(self, record: Record) -> NetworkSettings:
        """The ``NetworkSettings`` of inspect; the flat fields are the default bridge's."""
        joined = self._joined(record)
        first = next((endpoint for endpoint, network in joined if network.name == DEFAULT_BRIDGE), None)
        return NetworkSettings(
            sandbox_id=record.id if record.state.pid else "",
            sandbox_key=f"/proc/{record.state.pid}/ns/net" if record.state.pid else "",
            ports=self.port_map(record),
            endpoint_id=first.id if first else "",
            gateway=first.gateway if first else "",
            ip_address=first.address if first else "",
            ip_prefix_len=first.prefix if first else 0,
            ipv6_gateway=first.gateway6 if first else "",
            global_ipv6_address=first.address6 if first else "",
            global_ipv6_prefix_len=first.prefix6 if first else 0,
            mac_address=first.mac if first else "",
            networks=self.networks(record),
        )

    def networks(self, record: Record, find: Find | None = None) -> dict[str, EndpointSettings]:
        """The networks the container is on (or will be), by name, with what it has there.

        Who asks for many containers gives a ``find`` of its own that remembers what :meth:`find` has found.
        """
        mode = parse_mode(documents.host(record).network_mode)
        if mode.kind == "container":
            return {}
        asked: dict[str, EndpointSettings | None] = {**documents.networking(record).endpoints_config}
        if mode.kind != "network":
            asked = {mode.kind: asked.get(mode.kind)}
        found = {network.name: endpoint for endpoint, network in self._joined(record)} if mode.kind == "network" else {}
        return {
            name: self._shown(record, (find or self.find)(name), settings or EndpointSettings(), found.get(name))
            for name, settings in sorted(asked.items())
        }

    def _shown(
        self, record: Record, network: Network | None, asked: EndpointSettings, endpoint: Endpoint | None
    ) -> EndpointSettings:
        """What was asked of a network, with what the container has there while it runs."""
        if network is None:
            return asked
        names = self.dns_names(record, asked) if network.has_names else None
        if endpoint is None and (identifier := lone_endpoint(record, network)):
            return msgspec.structs.replace(asked, network_id=network.id, endpoint_id=identifier)
        if endpoint is None:
            # Who was on it once is told so: clients compare it with the network that the name means now.
            shown = network.id if record.state.started_ns else ""
            return msgspec.structs.replace(asked, network_id=shown, dns_names=names)
        return msgspec.structs.replace(
            asked,
            dns_names=names,
            network_id=network.id,
            endpoint_id=endpoint.id,
            gateway=endpoint.gateway,
            ip_address=endpoint.address,
            ip_prefix_len=endpoint.prefix,
            ipv6_gateway=endpoint.gateway6,
            global_ipv6_address=endpoint.address6,
            global_ipv6_prefix_len=endpoint.prefix6,
            mac_address=endpoint.mac,
        )

    def _joined(self, record: Record) -> Joined:
        return self._context.network.joined(record.id) if is_running(record.state.status) else []

    def port_map(self, record: Record) -> PortMap:
        """Exposed ports, with the host's side of those that are published now."""
        if not is_running(record.state.status):
            return {}
        if parse_mode(documents.host(record).network_mode).kind != "network":
            return {}
        result: dict[str, tuple[PortBinding, ...] | None] = {}
        for port in documents.config(record).exposed_ports or ():
            # Compose sends what a service exposes without the protocol; the image may have it with.
            result[port if "/" in port else f"{port}/tcp"] = None
        for published in self._context.network.ports(record.id):
            key = f"{published.container_port}/{published.protocol}"
            binding = PortBinding(host_ip=published.host_address, host_port=str(published.host_port or ""))
            result[key] = (*(result.get(key) or ()), binding)
        return dict(sorted(result.items()))

    def summary_ports(self, record: Record) -> tuple[Port, ...]:
        """The PORTS column's data."""
        found: list[Port] = []
        for key, bindings in self.port_map(record).items():
            number, protocol = next(ports.named(key), (0, ""))
            if not protocol:
                continue
            published = [binding for binding in bindings or () if binding.host_port]
            if not published:
                found.append(Port(private_port=number, type=protocol))
            for binding in published:
                found.append(
                    Port(
                        ip=binding.host_ip,
                        private_port=number,
                        public_port=int(binding.host_port),
                        type=protocol,
                    )
                )
        return tuple(found)

    def network_names(self, record: Record) -> list[str]:
        """Names and IDs of the container's networks, for filters."""
        found = self.networks(record)
        return [*found, *(settings.network_id for settings in found.values() if settings.network_id)]

    def find(self, name: str) -> Network | None:
        """By name, ID or the start of one; None when there is none."""
        try:
            return self._context.network.network(name)
        except NetworkNotFoundError:
            return None
