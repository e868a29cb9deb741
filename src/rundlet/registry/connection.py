"""One repository on one server: finds the scheme, authenticates, repeats what failed for a moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from rundlet.errors import RundletError
from rundlet.registry.errors import from_answer
from rundlet.registry.hosts import Endpoint
from rundlet.registry.retry import Retry
from rundlet.transport.auth import AuthenticationError, Authorizer, Credentials
from rundlet.transport.errors import TransportError
from rundlet.transport.http import IDLE_TIMEOUT, Body, HttpClient, Request, Response, origin

ERROR_LIMIT = 64 << 10
HASTY_IDLE = 15.0
"""Seconds of silence after which a mirror's document is asked for elsewhere. A layer has longer: a cache may have to
fetch it first."""
RESOLVED = 60.0
"""Seconds for which it is believed that a name stands for an insecure address."""


class Answer(msgspec.Struct, frozen=True):
    """A response that was small enough to be read whole."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    url: str


class Server:
    """What is known of an endpoint between requests: its scheme. Shared by all its connections.

    ``is_insecure`` is asked about the addresses of a name that does not answer as a registry should.
    """

    def __init__(
        self, endpoint: Endpoint, http: HttpClient, authorizer: Authorizer, is_insecure: Callable[[str], bool]
    ) -> None:
        self.endpoint = endpoint
        self.http = http
        self.authorizer = authorizer
        self._configured = endpoint
        self._is_insecure = is_insecure
        self._until = 0.0
        self._base: str | None = None
        self._lock = asyncio.Lock()

    @property
    def known(self) -> bool:
        return self._base is not None

    def forget(self) -> None:
        self._base = None
        self.endpoint = self._configured

    async def base(self) -> str:
        """``scheme://host/prefix``, found by asking for ``/v2/``. Raises TransportError when no scheme answers."""
        async with self._lock:
            if self.endpoint is not self._configured and asyncio.get_running_loop().time() > self._until:
                self.forget()
            if self._base is None:
                self._base = await self._find()
            return self._base

    async def ask_again(self) -> None:
        """What it asks for may have changed since: another token server, a password, nothing. Raises TransportError."""
        self.authorizer.forget(await self.base())
        self.forget()
        await self.base()

    async def _find(self) -> str:
        try:
            return await self._probe()
        except TransportError:
            if not await self._resolves_to_insecure():
                raise
        # For a while only: what the name stands for may change, and then it must be verified again.
        self._until = asyncio.get_running_loop().time() + RESOLVED
        self.endpoint = msgspec.structs.replace(self._configured, schemes=("https", "http"), verify=False)
        try:
            return await self._probe()
        except TransportError:
            self.endpoint = self._configured
            raise

    async def _resolves_to_insecure(self) -> bool:
        if self.endpoint.mirror or not self.endpoint.verify:
            return False
        name = urlsplit(f"//{self.endpoint.host}").hostname or ""
        return any(self._is_insecure(address) for address in await self.http.addresses(name))

    async def _probe(self) -> str:
        failure: TransportError | None = None
        for number, scheme in enumerate(self.endpoint.schemes, 1):
            base = f"{scheme}://{self.endpoint.host}{self.endpoint.prefix}"
            idle = HASTY_IDLE if self.endpoint.mirror else IDLE_TIMEOUT
            request = Request("GET", f"{base}/v2/", verify=self.endpoint.verify, idle=idle)
            try:
                async with self.http.send(request) as response:
                    await response.beginning(ERROR_LIMIT)
                    if response.status == 401:
                        self.authorizer.learn(response)
                    # A TLS server answers 400 to plain HTTP.
                    if response.status == 400 and number < len(self.endpoint.schemes):
                        continue
                    return base
            except TransportError as exc:
                if failure is None or scheme == "http":
                    failure = exc
        assert failure is not None
        raise failure


