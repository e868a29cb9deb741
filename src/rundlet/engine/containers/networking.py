"""A container's network: what is asked of it in the request, what it got, and how the API shows both."""

import msgspec

from rundlet.api.container_config import EndpointSettings, PortBinding, PortMap
from rundlet.api.containers import NetworkSettings, Port
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents
from rundlet.engine.context import Context
from rundlet.network.endpoint import Endpoint
from rundlet.network.networks import Network
from rundlet.network.portmap import PortRequest, requests_for_exposed, requests_from_bindings
from rundlet.network.sandbox import Allocation, parse_mode


class Networking:
    """Between container records and the network room."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def allocate(self, record: Record) -> Allocation:
        """Addresses, ports and rules for a container about to start. Raises what the network room raises."""
        host, config = documents.host(record), documents.config(record)
        mode = "none" if config.network_disabled else host.network_mode
        settings = self._asked(record)
        ipam = settings.ipam_config if settings is not None else None
        mac = (settings.mac_address if settings is not None else "") or config.mac_address
        return self._context.network.allocate(
            record.id,
            record.name,
            mode,
            requests=self.requests(record),
            address=(ipam.ipv4_address or None) if ipam is not None else None,
            mac=mac or None,
        )

    def requests(self, record: Record) -> list[PortRequest]:
        """Ports to publish. Raises InvalidPortError, NotSupportedError."""
        host, config = documents.host(record), documents.config(record)
        bindings = {
            port: [(binding.host_ip, binding.host_port) for binding in chosen or ()]
            for port, chosen in (host.port_bindings or {}).items()
        }
        requests = requests_from_bindings(bindings)
        if host.publish_all_ports:
            requests += requests_for_exposed(config.exposed_ports or (), requests)
        return requests

    def settings(self, record: Record) -> NetworkSettings:
        """The ``NetworkSettings`` of inspect."""
        endpoints = self._context.network.endpoints(record.id) if is_running(record.state.status) else []
        first = endpoints[0] if endpoints else None
        default = self._is_default(first)
        return NetworkSettings(
            sandbox_id=record.id if record.state.pid else "",
            sandbox_key=f"/proc/{record.state.pid}/ns/net" if record.state.pid else "",
            ports=self.port_map(record),
            endpoint_id=first.id if first and default else "",
            gateway=first.gateway if first and default else "",
            ip_address=first.address if first and default else "",
            ip_prefix_len=first.prefix if first and default else 0,
            mac_address=first.mac if first and default else "",
            networks=self.networks(record),
        )

    def networks(self, record: Record) -> dict[str, EndpointSettings]:
        """The networks the container is on (or will be), by name, with what it has there."""
        mode = parse_mode(documents.host(record).network_mode)
        if mode.kind == "container":
            return {}
        name = mode.reference if mode.kind == "network" else mode.kind
        asked = self._asked(record) or EndpointSettings()
        network = self._find(name)
        if network is None:
            return {name: asked}
        endpoints = self._context.network.endpoints(record.id) if is_running(record.state.status) else []
        found = next((endpoint for endpoint in endpoints if endpoint.network_id == network.id), None)
        if found is None:
            shown = network.id if is_running(record.state.status) else ""
            return {network.name: msgspec.structs.replace(asked, network_id=shown)}
        return {
            network.name: msgspec.structs.replace(
                asked,
                network_id=network.id,
                endpoint_id=found.id,
                gateway=found.gateway,
                ip_address=found.address,
                ip_prefix_len=found.prefix,
                mac_address=found.mac,
            )
        }

    def port_map(self, record: Record) -> PortMap:
        """Exposed ports, with the host's side of those that are published now."""
        if not is_running(record.state.status):
            return {}
        result: dict[str, tuple[PortBinding, ...] | None] = {}
        for port in documents.config(record).exposed_ports or ():
            result[port] = None
        for published in self._context.network.ports(record.id):
            key = f"{published.container_port}/{published.protocol}"
            binding = PortBinding(host_ip=published.host_address, host_port=str(published.host_port))
            result[key] = (*(result.get(key) or ()), binding)
        return dict(sorted(result.items()))

    def summary_ports(self, record: Record) -> tuple[Port, ...]:
        """The PORTS column's data."""
        ports: list[Port] = []
        for key, bindings in self.port_map(record).items():
            number, _, protocol = key.partition("/")
            if not bindings:
                ports.append(Port(private_port=int(number.partition("-")[0]), type=protocol or "tcp"))
            for binding in bindings or ():
                ports.append(
                    Port(
                        ip=binding.host_ip,
                        private_port=int(number),
                        public_port=int(binding.host_port),
                        type=protocol or "tcp",
                    )
                )
        return tuple(ports)

    def network_names(self, record: Record) -> list[str]:
        """Names and IDs of the container's networks, for filters."""
        found = self.networks(record)
        return [*found, *(settings.network_id for settings in found.values() if settings.network_id)]

    def _asked(self, record: Record) -> EndpointSettings | None:
        endpoints = documents.networking(record).endpoints_config
        return next(iter(endpoints.values()), None)

    def _find(self, name: str) -> Network | None:
        from rundlet.network.errors import NetworkNotFoundError

        try:
            return self._context.network.network(name)
        except NetworkNotFoundError:
            return None

    def _is_default(self, endpoint: Endpoint | None) -> bool:
        bridge = self._find("bridge")
        return endpoint is not None and bridge is not None and endpoint.network_id == bridge.id
