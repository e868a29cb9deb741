"""Which proxy a URL goes through: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY`` with Go's rules, as Docker has them.

aiohttp's own reading of the environment is not used: it would also send what ``~/.netrc`` holds to registries.
"""

import ipaddress
from collections.abc import Mapping

import msgspec
from yarl import URL

from rundlet.errors import NotSupportedError


class Proxies(msgspec.Struct, frozen=True):
    """Proxy URLs by scheme, and where none is used."""

    http: str | None = None
    https: str | None = None
    bypass: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Proxies":
        """Upper-case names win over lower-case ones, empty values count as absent."""

        def value(name: str) -> str | None:
            return environment.get(name) or environment.get(name.lower()) or None

        names = (value("NO_PROXY") or "").split(",")
        return cls(value("HTTP_PROXY"), value("HTTPS_PROXY"), tuple(n.strip().lower() for n in names if n.strip()))

    def choose(self, url: URL) -> URL | None:
        """The proxy for ``url``. Raises NotSupportedError for a SOCKS proxy."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or self._bypassed(url.host or "", url.port or 0):
            return None
        address = URL(proxy if "://" in proxy else f"http://{proxy}")
        if address.scheme not in ("http", "https"):
            raise NotSupportedError(f"the proxy scheme {address.scheme}://")
        return address

    def _bypassed(self, host: str, port: int) -> bool:
        host = host.lower().rstrip(".")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_matches(rule, host, address, port) for rule in self.bypass)


def _matches(rule: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if rule == "*":
        return True
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    if address is not None:
        return rule == str(address)
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")
