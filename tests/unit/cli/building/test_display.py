"""What a build says while it runs and when it fails."""

import base64
import io
from typing import Any

import pytest

from rundlet.cli.building.display import PlainDisplay, QuietDisplay, RawDisplay, choose_display
from rundlet.cli.building.excerpt import excerpt
from rundlet.cli.building.failure import build_error, check_report, line_in, warnings_text
from rundlet.cli.building.live import LiveDisplay
from rundlet.cli.building.sources import Source
from rundlet.cli.exit import CommandError

FILE = "FROM a\nRUN b\nRUN c\nRUN d\nRUN e\n"


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:012.9f}Z"


def vertex(digest: str, started: float = 0, completed: float = 0, **more: Any) -> dict[str, Any]:
    times = {name: at(second) for name, second in (("started", started), ("completed", completed)) if second}
    return {"vertexes": [{"digest": digest, "name": f"[1/2] {digest}", **times, **more}]}


def log(digest: str, text: str) -> dict[str, Any]:
    return {"logs": [{"vertex": digest, "stream": 1, "data": base64.b64encode(text.encode()).decode()}]}


def status(digest: str, current: int, *, completed: bool = False) -> dict[str, Any]:
    done = {"completed": at(3)} if completed else {}
    return {"statuses": [{"id": "x", "vertex": digest, "name": "pulling", "current": current, "total": 2000, **done}]}


def without_times(text: str) -> list[str]:
    words = [line.split(" ") for line in text.splitlines()]
    return [
        " ".join("T" if part.replace(".", "").isdigit() and "." in part else part for part in line) for line in words
    ]


def plain(*messages: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    display = PlainDisplay(out)
    for message in messages:
        display.update(message)
    display.finish()
    return without_times(out.getvalue())


def test_plain() -> None:
    assert plain(
        vertex("RUN a"),
        vertex("RUN a", 1),
        log("RUN a", "one\ntw"),
        log("RUN a", "o\nrest"),
        vertex("RUN a", 1, 3.5),
        vertex("RUN b", 4, 4, cached=True),
        vertex("RUN c", 5, 6, error="exit code: 1"),
    ) == [
        "#1 [1/2] RUN a",
        "#1 T one",
        "#1 T two",
        "#1 T rest",
        "#1 DONE 2.5s",
        "",
        "#2 [1/2] RUN b",
        "#2 CACHED",
        "",
        "#3 [1/2] RUN c",
        "#3 ERROR: exit code: 1",
    ]


def test_plain_with_two_at_a_time() -> None:
    assert plain(vertex("a", 1), vertex("b", 1), log("a", "x\n"), log("b", "y\n"), vertex("a", 1, 2)) == [
        "#1 [1/2] a",
        "#1 ...",
        "",
        "#2 [1/2] b",
        "#2 ...",
        "",
        "#1 [1/2] a",
        "#1 T x",
        "#1 ...",
        "",
        "#2 [1/2] b",
        "#2 T y",
        "#2 ...",
        "",
        "#1 [1/2] a",
        "#1 DONE 1.0s",
        "",
        "#2 [1/2] b",
        "#2 CANCELED",
    ]


def test_plain_says_a_status_at_its_start_and_its_end() -> None:
    lines = plain(vertex("a", 1), *(status("a", step) for step in (1, 500, 1000)), status("a", 2000, completed=True))
    assert lines[1:3] == ["#1 pulling 1B / 2kB", "#1 pulling 2kB / 2kB done"]


def test_raw_is_one_message_a_line() -> None:
    out = io.StringIO()
    RawDisplay(out).update(vertex("a"))
    assert out.getvalue() == '{"vertexes":[{"digest":"a","name":"[1/2] a"}]}\n'


def test_live() -> None:
    out = io.StringIO()
    display = LiveDisplay(out)
    display.update(vertex("RUN a\x1b[2J", 1, 2))
    display.update(vertex("b", 3))
    display.update(log("b", "output\n"))
    display.finish()
    text = out.getvalue()
    last = text[text.rindex("\x1b[?25l") :]
    assert "[1/2] RUN a [2J" in last
    assert "FINISHED" not in last
    assert "output" not in last
    assert text.endswith("\x1b[?25h")


def test_the_choice_of_a_display() -> None:
    assert isinstance(choose_display("auto", io.StringIO()), PlainDisplay)
    assert isinstance(choose_display("quiet", io.StringIO()), QuietDisplay)
    with pytest.raises(CommandError, match="invalid progress mode fancy"):
        choose_display("fancy", io.StringIO())
    with pytest.raises(CommandError, match="provided file is not a console"):
        choose_display("tty", io.StringIO())


@pytest.mark.parametrize(
    ("line", "end", "shown"),
    [
        (1, 1, "123"),
        (3, 3, "12345"),
        (5, 5, "3456"),
        (2, 3, "1234"),
        (1, 2, "123"),
        (4, 5, "3456"),
    ],
)
def test_excerpts(line: int, end: int, shown: str) -> None:
    rows = excerpt(FILE, "Dockerfile", line, end).splitlines()
    assert rows[0] == f"Dockerfile:{line}"
    assert "".join(row[3] for row in rows[2:-1]) == shown
    marked = [int(row[3]) for row in rows[2:-1] if ">>>" in row]
    assert marked == list(range(line, min(end, 5) + 1))


def test_no_excerpt_of_lines_that_are_not_there() -> None:
    assert excerpt(FILE, "Dockerfile", 7, 7) == excerpt(FILE, "Dockerfile", 0, 0) == ""


def test_an_error_shows_where_and_what_was_said() -> None:
    display = QuietDisplay()
    display.update(vertex("RUN b", 1, 2, error="exit code: 3"))
    display.update(log("RUN b", "first\nlast words"))
    display.update(log("RUN b", "\n"))
    source = Source({}, None, FILE.encode(), "Dockerfile")
    detail = {"Location": {"line": 2, "end": 2}}
    assert build_error("exit code: 3", detail, source, display.steps).message.splitlines() == [
        "------",
        " > [1/2] RUN b:",
        "first",
        "last words",
        "------",
        "Dockerfile:2",
        "--------------------",
        "   1 |     FROM a",
        "   2 | >>> RUN b",
        "   3 |     RUN c",
        "   4 |     RUN d",
        "--------------------",
        "ERROR: failed to build: failed to solve: exit code: 3",
    ]


def test_the_line_of_a_parse_error_is_in_its_text() -> None:
    assert line_in("dockerfile parse error on line 12: unknown instruction: X") == 12
    assert line_in("dockerfile parse error on line x") == line_in("no") == 0


def test_a_report() -> None:
    source = Source({}, None, FILE.encode(), "Dockerfile")
    warning = {"rule": "JSONArgsRecommended", "text": "text", "line": 5, "end": 5}
    report = check_report([warning], source, FILE)
    assert report.startswith(
        "Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - "
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\ntext\nDockerfile:5\n"
    )
    assert check_report([], source, FILE) == "Check complete, no warnings found.\n"
    assert "2 warnings have been found!" in check_report([warning, warning], source, FILE)


def test_warnings_come_at_the_end() -> None:
    warning = {"short": base64.b64encode(b"Rule: text (line 3)").decode()}
    assert warnings_text([warning]) == "\n 1 warning found (use --check to see where):\n - Rule: text (line 3)\n"
    assert "2 warnings found" in warnings_text([warning, warning])
    assert warnings_text([]) == ""
