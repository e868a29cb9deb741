"""Networks, as the API's clients see them."""

import asyncio
import contextlib
from collections.abc import Sequence

from rundlet.api.filters import Filters, InvalidFilterError
from rundlet.api.networks import (
    IPAM,
    ConfigReference,
    IPAMConfig,
    Network,
    NetworkConnect,
    NetworkContainer,
    NetworkCreate,
    NetworkCreated,
    NetworkDisconnect,
    NetworkInspectOptions,
    NetworkListOptions,
    NetworksPruned,
)
from rundlet.engine.containers.attributes import network_event
from rundlet.engine.containers.connections import Connector
from rundlet.engine.containers.networking import lone_endpoint
from rundlet.engine.context import Context
from rundlet.engine.times import parse_until
from rundlet.errors import NotSupportedError
from rundlet.network.creation import Pool, Request
from rundlet.network.errors import ActiveEndpointsError, NetworkNotFoundError
from rundlet.network.networks import Network as StoredNetwork
from rundlet.util.clock import rfc3339_nano
from rundlet.util.tasks import settled


class NetworkRouterService:
    """Implements the networks router's backend."""

    def __init__(self, context: Context, connector: Connector) -> None:
        self._context = context
        self._connector = connector
        self._changing = asyncio.Lock()
        """Networks are made and removed one at a time: a new one must not get what an old one still has."""

    async def list(self, options: NetworkListOptions) -> Sequence[Network]:
        return [self._wire(network, full=False) for network in self._selected(options.filters)]

    async def inspect(self, ref: str, options: NetworkInspectOptions) -> Network:
        """Raises NetworkNotFoundError: also for one of another scope than asked for."""
        if options.scope not in ("", "local"):
            raise NetworkNotFoundError(ref)
        return self._wire(self._context.network.network(ref), full=True)

    async def create(self, body: NetworkCreate) -> NetworkCreated:
        """Raises what the network room raises, NotSupportedError."""
        async with self._changing:
            made = self._context.network.create(_request(body))
        self._context.events.publish("network", "create", made.id, network_event(made))
        warning = "; ".join(f"IPv{pool.version} is not enabled: {pool.subnet} is not used" for pool in made.idle)
        return NetworkCreated(id=made.id, warning=warning)

    async def connect(self, ref: str, body: NetworkConnect) -> None:
        await self._connector.connect(ref, body)

    async def disconnect(self, ref: str, body: NetworkDisconnect) -> None:
        await self._connector.disconnect(ref, body)

    async def remove(self, ref: str) -> None:
        await settled(self._remove(ref))

    async def _remove(self, ref: str) -> StoredNetwork:
        """A bridge takes the kernel some 50 ms: others are served meanwhile."""
        network = self._context.network
        async with self._changing:
            removed = network.leave(ref)
            try:
                await asyncio.to_thread(network.remove_links, removed)
            except BaseException:
                network.stay(removed)
                raise
            network.left(removed)
        self._context.events.publish("network", "destroy", removed.id, network_event(removed))
        return removed

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Remove the networks of one's own that no running container is on. Raises InvalidFilterError."""
        until = parse_until(filters.get("until"), self._context.clock)
        removed = []
        for network in self._context.network.networks():
            if network.predefined or network.config_only or self._context.network.endpoints_of(network):
                continue
            if until and network.created >= until:
                continue
            if not filters.labels(network.labels):
                continue
            if "label!" in filters and filters.labels(network.labels, "label!"):
                continue
            # Someone else was quicker, or has started a container on it since.
            with contextlib.suppress(NetworkNotFoundError, ActiveEndpointsError):
                removed.append((await settled(self._remove(network.id))).name)
        self._context.events.publish("network", "prune", "", {"reclaimed": "0"})
        return NetworksPruned(networks_deleted=tuple(removed) or None)

    def _selected(self, filters: Filters) -> Sequence[StoredNetwork]:
        for kind in filters.get("type"):
            if kind not in ("builtin", "custom"):
                raise InvalidFilterError(f"type={kind}")
        dangling = filters.boolean("dangling")
        return [
            network
            for network in self._context.network.networks()
            if filters.exact("driver", network.driver)
            and filters.matches("id", network.id)
            and filters.matches("name", network.name)
            and filters.labels(network.labels)
            and filters.exact("scope", "local")
            and ("type" not in filters or ("builtin" if network.predefined else "custom") in filters.get("type"))
            and (dangling is None or dangling is self._dangles(network))
        ]

    def _dangles(self, network: StoredNetwork) -> bool:
        return not network.predefined and not self._context.network.endpoints_of(network)

    def _wire(self, network: StoredNetwork, *, full: bool) -> Network:
        containers = {}
        if full:
            for endpoint in self._context.network.endpoints_of(network):
                containers[endpoint.container_id] = NetworkContainer(
                    name=endpoint.name,
                    endpoint_id=endpoint.id,
                    mac_address=endpoint.mac,
                    ipv4_address=f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
                    ipv6_address=f"{endpoint.address6}/{endpoint.prefix6}" if endpoint.address6 else "",
                )
            for record in self._context.containers if network.driver in ("host", "null") else ():
                if identifier := lone_endpoint(record, network):
                    containers[record.id] = NetworkContainer(name=record.name, endpoint_id=identifier)
        return Network(
            name=network.name,
            id=network.id,
            created=rfc3339_nano(network.created),
            driver=network.driver,
            ipam=IPAM(
                driver="default",
                options=network.ipam_options,
                config=tuple(
                    IPAMConfig(
                        subnet=pool.subnet,
                        gateway=pool.gateway,
                        ip_range=pool.ip_range,
                        auxiliary_addresses=pool.auxiliary,
                    )
                    for pool in (*network.subnets, *network.idle)
                )
                or None,
            ),
            enable_ipv4=network.ipv4,
            enable_ipv6=network.ipv6,
            internal=network.internal,
            attachable=network.attachable,
            config_only=network.config_only,
            config_from=ConfigReference(network=network.config_from),
            containers=containers,
            options=network.options,
            labels=network.labels,
        )


def _request(body: NetworkCreate) -> Request:
    """What of the API's request the network room knows; the rest is refused by name."""
    if body.ingress or body.scope not in ("", "local"):
        raise NotSupportedError("swarm networks (--ingress, --scope)")
    ipam = body.ipam or IPAM()
    if ipam.driver not in ("", "default"):
        raise NotSupportedError(f"IPAM driver {ipam.driver}")
    return Request(
        name=body.name,
        driver=body.driver or "bridge",
        pools=tuple(
            Pool(pool.subnet, pool.ip_range, pool.gateway, pool.auxiliary_addresses or {}) for pool in ipam.config or ()
        ),
        options=body.options or {},
        ipam_options=ipam.options,
        labels=body.labels or {},
        internal=body.internal,
        attachable=body.attachable,
        config_only=body.config_only,
        ipv4=body.enable_ipv4,
        ipv6=body.enable_ipv6,
        config_from=body.config_from.network if body.config_from is not None else "",
    )
