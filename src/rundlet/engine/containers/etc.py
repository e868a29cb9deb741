"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: written at start, bound into it."""

import os
from typing import Any

from rundlet.container.record import Record
from rundlet.engine.containers import documents
from rundlet.engine.context import Context
from rundlet.network import etc_files
from rundlet.network.etc_files import ResolverOptions
from rundlet.network.sandbox import Allocation

_FILES = (("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf"))


class EtcFiles:
    """Writer of the three files below the container's directory."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def write(self, record: Record, allocation: Allocation) -> list[dict[str, Any]]:
        """Write the files; returns the OCI mounts. A joined network's container lends its own. Raises OSError."""
        host, config = documents.host(record), documents.config(record)
        if host.network_mode.startswith("container:"):
            other = self._context.containers.find(host.network_mode.partition(":")[2])
            return self._mounts(self._context.layout.container(other.id), writable=not host.readonly_rootfs)
        directory = self._context.layout.container(record.id)
        shared = host.network_mode == "host"
        gateway = self._context.network.host_gateway()
        extra = [etc_files.parse_extra_host(value, gateway) for value in host.extra_hosts or ()]
        if shared:
            hosts = etc_files.host_network_hosts(_read("/etc/hosts"), extra)
        else:
            addresses = [endpoint.address for endpoint in allocation.endpoints]
            hosts = etc_files.hosts(addresses, config.hostname, domain=config.domainname, extra=extra)
        chosen = ResolverOptions(tuple(host.dns or ()), tuple(host.dns_search or ()), tuple(host.dns_options or ()))
        resolver = etc_files.resolv_conf(etc_files.read_host_resolv_conf(), chosen, own_loopback=not shared)
        for name, text in (
            ("hosts", hosts),
            ("hostname", etc_files.hostname(config.hostname)),
            ("resolv.conf", resolver),
        ):
            _write(f"{directory}/{name}", text)
        return self._mounts(directory, writable=not host.readonly_rootfs)

    def _mounts(self, directory: str, *, writable: bool) -> list[dict[str, Any]]:
        options = ["rbind", "rprivate", "rw" if writable else "ro"]
        return [
            {"type": "bind", "source": f"{directory}/{name}", "destination": destination, "options": options}
            for name, destination in _FILES
        ]


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
