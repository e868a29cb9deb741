"""Searching: Docker Hub's ``/v1/search``, which other registries have too; ``/v2/_catalog`` where they don't."""

from urllib.parse import urlencode

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.registry.connection import Connection
from rundlet.registry.errors import BadAnswerError, RegistryError
from rundlet.registry.pages import next_page
from rundlet.transport.errors import printable

DEFAULT_LIMIT = 25
MOST = 100
ANSWER_LIMIT = 8 << 20
CATALOG_PAGES = 100
CATALOG_SCOPE = ("registry:catalog:*",)


class SearchResult(msgspec.Struct, frozen=True):
    """One repository. Text from outside: one line, without control characters."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class SearchLimitError(InvalidParameterError):
    reason = "search-limit"

    def __init__(self, limit: int) -> None:
        super().__init__(f"Limit {limit} is outside the range of [1, {MOST}]")


class _Answer(msgspec.Struct):
    results: list[SearchResult] | None = None


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


def split_term(term: str) -> tuple[str, str]:
    """The registry's domain and what to look for there. Raises InvalidParameterError for a URL."""
    if "://" in term:
        raise InvalidParameterError("invalid repository name: repository name should not contain a scheme (http://)")
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ("docker.io", rest) if first in ("docker.io", "index.docker.io") else (first, rest)
    return "docker.io", term


async def search(connection: Connection, term: str, limit: int) -> list[SearchResult]:
    """Up to ``limit`` repositories for ``term`` (0: 25). Raises SearchLimitError and the errors of ``errors``."""
    limit = limit or DEFAULT_LIMIT
    if not 1 <= limit <= MOST:
        raise SearchLimitError(limit)
    base = (await connection.url("")).removesuffix("/v2/")
    url = f"{base}/v1/search?{urlencode({'q': term, 'n': limit})}"
    try:
        answer = await connection.call("GET", url, scopes=CATALOG_SCOPE, limit=ANSWER_LIMIT)
    except RegistryError as exc:
        if exc.answered not in (404, 405, 400):
            raise
        return await _catalog(connection, term, limit)
    try:
        results = msgspec.json.decode(answer.body, type=_Answer).results or []
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise BadAnswerError(answer.url, f"not a search result: {exc}") from exc
    return [_clean(result) for result in results[:limit]]


async def _catalog(connection: Connection, term: str, limit: int) -> list[SearchResult]:
    """Repositories whose name holds ``term``, in the registry's order."""
    found: list[SearchResult] = []
    path = "_catalog?n=1000"
    for _ in range(CATALOG_PAGES):
        answer = await connection.call("GET", path, scopes=CATALOG_SCOPE, limit=ANSWER_LIMIT)
        try:
            names = msgspec.json.decode(answer.body, type=_Catalog).repositories or []
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
            raise BadAnswerError(answer.url, f"not a catalog: {exc}") from exc
        found += [SearchResult(printable(name, 300)) for name in names if term.lower() in name.lower()]
        following = next_page(answer.url, answer.headers)
        if following is None or len(found) >= limit:
            break
        path = following
    return found[:limit]


def _clean(result: SearchResult) -> SearchResult:
    return msgspec.structs.replace(result, name=printable(result.name, 300), description=printable(result.description))
