"""What of a further context is sent."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rundlet.cli.building.lending import Lending
from rundlet.client.errors import ApiError
from rundlet.client.session import Session


class Engine:
    """Wants the entries at ``wanted`` of what is announced (None: all of it); an ``old`` one knows no such thing."""

    def __init__(self, wanted: list[int] | None, *, old: bool = False) -> None:
        self._wanted = wanted
        self._old = old
        self.announced: list[tuple[str, list[str]]] = []
        self.sent: list[tuple[str, dict[str, Any], list[str]]] = []

    def request(
        self, _method: str, path: str, *, stream: Iterable[bytes], query: dict[str, Any] | None = None, **_more: Any
    ) -> Any:
        body = b"".join(stream)
        if path.startswith("/rundlet/contexts/"):
            if self._old:
                raise ApiError(404, "page not found")
            self.announced.append((path, [entry[0] for entry in json.loads(body)["Entries"]]))
            answer = {"Token": "token", "Wanted": self._wanted}
            return SimpleNamespace(json=lambda: answer, connection=None)
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            self.sent.append((path.rpartition("/")[2], query or {}, archive.getnames()))
        return SimpleNamespace(read=lambda: b"", connection=None)

    def release(self, _connection: object) -> None:
        pass


@pytest.fixture
def large(tmp_path: Path) -> Path:
    for number in range(300):
        (tmp_path / f"f{number}").write_text("x")
    return tmp_path


def lent(engine: Engine, *words: str) -> None:
    Lending(cast(Session, engine)).contexts(words)


def test_of_a_large_one_what_the_engine_wants(large: Path) -> None:
    engine = Engine([2])
    lent(engine, f"more={large}", f"again={large}")
    (first, names), (second, _) = engine.announced
    assert len(names) == 300
    # Each use of it is kept by itself, and none in the place of the build's own context.
    assert first != second
    assert engine.sent == [(name, {"context": "token"}, [names[2]]) for name in ("more", "again")]


def test_all_of_it_where_the_engine_has_nothing(large: Path) -> None:
    engine = Engine(None)
    lent(engine, f"more={large}")
    assert [(query, len(names)) for _, query, names in engine.sent] == [({"context": "token"}, 300)]
    engine = Engine(None, old=True)
    lent(engine, f"more={large}")
    assert [(query, len(names)) for _, query, names in engine.sent] == [({}, 300)]


def test_a_small_one_is_not_asked_about(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    engine = Engine([])
    lent(engine, f"more={tmp_path}")
    assert (engine.announced, engine.sent) == ([], [("more", {}, ["f"])])