class Connection:
    """Requests to one server on behalf of one user. Paths begin after ``/v2/``."""

    def __init__(self, server: Server, credentials: Credentials | None, retry: Retry, *, hasty: bool = False) -> None:
        self._server = server
        self._credentials = credentials
        self._hasty = hasty
        self.retry = retry

    def in_haste(self) -> "Connection":
        """The same where another server follows: what does not come soon is asked for there."""
        return Connection(self._server, self._credentials, self.retry.in_haste(), hasty=True)

    @property
    def endpoint(self) -> Endpoint:
        return self._server.endpoint

    async def url(self, path: str, *, again: bool = False) -> str:
        """``again``: what is remembered of the server is asked for anew."""
        if again and self._server.known:
            await self._server.ask_again()
        return f"{await self._server.base()}/v2/{path}"

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int = 0,
        idle: float = IDLE_TIMEOUT,
    ) -> AsyncIterator[Response]:
        """One request, repeated only to authenticate. ``path`` may be a whole URL (an upload's location).

        The answer may have any status but 401. Raises TransportError, AuthenticationError, RegistryError.
        """
        home = await self.url("")
        url = path if "://" in path else home + path
        at_home = origin(url) == origin(home)
        for fresh in (False, True):
            # An upload's location or a redirect elsewhere gets no credentials, whatever it asks for.
            authorization = await self._authorization(method, url, scopes, fresh=fresh) if at_home else None
            request = Request(
                method,
                url,
                headers=headers or {},
                body=body,
                length=length,
                authorization=authorization,
                verify=self.endpoint.verify,
                idle=idle,
            )
            async with self._server.http.send(request) as response:
                if response.status != 401:
                    yield response
                    return
                content = await response.beginning(ERROR_LIMIT)
                stayed = at_home and origin(response.url) == origin(home)
                if fresh or not stayed or not self._server.authorizer.learn(response, scopes):
                    raise from_answer(401, response.reason, response.headers, content)

    async def _authorization(
        self, method: str, url: str, scopes: tuple[str, ...], *, fresh: bool, remembered: bool = True
    ) -> str | None:
        """Raises TransportError, AuthenticationError about the request that can't be made."""
        authorizer = self._server.authorizer
        before = authorizer.asked(url, scopes)
        try:
            return await authorizer.header(url, scopes, self._credentials, verify=self.endpoint.verify, fresh=fresh)
        except (AuthenticationError, TransportError) as exc:
            # Docker asks before each pull where tokens are to be had; here it is remembered, and may be old.
            if remembered and not fresh:
                await self._server.ask_again()
                if authorizer.asked(url, scopes) != before:
                    return await self._authorization(method, url, scopes, fresh=False, remembered=False)
            if isinstance(exc, TransportError) or exc.url != url:
                raise
            raise AuthenticationError(url, exc.detail, method, answered=exc.answered, wait=exc.wait) from exc

    async def call(
        self,
        method: str,
        path: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = ERROR_LIMIT,
        accept: tuple[int, ...] = (200,),
        idle: float | None = None,
        repeat: bool = True,
    ) -> Answer:
        """A request with a small answer, tried again (``repeat``) when it fails for a moment.

        Raises RegistryError for a status that is not in ``accept``, else what :meth:`stream` raises.
        """
        failures = 0
        idle = idle or (HASTY_IDLE if self._hasty else IDLE_TIMEOUT)
        while True:
            try:
                async with self.stream(method, path, scopes=scopes, headers=headers, body=body, idle=idle) as response:
                    good = response.status in accept and response.status < 400
                    content = await (response.read(limit) if good else response.beginning(ERROR_LIMIT))
                    answer = Answer(response.status, response.reason, response.headers, content, response.url)
                if answer.status not in accept:
                    raise from_answer(answer.status, answer.reason, answer.headers, answer.body)
                return answer
            except RundletError as exc:
                failures += 1
                if isinstance(exc, TransportError) and exc.unreachable:
                    if self._hasty or not self._server.known:
                        raise
                    # It answered before. Finding it again either works or fails with the words for "not there".
                    self._server.forget()
                    await self._server.base()
                pause = self.retry.pause(exc, failures) if repeat else None
                if pause is None:
                    raise
                await self.retry.wait(pause)
