"""The name tables that the resolver reads: one file for each network, one for each container's sandbox.

Written by the engine alone, each replaced atomically; the resolver looks at a file's identity before it believes what
it read earlier. They can be made again from the state database, so nothing is synced.
"""

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterable, Sequence

import msgspec

from rundlet.network.endpoint import Endpoint
from rundlet.network.networks import Network
from rundlet.util import fs

SOCKET = "socket"
PROXY = "proxy"


class Server(msgspec.Struct, frozen=True):
    """A resolver to ask what we don't know; ``from_host``: in the host's network, not in the container's."""

    address: str
    from_host: bool = False
    dotted: bool = False
    """It is not asked for the address of a name without a dot: the client's search domains come first."""


class NameTables:
    """``directory`` is made when it is first needed."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @property
    def socket(self) -> str:
        """Where the resolver listens."""
        return f"{self.directory}/{SOCKET}"

    @property
    def proxy(self) -> str:
        """Where the proxy listens."""
        return f"{self.directory}/{PROXY}"

    def prepare(self) -> None:
        os.makedirs(self.directory, 0o700, exist_ok=True)

    def write_network(self, network: Network, endpoints: Iterable[Endpoint]) -> None:
        """The names of everything on a network."""
        addresses: dict[str, list[str]] = {}
        addresses6: dict[str, list[str]] = {}
        pointers: dict[str, str] = {}
        for endpoint in endpoints:
            for name in endpoint.names:
                for found, address in ((addresses, endpoint.address), (addresses6, endpoint.address6)):
                    if address:
                        found.setdefault(name.lower(), []).append(address)
            if endpoint.names:
                pointers |= dict.fromkeys(endpoint.addresses, f"{endpoint.names[0]}.{network.name}")
        document: dict[str, object] = {
            "name": network.name,
            "names": addresses,
            "names6": addresses6,
            "pointers": pointers,
        }
        self._write(network.id, document)

    def write_sandbox(
        self, container_id: str, joined: Sequence[tuple[Endpoint, Network]], servers: Sequence[Server]
    ) -> None:
        """Where a container's questions go: its networks in order, its own names for others, the servers beyond."""
        links: dict[str, dict[str, str]] = {}
        for endpoint, network in joined:
            for link in endpoint.links:
                name, _, alias = link.partition(":")
                links.setdefault(network.id, {})[(alias or name).lower()] = name.lower()
        ordered = sorted(joined, key=lambda pair: not pair[0].leads)
        document = {
            "networks": [network.id for _, network in ordered if network.has_names],
            "links": links,
            # Nothing leaks from a container that only internal networks hold (CVE-2024-29018).
            "forward": any(not network.internal for _, network in joined),
            "servers": [[server.address, server.from_host] for server in servers],
            "dotted": any(server.dotted for server in servers),
        }
        self._write(container_id, document)

    def forget(self, identifier: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.directory}/{identifier}")

    def keep_only(self, identifiers: Iterable[str]) -> None:
        """Remove the files of everything else."""
        kept = {*identifiers, SOCKET, PROXY}
        with contextlib.suppress(FileNotFoundError):
            for name in set(os.listdir(self.directory)) - kept:
                self.forget(name)

    def _write(self, identifier: str, document: dict[str, object]) -> None:
        self.prepare()
        fs.write_atomic(f"{self.directory}/{identifier}", json.dumps(document).encode(), durable=False)


def servers(nameservers: Iterable[str], *, chosen: bool, dotted: bool = False) -> tuple[Server, ...]:
    """How to reach resolvers: those that the user ``chosen`` from the container; the host's on its loopback, or by
    IPv6, from the host."""
    found = []
    for text in nameservers:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if getattr(address, "scope_id", None):
            continue  # Such an address means nothing without the link that it was learned on.
        found.append(Server(text, not chosen and (address.is_loopback or address.version == 6), dotted))
    return tuple(found)
