"""What of a container's published ports is still to be published when it joins one more network."""

from collections.abc import Iterable

import msgspec

from rundlet.network.errors import PortUnavailableError
from rundlet.network.portmap import ANY, ANY6, EVERY, PortRequest, PublishedPort, Reach


def still_wanted(requests: Iterable[PortRequest], reach: Reach, have: Iterable[PublishedPort]) -> list[PortRequest]:
    """What of ``requests`` a container that ``have`` was published for lacks where it can be reached now.

    A container that joins a network of another family is to have the same numbers there, if that can be.
    """
    left = sorted(have)
    lacking: list[PortRequest] = []
    for request in requests:
        mine = _of_request(request, left)
        left = [port for port in left if port not in mine]
        if not mine:
            lacking.append(request)
            continue
        for address in _addresses_now(request, reach):
            if all(port.host_address != address for port in mine):
                number = mine[0].host_port
                lacking.append(msgspec.structs.replace(request, host_address=address, preferred=number))
    return lacking


def _addresses_now(request: PortRequest, reach: Reach) -> list[str]:
    """None where it can't be reached any more: what is published stays, and leads nowhere."""
    try:
        return reach.addresses(request)
    except PortUnavailableError:
        return []


def _of_request(request: PortRequest, ports: Iterable[PublishedPort]) -> list[PublishedPort]:
    """Those of one number that were published for it."""
    addresses = (ANY, ANY6) if request.host_address == EVERY else (request.host_address,)
    able = [
        port
        for port in ports
        if (port.protocol, port.container_port) == (request.protocol, request.container_port)
        and port.host_address in addresses
        and (not request.first or request.first <= port.host_port <= request.last)
    ]
    return [port for port in able if port.host_port == able[0].host_port]
