"""Paths to handlers."""

import pytest
from aiohttp import web

from rundlet.server.call import Call
from rundlet.server.routing import Route, RouteTable


async def handler(call: Call) -> web.StreamResponse:
    raise NotImplementedError


TABLE = RouteTable(
    Route(method, pattern, handler)
    for method, pattern in [
        ("GET", "/_ping"),
        ("GET", "/containers/json"),
        ("GET", "/containers/{name}/json"),
        ("POST", "/containers/{name}/exec"),
        ("GET", "/images/get"),
        ("GET", "/images/{name}/get"),
        ("DELETE", "/images/{name}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "pattern", "version", "variables"),
    [
        ("GET", "/_ping", "/_ping", "", {}),
        ("GET", "/v1.41/_ping", "/_ping", "1.41", {}),
        ("GET", "/containers/json", "/containers/json", "", {}),
        ("GET", "/v1.51/containers/json/json", "/containers/{name}/json", "1.51", {"name": "json"}),
        ("GET", "/images/a.b:5000/c/d/get", "/images/{name}/get", "", {"name": "a.b:5000/c/d"}),
        ("DELETE", "/images/library/debian:12", "/images/{name}", "", {"name": "library/debian:12"}),
    ],
)
def test_matches(method: str, path: str, pattern: str, version: str, variables: dict[str, str]) -> None:
    match = TABLE.match(method, path)
    assert match is not None
    assert (match.route.pattern, match.version, match.variables) == (pattern, version, variables)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ping"),
        ("GET", "/nonsense"),
        ("GET", "/v1.41"),
        ("GET", "/vx/_ping"),
        ("GET", "/"),
        ("GET", "/containers//json"),
        ("GET", "/containers/a/nonsense"),
        ("OPTIONS", "*"),
    ],
)
def test_no_match(method: str, path: str) -> None:
    assert TABLE.match(method, path) is None
