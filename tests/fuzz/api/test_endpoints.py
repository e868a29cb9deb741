"""Every endpoint with parameters and bodies made from its own types, right and wrong, against a real engine.

Never a 500 for a client's mistake, never silence, and afterwards nothing is left. The same requests in every run.
"""

import http.client
import json
import os
import socket
import types
import typing
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.engines import Engine, wait_for
from tools.reference.endpoints import Endpoint, endpoints

pytestmark = [pytest.mark.root, pytest.mark.slow]

EXAMPLES = 1500
PATIENCE = 60.0
"""Seconds for the first byte of an answer: far more than a busy machine needs."""

WORDS = [
    "",
    "box",
    "busybox",
    "none",
    "net",
    "vol",
    "0",
    "-1",
    "true",
    "a:b",
    "/",
    "..",
    "\0",
    "é",
    "x" * 300,
    "a=b",
    "%",
]
NUMBERS = [0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5]
HOSTS = ["127.0.0.1:1/x", "127.0.0.1:1/x:y", "UPPER", ":", "a@b", "", "\0"]
"""For whatever looks a name up in a registry: nobody outside of this machine is asked."""
FILTERS = ["{}", "[]", "{", '{"label":["a"]}', '{"label":{"a":true}}', '{"until":["x"]}', '{"name":[1]}', '{"x":["y"]}']
OUTSIDE = ("/images/create", "/images/search", "/auth", "/distribution", "/images/{name}/push", "/build")
STREAMS = frozenset(("/events", "/containers/{name}/stats", "/containers/{name}/wait"))
TAKEN_OVER = ("/attach", "/exec/{id}/start", "/ssh/")
ENDLESS = frozenset(("follow", "stream"))
CHANGES_THE_ENGINE = frozenset(("/images/load",))
ENDINGS = ("/kill", "/stop", "/rename", "/restart", "/pause", "/disconnect", "/tag")
NO_NAMES = frozenset(("", "0"))  # the second is how some container's ID begins
KEPT = "kept"
"""A container, an image, a network and a volume that no request takes away."""


def asks_outside(path: str) -> bool:
    return path.startswith(OUTSIDE)


def wrong() -> st.SearchStrategy[Any]:
    return st.sampled_from([None, "", [], {}, 7, -1, True, [None], {"a": None}, "x"])


