"""``ps``: every filter, with what Docker refuses."""

import json

import pytest
from tests.engines import Engine, wait_for


@pytest.fixture
def four(engine: Engine) -> Engine:
    """One created, one healthy and running, one ended with 7, one paused on the host's network."""
    engine.ok("create", "--name", "p1", "--label", "a=1", "--label", "b", "--expose", "80", "busybox", "true")
    health = ("--health-cmd", "true", "--health-interval", "100ms")
    flags = ("--label", "a=2", "-v", "named:/data", "-p", "127.0.0.1::81", "--expose", "90/udp", *health)
    engine.ok("run", "-d", "--name", "p2", *flags, "busybox", "sleep", "1000")
    engine.cli("run", "--name", "p3", "--network", "none", "busybox", "sh", "-c", "exit 7")
    engine.ok("run", "-d", "--name", "p4", "--network", "host", "-v", "/tmp:/mnt", "busybox", "sleep", "1000")
    engine.ok("pause", "p4")
    wait_for(lambda: engine.field("p2", "{{.State.Health.Status}}") == "healthy")
    return engine


def names(engine: Engine, *flags: str) -> str:
    return " ".join(sorted(engine.ok("ps", "--format", "{{.Names}}", *flags).split()))


FILTERS = {
    "ancestor=busybox": "p1 p2 p3 p4",
    "ancestor=nothing": "",
    "before=p3": "p1 p2",
    "since=p2": "p3 p4",
    "exited=7": "p3",
    "exited=0": "",
    "expose=81": "p2",
    "expose=85-95/udp": "p2",
    "publish=1024-65535/tcp": "p2",
    "publish=80-82/tcp": "",
    "publish=90/udp": "",
    "health=healthy": "p2",
    "health=none": "p1 p3 p4",
    "is-task=true": "",
    "is-task=false": "p1 p2 p3 p4",
    "label=a": "p1 p2",
    "label=a=2": "p2",
    "name=^p1$": "p1",
    "name=p[12]": "p1 p2",
    "name=/p3": "p3",
    "network=none": "p3",
    "network=host": "p4",
    "network=bridge": "p1 p2",
    "status=running": "p2",
    "status=paused": "p4",
    "status=created": "p1",
    "volume=named": "p2",
    "volume=/mnt": "p4",
    "isolation=default": "p1 p2 p3 p4",
}


def test_filters(four: Engine) -> None:
    found = {text: names(four, "-a", "-f", text) for text in FILTERS}
    assert found == FILTERS
    identifier = four.field("p2", "{{.Id}}")
    assert names(four, "-a", "-f", f"id={identifier[:12]}") == "p2"
    assert names(four, "-a", "-f", "label=a", "-f", "label=b") == "p1"
    assert names(four, "-a", "-f", "name=p1", "-f", "name=p4") == "p1 p4"


def test_what_is_shown_without_all(four: Engine) -> None:
    assert names(four) == "p2 p4"
    assert names(four, "-f", "status=exited") == "p3"
    assert names(four, "-f", "exited=7") == ""
    assert names(four, "-f", "since=p2") == "p4"
    assert names(four, "-n", "2") == "p3 p4"
    assert names(four, "-l") == "p4"
    assert names(four, "-n", "0") == "p2 p4"


def test_sizes_and_json(four: Engine) -> None:
    row = json.loads(four.ok("ps", "-s", "-f", "name=p2", "--format", "json"))
    assert row["Size"].startswith("0B (virtual ")
    assert row["LocalVolumes"] == "1"
    assert row["Networks"] == "bridge"
    assert row["Labels"] == "a=2"
    assert four.ok("ps", "--filter", "name=p4", "--format", "[{{.Ports}}]") == "[]"
    four.ok("create", "--name", "p5", "busybox", "sh", "-c", "a very long command line indeed")
    assert "…" in four.ok("ps", "-a", "-f", "name=p5", "--format", "json")


def test_a_command_is_quoted_where_it_has_a_space_and_nowhere_else(engine: Engine) -> None:
    engine.ok("create", "--name", "q1", "busybox", "sh", "-c", "echo 'a b'; exit", "it's", '"', "two words")
    shown = engine.ok("ps", "-a", "--no-trunc", "--format", "{{.Command}}")
    assert shown == r'''"sh -c 'echo 'a b'; exit' it's \" 'two words'"'''


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("before=zz", "No such container: zz"),
        ("exited=x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("expose=x", 'error while looking up for expose x: strconv.ParseUint: parsing "x": invalid syntax'),
        ("health=x", "invalid filter 'health=x': invalid value for health (x): must be one of none,"),
        ("is-task=x", "invalid filter 'is-task=[x]'"),
        ("status=x", "invalid filter 'status=x': invalid value for state (x): must be one of created,"),
        ("odd=1", "invalid filter 'odd'"),
    ],
)
def test_refused(engine: Engine, text: str, message: str) -> None:
    done = engine.cli("ps", "-a", "-f", text)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ("ps", "--format", "{{.Foo}}"),
            1,
            'failed to execute template: template: :1:2: executing "" at <.Foo>: '
            "can't evaluate field Foo in type *formatter.ContainerContext",
        ),
        (("ps", "--format", "{{.ID"), 1, "failed to parse template: template: :1: unclosed action"),
        (("ps", "-q", "--format", "{{.ID}}"), 0, "Ignoring custom format, because both --format and --quiet are set."),
        (
            ("images", "--format", "{{.Foo}}"),
            1,
            'template parsing error: template: :1:2: executing "" at <.Foo>: '
            "can't evaluate field Foo in type *formatter.imageContext",
        ),
        (("images", "--filter", "reference=nothing", "--format", "table {{.Foo}}"), 0, ""),
        (("images", "--format", "{{foo}}"), 1, 'template parsing error: template: :1: function "foo" not defined'),
        (
            ("events", "--since", "0", "--until", "1", "--format", "{{.Foo}}"),
            64,
            'Error parsing format: template: :1:2: executing "" at <.Foo>: '
            "can't evaluate field Foo in type *events.Message",
        ),
        (("inspect", "--format", "{{foo}}", "busybox"), 64, 'template parsing error: template: :1: function "foo"'),
    ],
)
def test_a_bad_format(engine: Engine, arguments: tuple[str, ...], status: int, message: str) -> None:
    """``ps`` looks at its template also where there is nothing to list."""
    done = engine.cli(*arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr
