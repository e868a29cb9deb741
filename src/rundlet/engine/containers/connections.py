"""``network connect`` and ``network disconnect``: on a running container at once, on another at its next start."""

import logging

import msgspec

from rundlet.api.container_config import EndpointSettings, NetworkingConfig
from rundlet.api.networks import NetworkConnect, NetworkDisconnect
from rundlet.container.record import Record
from rundlet.container.state import Status, is_running
from rundlet.engine.containers import documents, network_modes
from rundlet.engine.containers.attributes import network_event
from rundlet.engine.containers.etc import EtcFiles
from rundlet.engine.containers.networking import Networking
from rundlet.engine.context import Context
from rundlet.engine.proxy import ProxyKeeper
from rundlet.engine.resolver import ResolverKeeper
from rundlet.errors import ConflictError, InvalidParameterError, NoSuchContainerError, RundletError
from rundlet.network.errors import EndpointNotFoundError, NetworkNotFoundError, NotConnectedError
from rundlet.network.networks import Network
from rundlet.network.sandbox import Change, parse_mode
from rundlet.runtime.shimclient import ShimClient

_log = logging.getLogger(__name__)
_TO_HOST = "cannot connect container to host network - container must be created in host network mode"
_FROM_HOST = "cannot disconnect container from host network - container was created in host network mode"
_SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
_PRIVATE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


class Connector:
    """The record and the running container change together, under the container's lock."""

    def __init__(
        self, context: Context, networking: Networking, etc: EtcFiles, resolver: ResolverKeeper, proxy: ProxyKeeper
    ) -> None:
        self._context = context
        self._networking = networking
        self._etc = etc
        self._resolver = resolver
        self._proxy = proxy

    async def connect(self, ref: str, body: NetworkConnect) -> None:
        """A stopped container may be put on a network that there is not (yet): its start will tell.

        Raises NoSuchContainerError, EndpointExistsError, InvalidParameterError, and what the network room raises.
        """
        settings = body.endpoint_config or EndpointSettings()
        record = self._named(body.container)
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._usable(record.id)
            shim = live.shim if is_running(record.state.status) else None
            asked = self._asked(record)
            network = self._networking.find(ref)
            if network is None and shim is not None:
                raise NetworkNotFoundError(ref)
            if network is not None:
                network_modes.check(network, settings)
                self._check(record, network)
            if network is not None and shim is not None:
                await self._join(record, shim, network, settings)
            name = network.name if network is not None else ref
            if shim is not None or name not in asked:
                self._save(record, {**asked, name: _request_only(settings)})
        if network is not None and shim is not None:
            self._context.events.publish("network", "connect", network.id, network_event(network, record.id))

    async def disconnect(self, ref: str, body: NetworkDisconnect) -> None:
        """A stopped container may also leave a network that is gone, and so may every other one by force.

        Raises NoSuchContainerError, NotConnectedError, NetworkNotFoundError, EndpointNotFoundError.
        """
        try:
            record = self._named(body.container)
        except NoSuchContainerError:
            if not body.force:
                raise
            self._forget(ref, body.container)
            return
        live = self._context.live.of(record.id)
        async with live.lock:
            record = self._usable(record.id)
            shim = live.shim if is_running(record.state.status) else None
            network = self._networking.find(ref)
            if network is None and shim is not None and not body.force:
                raise NetworkNotFoundError(ref)
            if network is not None and documents.host(record).network_mode == "host" and network.driver == "host":
                raise InvalidParameterError(_FROM_HOST)
            asked = self._asked(record)
            name = network.name if network is not None else ref
            if name not in asked:
                raise NotConnectedError(record.id, name, running=shim is not None and network is not None)
            if network is not None and shim is not None:
                await self._leave(record, shim, network)
            self._save(record, {other: settings for other, settings in asked.items() if other != name})
        if network is not None and shim is not None:
            self._context.events.publish("network", "disconnect", network.id, network_event(network, record.id))

    def _forget(self, ref: str, name: str) -> None:
        """Take away what a container that is gone has left in a network. Raises EndpointNotFoundError."""
        network = self._context.network.network(ref)
        for endpoint in self._context.network.endpoints_of(network):
            if name in (endpoint.name, endpoint.container_id):
                self._context.network.release(endpoint.container_id)
                return
        raise EndpointNotFoundError(name)

    async def reconnect_names(self) -> None:
        """A new resolver runs: every shim with names to look up hands its sockets over. What fails is logged."""
        for record in self._context.containers:
            shim = self._context.live.of(record.id).shim
            named = any(network.has_names for _, network in self._context.network.joined(record.id))
            if shim is not None and named:
                try:
                    await shim.resolve(self._context.network.resolver_socket)
                except RundletError as error:
                    _log.warning("names of container %s: %s", record.id[:12], error)

    async def reconnect_ports(self) -> None:
        """A new proxy runs: it gets the sockets of every running container's ports. What fails is logged."""
        for record in self._context.containers:
            shim = self._context.live.of(record.id).shim
            address, ports = self._context.network.proxied(record.id)
            if shim is not None and ports:
                try:
                    connection = self._proxy.restore(record.id, record.state.shim_pid, address, ports)
                    if connection is not None:
                        with connection:
                            await shim.hold([connection.fileno()])
                except (RundletError, OSError) as error:
                    _log.warning("published ports of container %s: %s", record.id[:12], error)

    async def _join(self, record: Record, shim: ShimClient, network: Network, settings: EndpointSettings) -> None:
        wanted = self._networking.wanted(record, network.id, settings)
        others = [one for one in self._networking.all_wanted(record) if one.network != network.name]
        servers = self._etc.servers(record)
        change = self._context.network.connect(
            record.id,
            record.name,
            wanted,
            requests=self._networking.requests(record, self._context.network.way_out([*others, wanted])),
            servers=servers,
        )
        try:
            await self._carry_out(record, shim, change)
        except BaseException:
            self._context.network.undo(record.id, record.name, change, servers=servers)
            raise
        finally:
            change.close()

    async def _carry_out(self, record: Record, shim: ShimClient, change: Change) -> None:
        if change.resolver:
            await self._resolver.ensure()
        if change.reservation is not None:
            await self._proxy.serve(record.id, change.reservation)
            if change.reservation.fds():
                await shim.hold(change.reservation.fds())
        await shim.net_attach(change.link, change.routes, change.sysctls, change.resolver)
        self._etc.joined(record, change)
        self._move_proxy(record)

    async def _leave(self, record: Record, shim: ShimClient, network: Network) -> None:
        servers = self._etc.servers(record)
        change = self._context.network.disconnect(record.id, record.name, network, servers=servers)
        await shim.net_detach(change.endpoint.interface, change.routes)
        self._etc.left(record, change)
        self._move_proxy(record)

    def _move_proxy(self, record: Record) -> None:
        """The way to the container's published ports may be another one."""
        address, ports = self._context.network.proxied(record.id)
        if ports:
            self._proxy.move(record.id, address)

    def _named(self, container: str) -> Record:
        """Raises InvalidParameterError, NoSuchContainerError."""
        if not container:
            raise InvalidParameterError('invalid name or ID supplied: ""')
        return self._context.containers.find(container)

    def _usable(self, container_id: str) -> Record:
        record = self._context.containers.by_id(container_id)
        if record.state.status in (Status.REMOVING, Status.DEAD):
            raise ConflictError(
                f"container {record.id} is marked for removal and cannot be connected or disconnected to the network"
            )
        return record

    def _check(self, record: Record, network: Network) -> None:
        mode = parse_mode(documents.host(record).network_mode)
        if network.driver == "host" or mode.kind == "host":
            raise InvalidParameterError(_TO_HOST if network.driver == "host" else _SHARED)
        if mode.kind == "container":
            raise InvalidParameterError(_SHARED)
        if mode.kind == "none" or (network.driver == "null" and not network.config_only):
            raise InvalidParameterError(_PRIVATE)

    def _asked(self, record: Record) -> dict[str, EndpointSettings]:
        return dict(documents.networking(record).endpoints_config)

    def _save(self, record: Record, endpoints: dict[str, EndpointSettings]) -> None:
        networking = documents.encode(NetworkingConfig(endpoints_config=endpoints))
        # The record may have been replaced (its state) meanwhile.
        current = self._context.containers.by_id(record.id)
        self._context.containers.save(msgspec.structs.replace(current, networking=networking), durable=True)


def _request_only(settings: EndpointSettings) -> EndpointSettings:
    """What was asked, without what some clients send back of an earlier answer."""
    return EndpointSettings(
        ipam_config=settings.ipam_config,
        links=settings.links,
        aliases=settings.aliases,
        mac_address=settings.mac_address,
        driver_opts=settings.driver_opts,
        gw_priority=settings.gw_priority,
    )
