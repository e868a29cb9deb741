"""Sockets towards a container, from the client's own address where that is wanted and can be."""

import errno
import socket
from typing import Final

_IP_TRANSPARENT: Final = 19
_IPV6_TRANSPARENT: Final = 75
_NEVER: Final = ("127.", "0.", "fe80:", "::1", "::")
"""How addresses begin that mean something on one machine, or one link, only."""


def own_socket(kind: int, target: tuple[str, int], source: tuple[str, int] | None) -> socket.socket:
    """One that is connected to ``target``, or on its way; from ``source``, or its address, or else the bridge's.

    Raises: OSError when there is no way to the target.
    """
    six = ":" in target[0]
    for address in (*_candidates(source, six), None):
        made = socket.socket(
            socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            if address is not None:
                _be(made, address, six)
            code = made.connect_ex(target)
            if code in (0, errno.EINPROGRESS):
                return made
            raise OSError(code, "connect")
        except OSError:
            made.close()
            if address is None:
                raise
    raise AssertionError("unreachable")


def usable(address: str, six: bool) -> bool:
    """Whether a container with addresses of that family can answer to ``address``."""
    return (":" in address) == six and "%" not in address and not address.startswith(_NEVER)


def _candidates(source: tuple[str, int] | None, six: bool) -> list[tuple[str, int]]:
    if source is None or not usable(source[0], six):
        return []
    # The very port is taken where the same client port asks by two of ours, or asked a moment ago.
    return [source, (source[0], 0)]


def _be(made: socket.socket, address: tuple[str, int], six: bool) -> None:
    """Raises: OSError."""
    level, option = (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT) if six else (socket.IPPROTO_IP, _IP_TRANSPARENT)
    made.setsockopt(level, option, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
