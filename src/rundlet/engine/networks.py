"""Networks, as the API's clients see them."""

from collections.abc import Sequence

from rundlet.api.filters import Filters, InvalidFilterError
from rundlet.api.networks import (
    IPAM,
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
from rundlet.engine.context import Context
from rundlet.errors import ForbiddenError, NotSupportedError
from rundlet.network.networks import Network as StoredNetwork
from rundlet.util.clock import rfc3339_nano

_PREDEFINED = ("bridge", "host", "none")


class PredefinedNetworkError(ForbiddenError):
    reason = "predefined-network"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is a pre-defined network and cannot be removed")


class NetworkRouterService:
    """Implements the networks router's backend. Networks of one's own come with a later release."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, options: NetworkListOptions) -> Sequence[Network]:
        return [self._wire(network, full=False) for network in self._selected(options.filters)]

    async def inspect(self, ref: str, options: NetworkInspectOptions) -> Network:
        return self._wire(self._context.network.network(ref), full=True)

    async def create(self, body: NetworkCreate) -> NetworkCreated:
        raise NotSupportedError("network create")

    async def connect(self, ref: str, body: NetworkConnect) -> None:
        raise NotSupportedError("network connect")

    async def disconnect(self, ref: str, body: NetworkDisconnect) -> None:
        raise NotSupportedError("network disconnect")

    async def remove(self, ref: str) -> None:
        raise PredefinedNetworkError(self._context.network.network(ref).name)

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Only the predefined networks exist, and those are never pruned."""
        return NetworksPruned()

    def _selected(self, filters: Filters) -> Sequence[StoredNetwork]:
        for kind in filters.get("type"):
            if kind not in ("builtin", "custom"):
                raise InvalidFilterError(f"type={kind}")
        dangling = filters.boolean("dangling")
        return [
            network
            for network in self._context.network.networks()
            if filters.exact("driver", network.driver)
            and ("id" not in filters or any(network.id.startswith(value) for value in filters.get("id")))
            and ("name" not in filters or any(value in network.name for value in filters.get("name")))
            and filters.labels(network.labels)
            and filters.exact("scope", "local")
            and (
                "type" not in filters or ("builtin" if network.name in _PREDEFINED else "custom") in filters.get("type")
            )
            and not dangling
        ]

    def _wire(self, network: StoredNetwork, *, full: bool) -> Network:
        containers = {}
        if full:
            for endpoint in self._context.network.endpoints_of(network):
                containers[endpoint.container_id] = NetworkContainer(
                    name=endpoint.name,
                    endpoint_id=endpoint.id,
                    mac_address=endpoint.mac,
                    ipv4_address=f"{endpoint.address}/{endpoint.prefix}",
                )
        return Network(
            name=network.name,
            id=network.id,
            created=rfc3339_nano(network.created),
            driver=network.driver,
            ipam=IPAM(
                driver="default",
                config=tuple(IPAMConfig(subnet=pool.subnet, gateway=pool.gateway) for pool in network.subnets),
            ),
            internal=network.internal,
            containers=containers,
            options=network.options,
            labels=network.labels,
        )
