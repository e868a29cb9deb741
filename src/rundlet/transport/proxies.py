"""Which proxy a URL goes through: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY`` with Go's rules, as Docker has them.

aiohttp's own reading of the environment is not used: it would also send what ``~/.netrc`` holds to registries.
"""

from collections.abc import Mapping

import msgspec
from yarl import URL

from rundlet.errors import NotSupportedError
from rundlet.util.bypass import bypassed, rules


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

        return cls(value("HTTP_PROXY"), value("HTTPS_PROXY"), rules(value("NO_PROXY") or ""))

    def choose(self, url: URL) -> URL | None:
        """The proxy for ``url``. Raises NotSupportedError for a SOCKS proxy."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or bypassed(url.host or "", url.port or 0, self.bypass):
            return None
        address = URL(proxy if "://" in proxy else f"http://{proxy}")
        if address.scheme not in ("http", "https"):
            raise NotSupportedError(f"the proxy scheme {address.scheme}://")
        return address


def masked(proxy: str) -> str:
    """A proxy's URL to be shown: who may ask about an engine need not know its password there."""
    scheme, separator, rest = proxy.rpartition("://")
    authority, slash, path = rest.partition("/")
    _, user, host = authority.rpartition("@")
    return f"{scheme}{separator}{'xxxxx:xxxxx@' if user else ''}{host}{slash}{path}"
