"""What can go wrong with networks, in the words that Docker's users know."""

from rundlet.errors import ForbiddenError, InternalError, InvalidParameterError, NotFoundError


class NetworkNotFoundError(NotFoundError):
    reason = "no-such-network"

    def __init__(self, reference: str) -> None:
        super().__init__(f"network {reference} not found")
        self.reference = reference


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

    def __init__(self, subnet: str) -> None:
        super().__init__(f"no available IPv4 addresses on this network's address pools: {subnet}")
        self.subnet = subnet


class NoFreeSubnetError(InternalError):
    """Every predefined address pool overlaps with an address or route of this host."""

    reason = "no-free-subnet"

    def __init__(self) -> None:
        super().__init__("all predefined address pools have been fully subnetted")


class PortUnavailableError(InternalError):
    """A host port that a container or a program of the host has."""

    reason = "port-unavailable"


class FirewallError(InternalError):
    """The kernel refused a change of links, addresses or rules."""

    reason = "network-setup"

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"network setup failed: {cause.filename}: {cause.strerror}")
        self.errno = cause.errno
