"""Records of builds: filters, what is kept and what goes."""

import hashlib
from pathlib import Path

import pytest

from rundlet.api.buildkit import BuildRecord, Status, StatusResponse, Vertex, VertexLog
from rundlet.api.protobuf import Timestamp
from rundlet.engine.buildkit import historyfilters, records
from rundlet.engine.buildkit.history import History
from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest

_HOUR = 3600
_NS = 10**9


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * _NS

    def now_ns(self) -> int:
        self.now += _NS
        return self.now

    def monotonic(self) -> float:
        return self.now / _NS


def record(**fields: object) -> BuildRecord:
    return BuildRecord("abc", created=Timestamp(1_700_000_000), **fields)  # type: ignore[arg-type]


DONE = record(completed=Timestamp(1_700_000_010), attributes={"context": "https://host/x.git#main"})
FAILED = record(completed=Timestamp(1_700_000_100), error=Status(2, "no"))
CANCELLED = record(completed=Timestamp(1_700_000_100), error=Status(1, "context canceled"))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), [DONE, FAILED, CANCELLED, record()]),
        (("status==completed",), [DONE]),
        (("status!=completed",), [FAILED, CANCELLED, record()]),
        (("status==error", "status==canceled"), [FAILED, CANCELLED]),
        (("status==running,ref~=b",), [record()]),
        (("ref~=x",), []),
        (("repository==https://host/x.git",), [DONE]),
        (("duration>=1m",), [FAILED, CANCELLED]),
        (("duration<=10s",), [DONE]),
        (("completedAt>2023-11-14T22:14:00Z",), [FAILED, CANCELLED]),
        (("startedAt<1h",), [DONE, FAILED, CANCELLED, record()]),
        (("startedAt>1h",), []),
    ],
)
def test_filters(filters: tuple[str, ...], found: list[BuildRecord]) -> None:
    matches = historyfilters.parse(filters)
    assert [one for one in (DONE, FAILED, CANCELLED, record()) if matches(one)] == found


@pytest.mark.parametrize("text", ["status", "colour==red", "status<1", "duration>much", "startedAt>yesterday"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        historyfilters.parse((text,))


def build(history: History, ref: str) -> BuildRecord:
    recorder = history.begin(BuildRecord(ref))
    history.end(recorder, recorder.record)
    return recorder.record


def test_the_last_fifty_and_the_pinned_stay(tmp_path: Path) -> None:
    clock = Clock()
    history = History(str(tmp_path), clock)
    for number in range(3):
        build(history, f"pinned{number}")
        history.pin(f"pinned{number}", True)
    for number in range(60):
        build(history, f"b{number}")
    kept = records.load(str(tmp_path))
    assert set(kept) == {f"pinned{n}" for n in range(3)} | {f"b{n}" for n in range(10, 60)}
    clock.now += 49 * _HOUR * _NS
    build(history, "last")
    assert set(records.load(str(tmp_path))) == {"pinned0", "pinned1", "pinned2", "last"}


def test_what_was_said(tmp_path: Path) -> None:
    history = History(str(tmp_path), Clock())
    recorder = history.begin(BuildRecord("x"))
    now = Timestamp(1)
    recorder.write(StatusResponse(vertexes=(Vertex("a", started=now), Vertex("b", cached=True, completed=now))))
    many = StatusResponse(logs=(VertexLog("a", data=b"x" * (1 << 20)),))
    for _ in range(5):
        recorder.write(many)
    assert len(list(recorder.said())) == 3, "no more than so much of one step"
    recorder.write(StatusResponse(vertexes=(Vertex("a", completed=now, error="no"),)))
    history.end(recorder, recorder.record)
    [kept] = records.load(str(tmp_path)).values()
    assert (kept.total_steps, kept.completed_steps, kept.cached_steps) == (2, 1, 1)
    assert len(list(history.said("x") or ())) == 4
    assert kept.logs is not None
    log = Path(history.blob(Digest.parse(kept.logs.digest))).read_bytes()
    assert (f"sha256:{hashlib.sha256(log).hexdigest()}", len(log)) == (kept.logs.digest, kept.logs.size)
    assert history.said("y") is None


def test_what_a_killed_engine_left(tmp_path: Path) -> None:
    history = History(str(tmp_path), Clock())
    whole = build(history, "whole")
    half = tmp_path / "half"
    (half / "blobs").mkdir(parents=True)
    (half / "status").write_bytes(b"\x09")
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish/record").write_bytes(b"\xff\xff")
    assert records.load(str(tmp_path)) == {"whole": whole}
    assert len(list(tmp_path.iterdir())) == 1
