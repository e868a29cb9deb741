"""All registries, as one service of the engine: remembers servers, challenges and tokens between requests."""

from collections.abc import Mapping
from http.client import responses
from urllib.parse import urlsplit

import msgspec

from rundlet.oci.reference import Reference
from rundlet.registry.connection import Connection, Server
from rundlet.registry.errors import LoginError, LoginStatusError, RegistryError, RegistryUnreachableError
from rundlet.registry.fetcher import Fetcher
from rundlet.registry.hosts import DOCKER_HUB, DOCKER_HUB_SEARCH, Endpoint, HostsConfig
from rundlet.registry.pusher import RepositoryPusher
from rundlet.registry.retry import Retry
from rundlet.registry.search import SearchResult, search, split_term
from rundlet.transport.auth import AuthenticationError, Authorizer, Credentials
from rundlet.transport.errors import TransportError
from rundlet.transport.http import HttpClient


class Registry:
    """Made once by the wiring. ``mirror_credentials`` are by mirror host: a registry's own never go to its mirrors."""

    def __init__(
        self,
        http: HttpClient,
        hosts: HostsConfig | None = None,
        *,
        retry: Retry | None = None,
        mirror_credentials: Mapping[str, Credentials] | None = None,
    ) -> None:
        self.hosts = hosts or HostsConfig()
        self._http = http
        self._authorizer = Authorizer(http)
        self._retry = retry or Retry()
        self._mirror_credentials = mirror_credentials or {}
        self._servers: dict[Endpoint, Server] = {}

    def reconfigure(self, hosts: HostsConfig, retry: Retry, mirror_credentials: Mapping[str, Credentials]) -> None:
        """For what is asked for from now on."""
        self.hosts, self._retry, self._mirror_credentials = hosts, retry, mirror_credentials

    def trusting(self, domain: str) -> "Registry":
        """The same, but ``domain`` may have any certificate or none: what a user asks for in one command."""
        hosts = msgspec.structs.replace(self.hosts, insecure=(*self.hosts.insecure, domain))
        return Registry(self._http, hosts, retry=self._retry, mirror_credentials=self._mirror_credentials)

    async def is_plain(self, domain: str) -> bool:
        """Whether plain HTTP is spoken with ``domain`` only because of its address: nobody has allowed it by name.

        False for a server that does not answer, too.
        """
        endpoint = self.hosts.own(domain)
        if self.hosts.is_listed(endpoint.host):
            return False
        try:
            return (await self._connect(endpoint, None).url("")).startswith("http:")
        except TransportError:
            return False

    def fetcher(self, name: Reference, credentials: Credentials | None = None) -> Fetcher:
        """Reads repository ``name`` (tag and digest of it do not matter) as the user of ``credentials``."""
        connections = [self._connect(endpoint, credentials) for endpoint in self.hosts.for_pull(name.domain)]
        return Fetcher(name.trimmed(), connections)

    def pusher(self, name: Reference, credentials: Credentials | None = None) -> RepositoryPusher:
        """Writes repository ``name``."""
        return RepositoryPusher(name.trimmed(), self._connect(self.hosts.own(name.domain), credentials))

    async def search(self, term: str, limit: int = 0, credentials: Credentials | None = None) -> list[SearchResult]:
        """Repositories for ``term``, which may begin with a registry's name; see ``search``.

        Raises SearchLimitError, RegistryUnreachableError, RegistryError.
        """
        domain, words = split_term(term)
        endpoint = Endpoint(DOCKER_HUB_SEARCH) if domain == DOCKER_HUB else self.hosts.own(domain)
        try:
            return await search(self._connect(endpoint, credentials), words, limit)
        except TransportError as exc:
            if exc.unreachable:
                raise RegistryUnreachableError(domain, exc) from exc
            raise

    async def login(self, server: str, credentials: Credentials) -> str:
        """Check ``credentials`` against ``server``; the identity token where it gives one, else "".

        Raises LoginError (401), RegistryUnreachableError.
        """
        domain = server.partition("://")[2] or server
        endpoint = self.hosts.own(domain.partition("/")[0])
        connection = self._connect(endpoint, credentials)
        url = f"https://{endpoint.host}/v2/"
        try:
            url = await connection.url("", again=True)
            token = ""
            if not credentials.identity_token:
                token = await self._authorizer.refresh_token(url, credentials, verify=connection.endpoint.verify)
            answer = await connection.call("GET", "", scopes=(), accept=(200, *range(400, 500)))
        except AuthenticationError as exc:
            if exc.answered != 401:  # a token server in trouble: no reason to ask for another password
                raise
            raise LoginError(exc.url, exc.detail) from exc
        except RegistryError as exc:
            if exc.answered == 401:
                raise LoginStatusError(url, 401, responses[401]) from exc
            raise
        except TransportError as exc:
            if exc.unreachable:
                raise RegistryUnreachableError(domain, exc) from exc
            raise
        if answer.status != 200:
            raise LoginStatusError(url, answer.status, responses.get(answer.status, ""))
        return token

    def trust_server(self, url: str, credentials: Credentials | None = None) -> Connection:
        """A server of trust data: always over TLS, and always verified."""
        found = urlsplit(url)
        return self._connect(Endpoint(found.netloc, prefix=found.path.rstrip("/")), credentials)

    def _is_insecure(self, address: str) -> bool:
        return self.hosts.in_insecure_block(address)

    def _connect(self, endpoint: Endpoint, credentials: Credentials | None) -> Connection:
        server = self._servers.get(endpoint)
        if server is None:
            server = Server(endpoint, self._http, self._authorizer, self._is_insecure)
            self._servers[endpoint] = server
        own = self._mirror_credentials.get(endpoint.host) if endpoint.mirror else credentials
        return Connection(server, own, self._retry)
