"""``--link`` on the default bridge: another container's address and variables under a name of one's own choice.

A link is recorded with the other container's ID, so that a rename changes nothing. It needs that container to run when
this one starts; when it starts again elsewhere, the name follows it. (On networks of one's own, links are names that
our resolver answers.)
"""

from collections.abc import Iterable, Sequence

import msgspec

from rundlet.api.container_config import ContainerConfig, HostConfig
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.container.store import ContainerStore
from rundlet.engine.containers import documents, ports
from rundlet.errors import (
    ConflictError,
    InternalError,
    InvalidParameterError,
    NoSuchContainerError,
)
from rundlet.network.errors import NetworkNotFoundError
from rundlet.network.etc_files import HostEntry
from rundlet.network.firewall import LinkedPort
from rundlet.network.networks import DEFAULT_BRIDGE
from rundlet.network.portmap import PROTOCOLS
from rundlet.network.service import NetworkService

_LEFT_OUT = ("HOME", "PATH")
_SOME = b'"Links":['
_DEFAULT_MODES = ("", "default", DEFAULT_BRIDGE)


class Link(msgspec.Struct, frozen=True):
    """``child`` under the name ``alias``."""

    child: Record
    alias: str


class Links:
    """Between the containers' records."""

    def __init__(self, containers: ContainerStore, network: NetworkService) -> None:
        self._containers = containers
        self._network = network

    def recorded(self, host: HostConfig) -> HostConfig:
        """A new container's configuration with its links by ID. Raises InvalidParameterError."""
        if not host.links or host.network_mode not in _DEFAULT_MODES:
            return host
        found = []
        for text in host.links:
            name, alias = _parse(text)
            try:
                child = self._containers.find(name)
            except NoSuchContainerError as error:
                raise InvalidParameterError(f"could not get container for {name}: {error}") from error
            if documents.host(child).network_mode == "host":
                raise InvalidParameterError(
                    "conflicting options: host type networking can't be used with links. This would result in "
                    "undefined behavior"
                )
            found.append(f"{child.id}:{alias}")
        return msgspec.structs.replace(host, links=tuple(found))

    def of(self, record: Record) -> list[Link]:
        """The container's links; those to containers that are gone are gone, too."""
        host = documents.host(record)
        if not host.links or host.network_mode not in _DEFAULT_MODES:
            return []
        found = []
        for text in host.links:
            identifier, _, alias = text.partition(":")
            try:
                found.append(Link(self._containers.by_id(identifier), alias))
            except NoSuchContainerError:
                continue
        return found

    def check_running(self, record: Record) -> None:
        """Raises InternalError, in Docker's words, for a link to a container that doesn't run, or not there."""
        for link in self.of(record):
            if not is_running(link.child.state.status):
                raise InternalError(
                    f"Cannot link to a non running container: /{link.child.name} AS /{record.name}/{link.alias}"
                )
            if self._network.default_mode == DEFAULT_BRIDGE and not self._address(link.child):
                raise InternalError(f"Cannot link to /{link.child.name}, as it does not belong to the default network")

    def hosts(self, record: Record) -> list[HostEntry]:
        """What goes into the container's /etc/hosts."""
        return [entry for link in self.of(record) for entry in self._entries(link)]

    def environment(self, record: Record) -> list[str]:
        """What goes into its environment, before its own variables."""
        found = []
        for link in self.of(record):
            address = self._address(link.child)
            if address:
                found += variables(f"/{record.name}/{link.alias}", address, documents.config(link.child))
        return found

    def shown(self, record: Record) -> tuple[str, ...] | None:
        """As inspect has them: ``/child:/parent/alias``."""
        return tuple(f"/{link.child.name}:/{record.name}/{link.alias}" for link in self.of(record)) or None

    def names(self) -> dict[str, list[str]]:
        """The names that others' links give containers, by ID: ``/parent/alias``."""
        found: dict[str, list[str]] = {}
        for parent in self._linking():
            for link in self.of(parent):
                found.setdefault(link.child.id, []).append(f"/{parent.name}/{link.alias}")
        return found

    def parents(self, record: Record) -> list[tuple[Record, Link]]:
        """Who links to the container."""
        return [(other, link) for other in self._linking() for link in self.of(other) if link.child.id == record.id]

    def open_ports(self) -> None:
        """Where containers are kept apart, let those that have a link reach what the other one exposes.

        To be called when one of them has got its addresses, or has lost a link. Raises FirewallError.
        """
        if not self._network.links_open_ports:
            return
        found = set()
        for parent in self._linking():
            source = self._address(parent)
            for link in self.of(parent) if source else ():
                address = self._address(link.child)
                exposed = documents.config(link.child).exposed_ports or () if address else ()
                found |= {
                    LinkedPort(source, address, kind, port) for port, kind in _ports(exposed) if kind in PROTOCOLS
                }
        self._network.link(found)

    def _linking(self) -> list[Record]:
        """The containers with links: few of perhaps thousands, whose documents are not worth decoding."""
        return [other for other in self._containers if _SOME in bytes(other.host_config)]

    def remove(self, path: str) -> tuple[Record, list[HostEntry]]:
        """``rm --link parent/alias``: returns the parent, and what its /etc/hosts has no more. Raises
        NoSuchContainerError, ConflictError."""
        parent_name, _, alias = path.strip("/").rpartition("/")
        if not parent_name:
            raise ConflictError("Conflict, cannot remove the default link name of the container")
        parent = self._containers.find(parent_name)
        host = documents.host(parent)
        kept = tuple(text for text in host.links or () if text.partition(":")[2] != alias)
        if kept == (host.links or ()):
            raise InvalidParameterError(f"Cannot get parent /{parent_name} for name /{parent_name}/{alias}")
        gone = [entry for link in self.of(parent) if link.alias == alias for entry in self._entries(link)]
        changed = documents.encode(msgspec.structs.replace(host, links=kept or None))
        self._containers.save(msgspec.structs.replace(parent, host_config=changed), durable=True)
        self.open_ports()
        return parent, gone

    def _entries(self, link: Link) -> Iterable[HostEntry]:
        address = self._address(link.child)
        names = dict.fromkeys((link.alias, documents.config(link.child).hostname, link.child.name))
        return [HostEntry(" ".join(name for name in names if name), address)] if address else []

    def _address(self, child: Record) -> str:
        """On the default bridge."""
        try:
            bridge = self._network.network(DEFAULT_BRIDGE)
        except NetworkNotFoundError:
            return ""
        return next((made.address for made in self._network.endpoints(child.id) if made.network_id == bridge.id), "")


