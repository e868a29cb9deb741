"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: written at start, bound into it."""

import os
from collections.abc import Iterable
from typing import Any

from rundlet.api.container_config import HostConfig
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents
from rundlet.engine.containers.links import Links
from rundlet.engine.context import Context
from rundlet.network import etc_files, names
from rundlet.network.etc_files import HostEntry, ResolverOptions
from rundlet.network.names import Server
from rundlet.network.sandbox import Allocation, Change

_FILES = (("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf"))


def has_ipv6(host: HostConfig) -> bool:
    """Whether the container can have IPv6 addresses: a switch of the kernel may take them all away."""
    return (host.sysctls or {}).get("net.ipv6.conf.all.disable_ipv6", "0") == "0"


class EtcFiles:
    """Writer of the three files below the container's directory."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._links = Links(context.containers, context.network)

    def write(self, record: Record, allocation: Allocation) -> list[dict[str, Any]]:
        """Write the files; returns the OCI mounts. A joined network's container lends its own. Raises OSError."""
        host, config = documents.host(record), documents.config(record)
        if host.network_mode.startswith("container:"):
            return self._mounts(self._context.layout.container(self._lender(record)), writable=not host.readonly_rootfs)
        directory = self._context.layout.container(record.id)
        gateways = self._context.network.host_gateways()
        extra = [entry for value in host.extra_hosts or () for entry in etc_files.parse_extra_host(value, gateways)]
        extra += self._links.hosts(record)
        if host.network_mode == "host":
            hosts = etc_files.host_network_hosts(_read("/etc/hosts"), extra)
        else:
            addresses = [address for endpoint in allocation.endpoints for address in endpoint.addresses]
            hosts = etc_files.hosts(
                addresses, config.hostname, domain=config.domainname, extra=extra, ipv6=has_ipv6(host)
            )
        internal, ipv6 = bool(allocation.sandbox.resolver), _reaches_ipv6(allocation)
        for name, text in (
            ("hosts", hosts),
            ("hostname", etc_files.hostname(config.hostname)),
            ("resolv.conf", self._resolv_conf(record, internal=internal, ipv6=ipv6)),
        ):
            _write(f"{directory}/{name}", text)
        return self._mounts(directory, writable=not host.readonly_rootfs)

    def _lender(self, record: Record) -> str:
        """The ID of the container whose network this is, behind however many that join one another's."""
        mode = documents.host(record).network_mode
        while mode.startswith("container:"):
            other = self._context.containers.find(mode.partition(":")[2])
            if other.id == record.id:
                break  # refused before its processes are started
            record, mode = other, documents.host(other).network_mode
        return record.id

    def servers(self, record: Record) -> tuple[Server, ...]:
        """Where the container's questions go that our resolver can't answer."""
        chosen = self._chosen(record)
        text = etc_files.read_host_resolv_conf()
        dotted = etc_files.dots_wanted(text, chosen)
        return names.servers(etc_files.forward_to(text, chosen), chosen=bool(chosen.nameservers), dotted=dotted)

    def joined(self, record: Record, change: Change) -> None:
        """A running container has one more address, and perhaps names to look up now. Raises OSError."""
        config = documents.config(record)
        path = f"{self._context.layout.container(record.id)}/hosts"
        own = etc_files.own_names(config.hostname, config.domainname)
        text = _read(path)
        for address in change.endpoint.addresses:
            text = etc_files.with_address(text, address, own)
        _write(path, text)
        if change.resolver:
            path = f"{self._context.layout.container(record.id)}/resolv.conf"
            # Somebody in the container may have written another one: that stays.
            if _read(path) == self._resolv_conf(record, internal=False):
                _write(path, self._resolv_conf(record, internal=True))

    def relinked(self, record: Record) -> None:
        """A container that others link to runs again, perhaps at another address. Raises OSError."""
        for parent, _ in self._links.parents(record):
            path = f"{self._context.layout.container(parent.id)}/hosts"
            if is_running(parent.state.status) and os.path.exists(path):
                text = _read(path)
                for entry in self._links.hosts(parent):
                    text = etc_files.with_entry(text, entry)
                _write(path, text)

    def unlinked(self, parent: Record, entries: Iterable[HostEntry]) -> None:
        """A container has a link less. Raises OSError."""
        path = f"{self._context.layout.container(parent.id)}/hosts"
        if is_running(parent.state.status) and os.path.exists(path):
            text = _read(path)
            for entry in entries:
                text = etc_files.without_entry(text, entry)
            _write(path, text)

    def left(self, record: Record, change: Change) -> None:
        """A running container has one address less. Raises OSError."""
        path = f"{self._context.layout.container(record.id)}/hosts"
        text = _read(path)
        for address in change.endpoint.addresses:
            text = etc_files.without_address(text, address)
        _write(path, text)

    def _resolv_conf(self, record: Record, *, internal: bool, ipv6: bool = False) -> str:
        text = etc_files.read_host_resolv_conf()
        if internal:
            return etc_files.internal_resolv_conf(text, self._chosen(record))
        shared = documents.host(record).network_mode == "host"
        return etc_files.resolv_conf(text, self._chosen(record), own_loopback=not shared, ipv6=ipv6)

    def _chosen(self, record: Record) -> ResolverOptions:
        """The container's own choice, else the engine's."""
        host, engine = documents.host(record), self._context.settings.dns
        return ResolverOptions(
            tuple(host.dns or ()) or engine.nameservers,
            tuple(host.dns_search or ()) or engine.search,
            tuple(host.dns_options or ()) or engine.options,
        )

    def _mounts(self, directory: str, *, writable: bool) -> list[dict[str, Any]]:
        options = ["rbind", "rprivate", "rw" if writable else "ro"]
        return [
            {"type": "bind", "source": f"{directory}/{name}", "destination": destination, "options": options}
            for name, destination in _FILES
        ]


def _reaches_ipv6(allocation: Allocation) -> bool:
    return any(6 in endpoint.leads and endpoint.gateway6 for endpoint in allocation.endpoints)


def _write(path: str, text: str) -> None:
    """In place: a file that a running container has mounted must keep its inode."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
