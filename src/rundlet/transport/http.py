"""The engine's HTTP client: one connection pool, no total time limit, redirects by our own rules.

An ``authorization`` goes to the origin (scheme, host, port) of the request's own URL and nowhere else: a redirect to
another origin drops it. Bodies that are streamed are never decompressed: a blob's digest is over what is on the wire.
A small document, which is read whole, is what it is below a ``Content-Encoding`` that nobody asked for.
"""

import asyncio
import os
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from yarl import URL

from rundlet.errors import InternalError
from rundlet.transport.agents import USER_AGENT, passed_on
from rundlet.transport.errors import TransportError, translate
from rundlet.transport.outside import Outside, OutsideResolver, socket_factory
from rundlet.transport.proxies import Proxies
from rundlet.transport.tls import CERTIFICATE_DIRECTORIES, context_for

MAX_REDIRECTS = 10
CONNECT_TIMEOUT = 15.0
IDLE_TIMEOUT = 60.0
READ_BUFFER = 1 << 20
PIECE = 256 << 10
MAX_HEADER = 32 << 10

Body = bytes | Callable[[], AsyncIterator[bytes]]


class Request(msgspec.Struct, frozen=True):
    """One request. ``verify`` false accepts any certificate; ``idle`` is the longest silence in seconds.

    A streamed ``body`` is a factory, so that a redirect or a retry can start it again; ``length`` is its size.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: Body | None = None
    length: int = 0
    authorization: str | None = None
    verify: bool = True
    idle: float = IDLE_TIMEOUT
    follow: bool = True


class BodyTooLargeError(InternalError):
    """A small document (manifest, token, error) is larger than any honest one."""

    reason = "body-too-large"

    def __init__(self, url: str, limit: int) -> None:
        super().__init__(f'response of "{url}" is larger than {limit} bytes')
        self.url = url
        self.limit = limit


class Response:
    """An answer whose body is still on the wire; valid inside ``async with client.send(…)``."""

    __slots__ = ("_raw", "headers", "method", "status", "url")

    def __init__(self, raw: aiohttp.ClientResponse, method: str, url: str) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.method = method
        self.url = url

    @property
    def reason(self) -> str:
        return self._raw.reason or ""

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLargeError beyond ``limit`` bytes, TransportError when it is cut."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyTooLargeError(self.url, limit)
            parts.append(chunk)
        body = b"".join(parts)
        return self._unzipped(body, limit) if self._zipped and body else body

    async def beginning(self, limit: int) -> bytes:
        """The body's first bytes, for what a server says of a refusal: its page may be of any length."""
        body = b""
        async for chunk in self.chunks():
            body += chunk[: limit - len(body)]
            if len(body) == limit:
                break
        if not self._zipped or not body:
            return body
        try:
            return zlib.decompressobj(wbits=31).decompress(body, limit)
        except zlib.error:
            return body

    @property
    def _zipped(self) -> bool:
        return self.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")

    def _unzipped(self, body: bytes, limit: int) -> bytes:
        decoder = zlib.decompressobj(wbits=31)
        try:
            plain = decoder.decompress(body, limit + 1)
        except zlib.error as exc:
            raise TransportError(self.method, self.url, "protocol", f"gzip: {exc}") from exc
        if len(plain) > limit:
            raise BodyTooLargeError(self.url, limit)
        return plain

    async def unzipped(self) -> AsyncIterator[bytes]:
        """As :meth:`chunks`, of what is below a gzip coding; small pieces, however well it is compressed."""
        decoder = zlib.decompressobj(wbits=31)
        async for chunk in self.chunks():
            rest = chunk
            while rest and not decoder.eof:
                try:
                    yield decoder.decompress(rest, PIECE)
                except zlib.error as exc:
                    raise TransportError(self.method, self.url, "protocol", f"gzip: {exc}") from exc
                rest = decoder.unconsumed_tail
        yield decoder.flush()
        if not decoder.eof:
            raise TransportError(self.method, self.url, "cut", "unexpected EOF")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in pieces of up to about 256 KiB. Raises TransportError when it is cut."""
        content = self._raw.content
        try:
            # As they were read: joining them would hold up the event loop, and take that much memory again.
            while True:
                chunk, _end = await content.readchunk()
                if chunk:
                    yield chunk
                elif content.at_eof():
                    return
        except (aiohttp.ClientError, OSError) as exc:
            raise translate(exc, self.method, self.url) from exc


def origin(url: str | URL) -> tuple[str, str, int]:
    """Scheme, host and port: what a credential belongs to."""
    parsed = URL(url, encoded=True) if isinstance(url, str) else url
    return parsed.scheme, (parsed.host or "").lower(), parsed.port or 0


class HttpClient:
    """Made by the wiring, closed by :meth:`close`. Safe for concurrent use inside one event loop."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        certificate_directories: Sequence[str] = CERTIFICATE_DIRECTORIES,
        connect_timeout: float = CONNECT_TIMEOUT,
        outside: Outside | None = None,
        agent: str = USER_AGENT,
    ) -> None:
        """``outside``: the network to connect through, where it is not this process's own."""
        self._agent = agent
        self._outside = outside
        self._proxies = Proxies.from_environment(os.environ if environment is None else environment)
        self._directories = tuple(certificate_directories)
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def addresses(self, host: str) -> list[str]:
        """What ``host`` resolves to where requests go out; nothing when it does not."""
        try:
            if self._outside is not None:
                found = await asyncio.to_thread(self._outside.resolve, host, int(socket.AF_UNSPEC))
                return [address for address, _family in found]
            loop = asyncio.get_running_loop()
            return [str(one[4][0]) for one in await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            return []

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        """Send, follow redirects, give the answer whatever its status. Raises TransportError."""
        raw, url = await self._exchange(request)
        try:
            yield Response(raw, request.method, url)
        finally:
            # An unread rest is not worth waiting for: the connection goes unless the body was read to its end.
            raw.release() if raw.content.at_eof() else raw.close()

    async def _exchange(self, request: Request) -> tuple[aiohttp.ClientResponse, str]:
        url = URL(request.url, encoded=True)
        try:
            home = origin(url)
        except ValueError as exc:  # a host that is no name in any script
            raise TransportError(request.method, request.url, "unresolved", "dial tcp: no such host") from exc
        method, body = request.method, request.body
        for _ in range(MAX_REDIRECTS + 1):
            authorization = request.authorization if origin(url) == home else None
            raw = await self._once(request, method, url, body, authorization)
            target = _redirect_target(raw, url) if request.follow else None
            if target is None:
                return raw, str(url)
            if raw.status == 303:
                method, body = "GET", None
            raw.close()
            if target.scheme not in ("http", "https") or not target.host:
                raise TransportError(method, str(url), "redirect", f'unsupported redirect to "{target}"')
            url = target
        raise TransportError(method, request.url, "redirect", f"stopped after {MAX_REDIRECTS} redirects")

    async def _once(
        self, request: Request, method: str, url: URL, body: Body | None, authorization: str | None
    ) -> aiohttp.ClientResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": passed_on(self._agent), **request.headers}
        if authorization is not None:
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Length"] = str(len(body) if isinstance(body, bytes) else request.length)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=request.idle)
        try:
            return await self._open().request(
                method,
                url,
                headers=headers,
                data=body() if callable(body) else body,
                allow_redirects=False,
                timeout=timeout,
                proxy=self._proxies.choose(url),
                ssl=await self._trust(url, request.verify),
            )
        except (aiohttp.ClientError, OSError) as exc:
            raise translate(exc, method, str(url)) from exc

    async def _trust(self, url: URL, verify: bool) -> ssl.SSLContext | bool:
        if url.scheme != "https":
            return True
        host = (url.host or "") if url.is_default_port() else f"{url.host}:{url.port}"
        key = (host, verify)
        if key not in self._contexts:
            self._contexts[key] = await asyncio.to_thread(context_for, host, verify, self._directories)
        return self._contexts[key]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                connector=_connector(self._outside),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_field_size=MAX_HEADER,
                max_line_size=MAX_HEADER,
                read_bufsize=READ_BUFFER,
                trust_env=False,
            )
        return self._session


def _connector(outside: Outside | None) -> aiohttp.TCPConnector:
    if outside is None:
        return aiohttp.TCPConnector(limit=0)
    return aiohttp.TCPConnector(
        limit=0, resolver=OutsideResolver(outside), socket_factory=socket_factory(outside), happy_eyeballs_delay=None
    )


def _redirect_target(raw: aiohttp.ClientResponse, url: URL) -> URL | None:
    if raw.status not in (301, 302, 303, 307, 308):
        return None
    location = raw.headers.get("Location")
    if not location:
        return None
    # Signed URLs must be asked for byte by byte as they were given: encoded=True keeps yarl from quoting anew.
    try:
        target = url.join(URL(location, encoded=True))
        origin(target)  # Raises ValueError for a host that can be no name.
        return target
    except ValueError as exc:
        raw.close()
        raise TransportError(raw.method, str(url), "redirect", f'bad redirect "{location}"') from exc
