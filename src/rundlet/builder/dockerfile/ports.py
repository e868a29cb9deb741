"""Ports of EXPOSE."""

import re
from collections.abc import Iterable
from typing import Final

from rundlet.builder.dockerfile.errors import DockerfileError

_PORT: Final = re.compile(r"(\d+)(?:-(\d+))?(?:/([A-Za-z]*))?\Z", re.ASCII)


def exposed_ports(words: Iterable[str]) -> tuple[str, ...]:
    """``80``, ``8000-8010/udp`` … as ``80/tcp`` each, sorted by text. Raises DockerfileError."""
    found: set[str] = set()
    for word in words:
        # As for published ports, an address or a host's port in front is allowed and means nothing here.
        match = _PORT.match(word.rpartition(":")[2])
        if match is None:
            raise DockerfileError(f"invalid containerPort: {word}")
        first = int(match[1])
        last = int(match[2] or match[1])
        protocol = (match[3] or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            raise DockerfileError(f"invalid proto: {protocol}")
        if not 0 <= first <= last <= 65535:
            raise DockerfileError(f"invalid containerPort: {word}")
        found.update(f"{port}/{protocol}" for port in range(first, last + 1))
    return tuple(sorted(found))
