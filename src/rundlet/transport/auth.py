"""Registry authentication: challenge → ``Authorization`` header. See: distribution-spec, token authentication.

Rules:

- credentials are sent only where the registry's challenge says (the bearer realm), or to the registry itself (basic);
- a realm must be https, unless the registry itself was reached over plain HTTP, which the caller allowed;
- a token request is never redirected to another origin;
- tokens are kept per registry origin, scopes and credentials, and dropped shortly before they end.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from rundlet.errors import UnauthorizedError
from rundlet.transport.challenges import Challenge, parse
from rundlet.transport.errors import TransportError, printable, retry_after, unparsed
from rundlet.transport.http import HttpClient, Request, Response, origin
from rundlet.util.clock import Clock, SystemClock

CLIENT_ID = "rundlet"
TOKEN_LIMIT = 1 << 20
REFUSAL_LIMIT = 64 << 10
DEFAULT_LIFETIME = 60.0
MARGIN = 10.0

TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
"""What is answered by who may well answer otherwise a little later."""

_CODES = {
    401: ("unauthorized", "authentication required"),
    403: ("denied", "requested access to the resource is denied"),
    429: ("toomanyrequests", "too many requests"),
}

Origin = tuple[str, str, int]


class Credentials(msgspec.Struct, frozen=True):
    """What a user gave for one registry. ``identity_token`` (an OAuth refresh token) wins over the password."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"

    def fingerprint(self) -> str:
        """A key for caches that does not hold the secret."""
        joined = "\0".join((self.username, self.password, self.identity_token, self.registry_token))
        return hashlib.sha256(joined.encode()).hexdigest()


class AuthenticationError(UnauthorizedError):
    """The token server or the registry refused, or nothing acceptable was offered.

    500 as dockerd answers it: the docker CLI takes 401 for a question and asks for a password. ``url`` is of the
    request that could not be made for it, ``answered`` the token server's status and ``wait`` the seconds it asks for.
    """

    status = 500
    reason = "registry-unauthorized"

    def __init__(
        self, url: str, detail: str, method: str = "Get", *, answered: int = 401, wait: float | None = None
    ) -> None:
        super().__init__(f'{method.capitalize()} "{url}": {detail}')
        self.url = url
        self.detail = detail
        self.answered = answered
        self.wait = wait

    @property
    def temporary(self) -> bool:
        return self.answered in TEMPORARY


class _TokenAnswer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: float = 0


class _Token(msgspec.Struct, frozen=True):
    value: str
    until: float
    refresh: str = ""


class _Need(msgspec.Struct, frozen=True):
    """One cached token's key."""

    origin: Origin
    scopes: tuple[str, ...]
    credentials: str


class Authorizer:
    """Remembers each registry's challenges and tokens; used by all connections of the engine."""

    def __init__(self, http: HttpClient, clock: Clock | None = None) -> None:
        self._http = http
        self._clock = clock or SystemClock()
        self._challenges: dict[tuple[Origin, tuple[str, ...]], tuple[Challenge, ...]] = {}
        self._tokens: dict[_Need, _Token] = {}
        self._locks: dict[_Need, asyncio.Lock] = {}

    def learn(self, response: Response, scopes: tuple[str, ...] = ()) -> tuple[Challenge, ...]:
        """Remember what a 401 offers; the challenges, empty when there are none.

        ``scopes``: of the request; what one repository asks for says nothing of another. None: of the whole registry.
        """
        found = tuple(challenges_of(response.headers))
        if found:
            self._challenges[origin(response.url), scopes] = found
        return found

    def asked(self, url: str, scopes: tuple[str, ...]) -> tuple[Challenge, ...]:
        """What the registry at ``url`` is remembered to ask for, of the repositories in ``scopes``."""
        here = origin(url)
        return self._challenges.get((here, scopes)) or self._challenges.get((here, ()), ())

    def forget(self, url: str) -> None:
        """Forget what the registry at ``url`` asked for."""
        here = origin(url)
        for key in [key for key in self._challenges if key[0] == here]:
            del self._challenges[key]

    async def header(
        self, url: str, scopes: tuple[str, ...], credentials: Credentials | None, *, verify: bool, fresh: bool = False
    ) -> str | None:
        """The ``Authorization`` for ``url``, or None when its registry asked for nothing yet, or for what nobody gave.

        ``fresh``: the registry just refused what was sent, a cached token is ignored.

        Raises AuthenticationError, TransportError.
        """
        if credentials is not None and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        challenges = self.asked(url, scopes)
        bearer = next((c for c in challenges if c.scheme == "bearer"), None)
        if bearer is not None:
            return f"Bearer {await self._token(url, bearer, scopes, credentials, verify=verify, fresh=fresh)}"
        if any(c.scheme == "basic" for c in challenges):
            if credentials is not None and (credentials.username or credentials.password):
                return basic(credentials)
            # The registry wants a password; this repository may be for everybody.
            if fresh:
                raise AuthenticationError(url, "no basic auth credentials")
        return None

    async def _token(
        self,
        url: str,
        challenge: Challenge,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
        *,
        verify: bool,
        fresh: bool,
    ) -> str:
        need = _Need(origin(url), scopes, credentials.fingerprint() if credentials else "")
        before = self._tokens.get(need)
        async with self._locks.setdefault(need, asyncio.Lock()):
            token = self._tokens.get(need)
            if token is None or token.until <= self._clock.monotonic() or (fresh and token is before):
                self._prune()
                token = await self._request(url, challenge, scopes, credentials, verify=verify)
                self._tokens[need] = token
            return token.value

    def _prune(self) -> None:
        now = self._clock.monotonic()
        for need in [n for n, token in self._tokens.items() if token.until <= now]:
            del self._tokens[need]
            if need in self._locks and not self._locks[need].locked():
                del self._locks[need]

    async def _request(
        self, url: str, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None, *, verify: bool
    ) -> _Token:
        realm = challenge.parameters.get("realm", "")
        _check_realm(url, realm)
        same_host = origin(realm)[1] == origin(url)[1]
        request = _token_request(realm, challenge.parameters.get("service", ""), scopes, credentials)
        request = msgspec.structs.replace(request, verify=verify or not same_host)
        return self._decode(url, await self._answer(url, request))

    async def _answer(self, url: str, request: Request) -> bytes:
        """The token server's answer. Raises AuthenticationError."""
        async with self._http.send(request) as response:
            if response.status != 200:
                raise _refused(url, response, await response.beginning(REFUSAL_LIMIT))
            return await response.read(TOKEN_LIMIT)

    def _decode(self, url: str, body: bytes) -> _Token:
        try:
            answer = msgspec.json.decode(body, type=_TokenAnswer, strict=False)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
            raise AuthenticationError(url, f"unable to decode token response: {exc}") from exc
        value = answer.token or answer.access_token
        if not value or not value.isprintable() or not value.isascii():
            raise AuthenticationError(url, "authorization server did not include a token in the response")
        lifetime = max(answer.expires_in, DEFAULT_LIFETIME) - MARGIN
        return _Token(value, self._clock.monotonic() + lifetime, answer.refresh_token)

    async def refresh_token(self, url: str, credentials: Credentials, *, verify: bool) -> str:
        """The identity token for a log-in at ``url``, empty where the server has none. Raises AuthenticationError."""
        bearer = next((c for c in self.asked(url, ()) if c.scheme == "bearer"), None)
        if bearer is None:
            return ""
        service = bearer.parameters.get("service", "")
        realm = bearer.parameters.get("realm", "")
        _check_realm(url, realm)
        query = urlencode(
            {"account": credentials.username, "client_id": CLIENT_ID, "offline_token": "true", "service": service}
        )
        request = Request(
            "GET", _with_query(realm, query), authorization=basic(credentials), verify=verify, follow=False
        )
        return self._decode(url, await self._answer(url, request)).refresh


def challenges_of(headers: Mapping[str, str]) -> list[Challenge]:
    """Challenges of every ``WWW-Authenticate`` header."""
    getall = getattr(headers, "getall", None)
    values = getall("WWW-Authenticate", []) if getall else [headers.get("WWW-Authenticate", "")]
    return [challenge for value in values for challenge in parse(value)]


def basic(credentials: Credentials) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def _check_realm(url: str, realm: str) -> None:
    scheme, host, _ = origin(realm) if "://" in realm else ("", "", 0)
    if scheme == "https" and host:
        return
    if scheme == "http" and host and origin(url)[0] == "http":
        return
    raise AuthenticationError(url, f'the registry names "{realm}" as its token server, which is not an https URL')


def _with_query(realm: str, query: str) -> str:
    return f"{realm}{'&' if '?' in realm else '?'}{query}" if query else realm


def _token_request(realm: str, service: str, scopes: tuple[str, ...], credentials: Credentials | None) -> Request:
    """A GET with basic credentials or none, or the OAuth2 POST for an identity token; redirects are not followed."""
    if credentials is not None and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": CLIENT_ID,
            "scope": " ".join(scopes),
            "refresh_token": credentials.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", realm, headers=headers, body=urlencode(form).encode(), follow=False)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    known = credentials is not None and bool(credentials.username)
    if credentials is not None and known:
        query.append(("account", credentials.username))
    return Request(
        "GET",
        _with_query(realm, urlencode(query)),
        authorization=basic(credentials) if credentials is not None and known else None,
        follow=False,
    )


def _refused(url: str, response: Response, body: bytes) -> AuthenticationError:
    wait = retry_after(response.headers) if response.status in TEMPORARY else None
    return AuthenticationError(url, _refusal(response, body), answered=response.status, wait=wait)


def _refusal(response: Response, body: bytes) -> str:
    """The token server's own words, in Docker's form."""

    class Detail(msgspec.Struct):
        code: str = ""
        message: str = ""

    class Refusal(msgspec.Struct):
        details: str = ""
        error_description: str = ""
        errors: list[Detail] = []

    status = response.status
    if 300 <= status < 400:
        return "the token server redirects, which is refused"
    if not 400 <= status < 500:
        return f"received unexpected HTTP status: {status} {printable(response.reason)}".rstrip()
    try:
        refusal = msgspec.json.decode(body, type=Refusal)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        refusal = Refusal()
    first = refusal.errors[0] if refusal.errors else Detail()
    words = printable(first.message or refusal.details or refusal.error_description)
    code, default = _CODES.get(status, ("", ""))
    if first.code:
        code = printable(first.code, 64).lower().replace("_", " ")
    if words or (status != 403 and default):
        return f"{code or 'unauthorized'}: {words or default}"
    return unparsed(status, body)


__all__ = ["AuthenticationError", "Authorizer", "Credentials", "TransportError", "basic", "challenges_of"]
