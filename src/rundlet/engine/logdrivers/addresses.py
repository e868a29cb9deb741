"""Where a syslog server is: ``tcp://host:port``, ``udp://``, ``tcp+tls://``, ``unix:///path``, ``unixgram:///path``."""

from typing import Final, NamedTuple

from rundlet.errors import InvalidParameterError

_PORT: Final = 514
_TRANSPORTS: Final = ("tcp", "udp", "tcp+tls")
_LOCAL: Final = ("unix", "unixgram")


class Address(NamedTuple):
    """``network`` "" is the machine's own syslog; ``where`` is ``host:port`` or a path."""

    network: str
    where: str


def parse_address(text: str) -> Address:
    """Raises InvalidParameterError with Docker's words."""
    if not text:
        return Address("", "")
    network, separator, rest = text.partition("://")
    if not separator or network not in _TRANSPORTS + _LOCAL:
        raise InvalidParameterError(f"syslog-address should be in form proto://address, got {text}")
    if network in _LOCAL:
        return Address(network, rest)
    host, colon, port = rest.partition("/")[0].rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(_PORT)
    if not port.isdigit() or int(port) > 65535:
        raise InvalidParameterError(f"syslog-address should be in form proto://address, got {text}")
    return Address(network, f"{host}:{port}")
