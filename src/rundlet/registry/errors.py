"""What a registry answers instead of the thing asked for, in the words and with the statuses of Docker.

A registry's own words are shown, but shortened and without control characters: they end up on terminals.
"""

from collections.abc import Mapping

import msgspec

from rundlet.errors import InternalError, NotFoundError, RundletError
from rundlet.oci.reference import Reference
from rundlet.transport.auth import TEMPORARY, AuthenticationError, challenges_of
from rundlet.transport.errors import TransportError, printable, retry_after, unparsed

_DEFAULT_MESSAGES = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "UNAVAILABLE": "service unavailable",
    "UNSUPPORTED": "The operation is unsupported.",
}


class RegistryError(InternalError):
    """The registry answered with an error.

    ``code`` is its own (``MANIFEST_UNKNOWN``), ``answered`` its HTTP status, ``wait`` the seconds that it asks for.
    """

    reason = "registry"

    def __init__(self, code: str, words: str, answered: int, wait: float | None = None) -> None:
        super().__init__(f"{code.lower().replace('_', ' ')}: {words}" if code else words)
        self.code = code
        self.words = words
        self.answered = answered
        self.wait = wait

    @property
    def temporary(self) -> bool:
        return self.answered in TEMPORARY


class RateLimitError(RegistryError):
    """Too many requests. ``limit`` and ``remaining`` are its headers as sent."""

    reason = "rate-limit"

    def __init__(self, words: str, limit: str | None, remaining: str | None, wait: float | None) -> None:
        known = [
            f"limit {_pulls(limit)}" if limit else "",
            f"remaining {_pulls(remaining)}" if remaining else "",
            f"try again in {wait:.0f} s" if wait else "",
        ]
        shown = ", ".join(part for part in known if part)
        super().__init__("TOOMANYREQUESTS", f"{words} ({shown})" if shown else words, 429, wait)
        self.limit = limit
        self.remaining = remaining


class RegistryUnreachableError(InternalError):
    """No server of the registry could be talked to; what needs no registry (import, load) still works."""

    reason = "registry-unreachable"

    def __init__(self, registry: str, cause: TransportError) -> None:
        super().__init__(cause.message)
        self.registry = registry
        self.kind = cause.kind


class PullAccessDeniedError(NotFoundError):
    reason = "pull-access-denied"

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
        )
        self.name = name


class ManifestUnknownError(NotFoundError):
    reason = "manifest-unknown"

    def __init__(self, reference: str, cause: str) -> None:
        super().__init__(f"manifest for {reference} not found: {cause}")
        self.reference = reference


class RepositoryUnknownError(NotFoundError):
    reason = "repository-unknown"

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"repository {name} not found: {cause}")
        self.name = name


class LoginError(AuthenticationError):
    """The registry does not take these credentials (401: the docker CLI asks again)."""

    status = 401
    reason = "login-refused"


class LoginStatusError(LoginError):
    """The registry itself, no token server, refused."""

    def __init__(self, url: str, status: int, phrase: str) -> None:
        super().__init__(url, f"{status} {phrase}")
        self.message = f"login attempt to {url} failed with status: {status} {phrase}"


class PushUnauthorizedError(AuthenticationError):
    """A push says what is wrong and not, of its many requests, with which."""

    def __init__(self, refusal: AuthenticationError) -> None:
        super().__init__(refusal.url, refusal.detail)
        self.message = refusal.detail


class BadAnswerError(InternalError):
    """The registry's answer breaks the protocol."""

    reason = "bad-registry-answer"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f'registry gave a wrong answer to "{url}": {why}')
        self.url = url


class _Detail(msgspec.Struct):
    code: str = ""
    message: str | None = None


class _Answer(msgspec.Struct):
    errors: list[_Detail] = []
    details: str | None = None


def from_answer(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> RegistryError:
    """The error that a response of ``status`` ≥ 400 stands for."""
    if status == 401:
        for challenge in challenges_of(headers):
            code = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}.get(
                challenge.parameters.get("error", "")
            )
            if challenge.scheme == "bearer" and code:
                words = challenge.parameters.get("error_description") or _DEFAULT_MESSAGES[code]
                return RegistryError(code, printable(words), status)
    code, words = _own_words(status, body)
    if status == 429:
        return RateLimitError(
            words or _DEFAULT_MESSAGES["TOOMANYREQUESTS"],
            headers.get("RateLimit-Limit"),
            headers.get("RateLimit-Remaining"),
            retry_after(headers),
        )
    wait = retry_after(headers) if status in TEMPORARY else None
    if code:
        return RegistryError(code, words or _DEFAULT_MESSAGES.get(code, "unknown error"), status, wait)
    if status == 401:
        return RegistryError("UNAUTHORIZED", words or _DEFAULT_MESSAGES["UNAUTHORIZED"], status)
    if 400 <= status < 500 and body:
        return RegistryError("", unparsed(status, body), status)
    return RegistryError("", f"received unexpected HTTP status: {status} {printable(reason)}".rstrip(), status, wait)


def _own_words(status: int, body: bytes) -> tuple[str, str]:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return "", ""
    if answer.errors:
        first = answer.errors[0]
        return printable(first.code, 64), printable(first.message or "")
    return "", printable(answer.details or "") if status in (401, 403, 429) else ""


def for_pull(exc: RundletError, reference: Reference, registry: str) -> RundletError:
    """``exc`` as a pull of ``reference`` reports it."""
    if isinstance(exc, TransportError) and exc.unreachable:
        return RegistryUnreachableError(registry, exc)
    if not isinstance(exc, RegistryError):
        return exc
    if exc.code == "DENIED":
        return PullAccessDeniedError(reference.familiar_name, exc.message)
    if exc.code == "NAME_UNKNOWN":
        return RepositoryUnknownError(reference.familiar_name, exc.message)
    if exc.code == "MANIFEST_UNKNOWN" or (exc.answered == 404 and exc.code != "BLOB_UNKNOWN"):
        cause = exc.message if exc.code else "manifest unknown: manifest unknown"
        return ManifestUnknownError(reference.familiar, cause)
    return exc


def for_push(exc: RundletError, registry: str) -> RundletError:
    """``exc`` as a push reports it."""
    if isinstance(exc, TransportError) and exc.unreachable:
        return RegistryUnreachableError(registry, exc)
    if isinstance(exc, AuthenticationError):
        return PushUnauthorizedError(exc)
    return exc


def _pulls(value: str | None) -> str:
    """``100;w=21600`` as ``100 per 21600 s``."""
    number, _, window = printable(value or "", 64).partition(";w=")
    return f"{number} per {window} s" if window else number
