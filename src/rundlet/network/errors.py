"""What can go wrong with networks, in the words that Docker's users know."""

import errno
from collections.abc import Iterable
from typing import Final

from rundlet.errors import ConflictError, ForbiddenError, InternalError, InvalidParameterError, NotFoundError


class NetworkNotFoundError(NotFoundError):
    reason = "no-such-network"

    def __init__(self, reference: str) -> None:
        super().__init__(f"network {reference} not found")
        self.reference = reference


class ConfigurationNotFoundError(NotFoundError):
    """``--config-from`` names nothing, or a network that is no configuration."""

    reason = "no-such-configuration-network"

    def __init__(self, reference: str) -> None:
        super().__init__(f'configuration network "{reference}" does not exist')
        self.reference = reference


class NetworkDriverError(NotFoundError):
    """A driver that is not among ours would be a plugin, and there are none."""

    reason = "no-such-network-driver"

    def __init__(self, driver: str) -> None:
        super().__init__(f'plugin "{driver}" not found')
        self.driver = driver


class NetworkExistsError(ConflictError):
    reason = "network-exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")
        self.name = name


class PredefinedNetworkError(ForbiddenError):
    """Docker's own three can neither be made nor removed."""

    reason = "predefined-network"


class ActiveEndpointsError(ForbiddenError):
    """Running containers are on the network."""

    reason = "network-in-use"

    def __init__(self, name: str, endpoints: Iterable[tuple[str, str]]) -> None:
        listed = ", ".join(f'name:"{container}" id:"{identifier[:12]}"' for container, identifier in endpoints)
        super().__init__(f"error while removing network: network {name} has active endpoints ({listed})")
        self.name = name


class PoolOverlapError(ForbiddenError):
    reason = "pool-overlap"

    def __init__(self) -> None:
        super().__init__("invalid pool request: Pool overlaps with other one on this address space")


class NetworkConfigError(InvalidParameterError):
    """A network that can't be made as asked."""

    reason = "invalid-network"


class NetworkForbiddenError(ForbiddenError):
    """What the state or the kind of a network doesn't allow."""

    reason = "network-forbidden"


class ConfigurationOnlyError(NetworkForbiddenError):
    """A container can't be on a network that is there for others' settings."""

    def __init__(self) -> None:
        super().__init__("cannot create endpoint on configuration-only network")


class NotConnectedError(InternalError):
    """In the words and with the status that Docker has for it."""

    reason = "not-connected"

    def __init__(self, container: str, network: str, *, running: bool = True) -> None:
        super().__init__(f"container {container} is not connected to {'' if running else 'the '}network {network}")


class EndpointNotFoundError(NotFoundError):
    """Nobody of that name has a place in the network."""

    reason = "endpoint-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"endpoint {name} not found")


class EndpointExistsError(ForbiddenError):
    reason = "endpoint-exists"

    def __init__(self, container: str, network: str) -> None:
        super().__init__(f"endpoint with name {container} already exists in network {network}")


class InvalidPortError(InvalidParameterError):
    """A port specification that can't be understood."""

    reason = "invalid-port"


class InvalidAddressError(InvalidParameterError):
    """An address, subnet or host entry that can't be understood."""

    reason = "invalid-address"


class AddressInUseError(ForbiddenError):
    """The requested address belongs to another container."""

    reason = "address-in-use"

    def __init__(self, address: str) -> None:
        super().__init__("Address already in use")
        self.address = address


class PoolExhaustedError(InternalError):
    """Every address of the network's pool is taken."""

    reason = "no-available-addresses"

    def __init__(self, subnet: str, version: int = 4) -> None:
        super().__init__(f"no available IPv{version} addresses on this network's address pools: {subnet}")
        self.subnet = subnet
        self.version = version


class NoFreeSubnetError(InvalidParameterError):
    """Every predefined address pool overlaps with an address or route of this host."""

    reason = "no-free-subnet"

    def __init__(self) -> None:
        super().__init__("all predefined address pools have been fully subnetted")


class PortUnavailableError(InternalError):
    """A host port that a container or a program of the host has."""

    reason = "port-unavailable"


_READONLY: Final = (
    " (an engine in a container: start that container with --security-opt systempaths=unconfined, or --privileged)"
)


class FirewallError(InternalError):
    """The kernel refused a change of links, addresses or rules."""

    reason = "network-setup"

    def __init__(self, cause: OSError) -> None:
        remedy = ""
        if cause.errno == errno.EROFS and str(cause.filename).startswith("/proc/sys/"):
            remedy = _READONLY
        super().__init__(f"network setup failed: {cause.filename}: {cause.strerror}{remedy}")
        self.errno = cause.errno
