"""Trust data for the engine: what a repository has signed, from its trust server."""

import asyncio
from datetime import datetime
from urllib.parse import quote, urlsplit

from rundlet.errors import RundletError
from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, Registry
from rundlet.transport.http import BodyTooLargeError
from rundlet.trust.cache import MetadataCache
from rundlet.trust.errors import RootError, ServerError, TooLargeError
from rundlet.trust.metadata import ROOT
from rundlet.trust.policy import Rule
from rundlet.trust.trusted_set import TrustedSet
from rundlet.trust.updater import Request, only_releases, update

OFFICIAL = "https://notary.docker.io"


class TrustData:
    """``directory`` keeps what was trusted last time."""

    def __init__(self, registry: Registry, directory: str) -> None:
        self._registry = registry
        self._cache = MetadataCache(directory)

    async def fetch(self, name: Reference, credentials: Credentials | None, rule: Rule, now: datetime) -> TrustedSet:
        """Raises TrustError."""
        server = _server(name, rule)
        connection = self._registry.trust_server(server, credentials)
        known = await asyncio.to_thread(self._cache.load, name.name)

        async def ask(request: Request) -> bytes | None:
            path = f"{name.name}/_trust/tuf/{quote(request.name, '/')}.json"
            try:
                answer = await connection.call(
                    "GET", path, scopes=(f"repository:{name.name}:pull",), limit=request.limit, accept=(200, 404)
                )
            except BodyTooLargeError as exc:
                raise TooLargeError(request.name, request.limit) from exc
            except RundletError as exc:
                raise ServerError(f"{urlsplit(server).netloc}: {exc}") from exc
            return answer.body if answer.status == 200 else None

        vouched = self._cache.vouched(name.name, known)
        exchange = update(name.name, urlsplit(server).netloc, known, now, only_releases, vouched)
        request = next(exchange)
        while True:
            try:
                request = exchange.send(await ask(request))
            except StopIteration as end:
                trusted: TrustedSet = end.value
                break
        _check_pins(trusted, rule)
        files = trusted.files()
        await asyncio.to_thread(self._cache.save, name.name, files, known)
        if vouched is None or files[ROOT] != known.get(ROOT):
            self._cache.vouch(name.name, files[ROOT], trusted.vouched_until())
        return trusted


def _server(name: Reference, rule: Rule) -> str:
    chosen: str = rule.settings.get("server", "")
    return chosen.rstrip("/") or (OFFICIAL if name.domain == "docker.io" else f"https://{name.domain}")


def _check_pins(trusted: TrustedSet, rule: Rule) -> None:
    """Root keys that the policy names, by either of their IDs. Raises RootError."""
    pins = set(rule.settings.get("root-keys", ()))
    keys = trusted.root.keys_of(ROOT)
    if pins and not pins & {name for key_id, key in keys.items() for name in (key_id, key.canonical_id)}:
        raise RootError("none of its root keys is one of the policy's")
