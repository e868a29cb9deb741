"""Which servers answer for a registry's name, and how they are spoken to.

A name's own server is asked over https with verified certificates, except where it is insecure: loopback always, what
``insecure-registries`` lists (names, ``name:port``, CIDR blocks) and, as in Docker, a name that resolves into such a
block. An insecure server may use any certificate or plain HTTP. Mirrors are asked first, for pulls only, without the
credentials of the registry they mirror.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final

import msgspec
from yarl import URL

from rundlet.errors import InvalidParameterError

DOCKER_HUB: Final = "docker.io"
DOCKER_HUB_HOSTS: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
DOCKER_HUB_SERVER: Final = "registry-1.docker.io"
DOCKER_HUB_SEARCH: Final = "index.docker.io"


class InvalidMirrorError(InvalidParameterError):
    """A mirror in the configuration is no URL."""

    reason = "invalid-mirror"

    def __init__(self, value: str, why: str) -> None:
        super().__init__(f'invalid mirror: "{value}" {why}')
        self.value = value


class Endpoint(msgspec.Struct, frozen=True):
    """One server. ``schemes`` are tried in order until one answers; ``prefix`` is a path before ``/v2/``."""

    host: str
    schemes: tuple[str, ...] = ("https",)
    verify: bool = True
    prefix: str = ""
    mirror: bool = False

    @property
    def url(self) -> str:
        """For messages: as a mirror is written in the configuration."""
        return f"{self.schemes[0]}://{self.host}{self.prefix}"


class HostsConfig(msgspec.Struct, frozen=True):
    """What ``daemon.json`` says about registries.

    ``mirrors`` are Docker Hub's; ``registry_mirrors`` maps any registry's name to the URLs of its mirrors.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    registry_mirrors: Mapping[str, tuple[str, ...]] = {}

    def check(self) -> None:
        """Raises InvalidMirrorError for what can't be a mirror; to be called when the configuration is read."""
        for urls in (self.mirrors, *self.registry_mirrors.values()):
            for url in urls:
                self._mirror(url)

    def for_pull(self, domain: str) -> tuple[Endpoint, ...]:
        """The servers to ask, in order: the mirrors, then the registry itself."""
        urls = list(self.registry_mirrors.get(domain, ()))
        if domain in DOCKER_HUB_HOSTS:
            urls += self.mirrors
        return (*(self._mirror(url) for url in urls), self.own(domain))

    def own(self, domain: str) -> Endpoint:
        """The registry's own server: the only one that is pushed to and logged in to."""
        host = DOCKER_HUB_SERVER if domain in DOCKER_HUB_HOSTS else domain
        if is_loopback(host):
            # Plain HTTP first: what listens on loopback rarely has a certificate, and nobody listens in between.
            return Endpoint(host, ("http", "https"), verify=False)
        if self.is_insecure(host):
            return Endpoint(host, ("https", "http"), verify=False)
        return Endpoint(host)

    def is_insecure(self, host: str) -> bool:
        """Whether ``host`` (with its port) may be spoken to without a verified certificate."""
        return is_loopback(host) or self.is_listed(host)

    def is_listed(self, host: str) -> bool:
        """Whether the configuration says that ``host`` is insecure: loopback is not, unless it is named."""
        name, address = _split(host)
        for entry in self.insecure:
            rule = entry.partition("://")[2] or entry
            if rule.rstrip("/").lower() in (host.lower(), name):
                return True
            if address is not None and "/" in rule and _contains(rule, address):
                return True
        return False

    def in_insecure_block(self, address: str) -> bool:
        """Whether a name that resolves to ``address`` is insecure: loopback, and the CIDR blocks that are listed."""
        found = _split(address)[1]
        return found is not None and (found.is_loopback or any(_contains(rule, found) for rule in self.insecure))

    def _mirror(self, text: str) -> Endpoint:
        url = URL(text, encoded=True)
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidMirrorError(text, "is not an http or https URL")
        if url.user or url.password:
            raise InvalidMirrorError(text, "holds credentials")
        if url.query_string or url.fragment:
            raise InvalidMirrorError(text, "has a query or a fragment")
        port = f":{url.explicit_port}" if url.explicit_port is not None else ""
        host = f"{url.host_subcomponent}{port}"
        return Endpoint(
            host, (url.scheme,), verify=not self.is_insecure(host), prefix=url.path.rstrip("/"), mirror=True
        )


def is_loopback(host: str) -> bool:
    """Whether ``host`` (with or without a port) is this machine: 127.0.0.0/8, ::1, localhost."""
    name, address = _split(host)
    return name == "localhost" or (address is not None and address.is_loopback)


def _split(host: str) -> tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address | None]:
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.count(":") == 1 else host
    try:
        return name.lower(), ipaddress.ip_address(name)
    except ValueError:
        return name.lower(), None


def _contains(block: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False