def variables(name: str, address: str, child: ContainerConfig) -> list[str]:
    """The variables of one link; ``name`` is ``/parent/alias``."""
    prefix = name.rpartition("/")[2].upper().replace("-", "_")
    exposed = _ports(child.exposed_ports or ())
    found = [f"{prefix}_PORT={protocol}://{address}:{port}" for port, protocol in exposed[:1]]
    for first, last, protocol in _ranges(exposed):
        start = f"{prefix}_PORT_{first}_{protocol.upper()}"
        found += [
            f"{start}_START={protocol}://{address}:{first}",
            f"{start}_ADDR={address}",
            f"{start}_PROTO={protocol}",
            f"{start}_PORT_START={first}",
            f"{start}_END={protocol}://{address}:{last}",
            f"{start}_PORT_END={last}",
        ]
    for port, protocol in exposed:
        one = f"{prefix}_PORT_{port}_{protocol.upper()}"
        found += [f"{one}={protocol}://{address}:{port}", f"{one}_ADDR={address}"]
        found += [f"{one}_PORT={port}", f"{one}_PROTO={protocol}"]
    found.append(f"{prefix}_NAME={name}")
    for variable in child.env or ():
        key, equals, value = variable.partition("=")
        if equals and key not in _LEFT_OUT:
            found.append(f"{prefix}_ENV_{key}={value}")
    return found


def _parse(text: str) -> tuple[str, str]:
    """``name:alias``, ``name``, or what inspect shows. Raises InvalidParameterError."""
    name, colon, alias = text.partition(":")
    if not name or ":" in alias or (colon and not alias):
        raise InvalidParameterError(f"invalid value {text!r}: bad format for links: {text}")
    if alias.startswith("/"):
        alias = alias.rpartition("/")[2]
    return name.removeprefix("/"), alias or name.removeprefix("/")


def _ports(exposed: Iterable[str]) -> list[tuple[int, str]]:
    """(port, protocol), TCP first where the number is the same."""
    found = [port for text in exposed for port in ports.named(text)]
    return sorted(found, key=lambda port: (port[0], port[1] != "tcp", port[1]))


def _ranges(exposed: Sequence[tuple[int, str]]) -> Iterable[tuple[int, int, str]]:
    """(first, last, protocol) of every run of three ports or more."""
    for protocol in dict.fromkeys(protocol for _, protocol in exposed):
        numbers = [port for port, kind in exposed if kind == protocol]
        while numbers:
            length = 1
            while length < len(numbers) and numbers[length] == numbers[0] + length:
                length += 1
            if length > 2:
                yield numbers[0], numbers[length - 1], protocol
            numbers = numbers[length:]