def values(hint: Any, words: list[str], depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON for a type of a body; every eighth or so is of another type."""
    right = _right(hint, words, depth)
    return st.integers(0, 7).flatmap(lambda n: wrong() if n == 0 else right)


def _right(hint: Any, words: list[str], depth: int) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _right(arguments[0], words, depth)
    if origin in (types.UnionType, typing.Union):
        inner = [one for one in arguments if one is not types.NoneType]
        return _right(inner[0], words, depth)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return body(hint, words, depth + 1) if depth < 4 else st.just({})
    if origin is dict:
        return st.dictionaries(st.sampled_from(words), values(arguments[1], words, depth + 1), max_size=2)
    if origin is tuple:
        return st.lists(values(arguments[0], words, depth + 1), max_size=2)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.sampled_from(words),
        bool: st.booleans(),
        int: st.sampled_from(NUMBERS),
    }
    return simple.get(hint, st.sampled_from(words))


def body(kind: type[msgspec.Struct], words: list[str], depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields of a wire type."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {one.encode_name: values(hints[one.name], words, depth) for one in msgspec.structs.fields(kind)}
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True) if fields else st.just([])
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


def parameter(kind: str, words: list[str]) -> st.SearchStrategy[str]:
    if kind == "filters":
        return st.sampled_from(FILTERS)
    if kind == "boolean":
        return st.sampled_from(["1", "0", "true", "false", "x", ""])
    if kind == "integer":
        return st.sampled_from(["1", "0", "-1", "x", "", "9" * 30, "1.5", "0x1", " 1"])
    return st.sampled_from(
        [*words, "9" * 400, "{}", "[", '["a"]', '{"os":1}', "2026-13-40T00:00:00Z", "9999999999999999h"]
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[Endpoint, str, bytes]:
    """An endpoint, the path and query, and a body."""
    endpoint = draw(st.sampled_from(CHOSEN))
    words = HOSTS if asks_outside(endpoint.path) else WORDS
    path = endpoint.path
    if not (asks_outside(path) or endpoint.method == "DELETE" or path.endswith(ENDINGS)):
        words = [*words, *[KEPT] * 8]
    for variable in ("name", "id", "session", "key"):
        path = path.replace(
            f"{{{variable}}}", quote(draw(st.sampled_from([word for word in words if word not in NO_NAMES])), safe="")
        )
    names = draw(st.lists(st.sampled_from(sorted(endpoint.query)), max_size=4, unique=True)) if endpoint.query else []
    query = [(name, draw(parameter(endpoint.query[name].kind, words))) for name in names if name not in ENDLESS]
    if "remote" in endpoint.query:
        query = [(name, text) for name, text in query if name != "remote"]
    data = b""
    if endpoint.body is not None:
        data = draw(st.one_of(body(endpoint.body, words).map(encoded), st.sampled_from([b"", b"{", b"null", b"[1]"])))
        if endpoint.path == "/containers/create":
            data = draw(body(endpoint.body, words).map(lambda given: encoded({"Image": "busybox", **given})))
    elif endpoint.stream:
        data = draw(st.sampled_from([b"", b"not an archive", b"\x1f\x8b\x08", bytes(1024), os.fsencode("x" * 600)]))
    # Before 1.30 a wait is answered when the container has ended.
    old = "/v1.24" if not path.endswith("/wait") else "/v1.30"
    version = draw(st.sampled_from(["", old, "/v1.41", "/v1.51"]))
    return endpoint, f"{version}{path}" + (f"?{urlencode(query)}" if query else ""), data


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


CHOSEN = [
    one
    for one in endpoints()
    if not one.answer and not any(part in one.path for part in TAKEN_OVER) and one.path not in CHANGES_THE_ENGINE
]


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def send(engine: Engine, endpoint: Endpoint, target: str, data: bytes) -> tuple[int, bytes]:
    connection = Connection(engine.socket)
    try:
        headers = {"Content-Type": "application/json"} if endpoint.body is not None else {}
        connection.request(endpoint.method, target, data, headers)
        answer = connection.getresponse()
        # A stream goes on as long as what it tells of; the headers are the answer.
        endless = endpoint.path in STREAMS and answer.status == 200
        return answer.status, b"" if endless else answer.read(1 << 20)
    finally:
        connection.close()


def prepare(engine: Engine) -> None:
    """What the words name."""
    engine.ok("tag", "busybox", KEPT)
    for name in ("net", KEPT):
        engine.ok("network", "create", name)
    for name in ("vol", KEPT):
        engine.ok("volume", "create", name)
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "10000")
    engine.ok("run", "-d", "--name", KEPT, "--network", KEPT, "-v", f"{KEPT}:/data", "busybox", "sleep", "10000")


def descriptors(engine: Engine) -> int:
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


@pytest.mark.timeout(400)
def test_no_request_breaks_the_engine(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    prepare(engine)
    before, pid = descriptors(engine), engine.pid

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def one(request: tuple[Endpoint, str, bytes]) -> None:
        endpoint, target, data = request
        status, answer = send(engine, endpoint, target, data)
        told = (endpoint.key, target[:300], data[:600], status, answer[:400])
        assert status != 500 or asks_outside(endpoint.path), told
        assert status < 500 or status in {500, 501, 503}, told
        assert b"internal error" not in answer, told
        if status >= 400 and endpoint.method != "HEAD":
            assert set(json.loads(answer)) == {"message"}, told

    one()
    assert engine.pid == pid
    assert engine.field(KEPT, "{{.State.Running}}") == "true"
    assert "unexpected error" not in engine.log.read_text()
    wait_for(lambda: descriptors(engine) <= before + 4, 30, hint="no descriptor stays open")
