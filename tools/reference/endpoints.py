"""What the route table says: every endpoint, and what its handler reads of a request.

The parameters are found in the handlers' own source: a handler reads a request through a ``Call`` only, so each
``call.flag("all")`` below it, however deep, is a parameter of the endpoint.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import msgspec

from rundlet.server.app import all_routes
from rundlet.server.call import Call
from rundlet.server.routers import refusal
from rundlet.server.routers.swarm import router as swarm
from rundlet.server.routing import Route

READERS = {"text": "string", "texts": "list", "flag": "boolean", "integer": "integer"}
OUTSIDE_SWARM = frozenset({swarm._not_manager, swarm._not_part})


@dataclass(frozen=True, slots=True)
class Parameter:
    """``since``: the API version from which on it is read, empty for all. ``values``: the filters that there are."""

    name: str
    kind: str
    since: str = ""
    values: tuple[str, ...] = ()


@dataclass(slots=True)
class Endpoint:
    """One route. ``body`` is a wire type, or None; ``stream`` says that the body is an archive or a connection."""

    method: str
    path: str
    answer: str = ""
    query: dict[str, Parameter] = field(default_factory=dict)
    headers: set[str] = field(default_factory=set)
    body: type[msgspec.Struct] | None = None
    stream: bool = False

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Every route, by path."""
    found = [_endpoint(route) for route in all_routes(MagicMock())]
    return tuple(sorted(found, key=lambda endpoint: (endpoint.path, endpoint.method)))


def _endpoint(route: Route) -> Endpoint:
    endpoint = Endpoint(route.method, route.pattern)
    handler: Any = route.handler
    if handler.__module__ == refusal.__name__:
        (what,) = (cell.cell_contents for cell in handler.__closure__)
        endpoint.answer = f"501: {what} is not supported by Rundlet"
    elif handler in OUTSIDE_SWARM:
        endpoint.answer = "503: as an engine outside of a swarm"
    _Reading(endpoint).function(getattr(handler, "__func__", handler))
    return endpoint


class _Reading:
    """Walks through a handler and whatever of our own it hands the call to."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.seen: set[object] = set()

    def function(self, function: Callable[..., Any], key: str = "", since: str = "") -> None:
        """``key``: the parameter's name that this function was called with, if it was."""
        if (function, key) in self.seen:
            return
        self.seen.add((function, key))
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        module = inspect.getmodule(function)
        assert module is not None
        given = key or _default_key(function)
        for node, version in _with_versions(tree, since):
            if isinstance(node, ast.Call):
                self._call(module, node, version, given)

    def _call(self, module: ModuleType, node: ast.Call, since: str, given: str) -> None:
        words = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "call":
                self._read(module, node, words or [given], since)
            elif isinstance(node.func.value, ast.Name):
                self._follow(getattr(module, node.func.value.id, None), node.func.attr, "")
            return
        if isinstance(node.func, ast.Name):
            called = getattr(module, node.func.id, None)
            if inspect.isclass(called) and called.__module__.startswith("rundlet.server"):
                self._class(called)
            elif inspect.isfunction(called) and called.__module__.startswith("rundlet.server"):
                self.function(called, words[0] if words else "", since)

    def _follow(self, owner: object, name: str, key: str) -> None:
        called = getattr(owner, name, None) if inspect.ismodule(owner) else None
        if inspect.isfunction(called) and called.__module__.startswith("rundlet.server"):
            self.function(called, key)

    def _class(self, called: type) -> None:
        """Whoever takes the connection over reads what it needs of the call, too."""
        for function in vars(called).values():
            if inspect.isfunction(function) and "call" in inspect.getsource(function):
                self.function(function)

    def _read(self, module: ModuleType, node: ast.Call, words: list[str], since: str) -> None:
        assert isinstance(node.func, ast.Attribute)
        verb = node.func.attr
        if verb in READERS and words[0]:
            known = self.endpoint.query.get(words[0])
            if known is None or (known.since and not since):
                self.endpoint.query[words[0]] = Parameter(words[0], READERS[verb], since)
        elif verb == "filters":
            values = getattr(getattr(module, "filters", None), ast.unparse(node.args[0]).rpartition(".")[2])
            self.endpoint.query["filters"] = Parameter("filters", "filters", since, tuple(sorted(values)))
        elif verb in ("header", "auth"):
            self.endpoint.headers.add("X-Registry-Auth" if verb == "auth" else words[0])
        elif verb in ("json", "optional_json"):
            self.endpoint.body = getattr(module, ast.unparse(node.args[0]))
        elif verb == "body":
            self.endpoint.stream = True
        elif hasattr(Call, verb):
            self.function(getattr(Call, verb))


def _default_key(function: Callable[..., Any]) -> str:
    parameter = inspect.signature(function).parameters.get("key")
    return parameter.default if parameter is not None and isinstance(parameter.default, str) else ""


_SINCE = re.compile(r"call\.version >= (?:APIVersion)?\((\d+), (\d+)\)")


def _with_versions(tree: ast.AST, since: str = "") -> Iterator[tuple[ast.AST, str]]:
    """All nodes, each with the version that a condition around it asks for."""
    for node in ast.iter_child_nodes(tree):
        inner = since
        if isinstance(node, ast.IfExp | ast.BoolOp):
            test = node.test if isinstance(node, ast.IfExp) else node.values[0]
            if found := _SINCE.search(ast.unparse(test)):
                inner = f"{found[1]}.{found[2]}"
        yield node, inner
        yield from _with_versions(node, inner)
