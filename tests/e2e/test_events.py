"""Events: every action of a container's life with Docker's names, attributes and order."""

import json
import time
from pathlib import Path

from tests.engines import Engine


def told(engine: Engine, since: float, *filters: str) -> list[tuple[str, str, dict[str, str]]]:
    """(type, action, attributes) of everything since then; names and IDs of actors are the attributes' business."""
    flags = [word for text in filters for word in ("--filter", text)]
    lines = engine.ok(
        "events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--format", "{{json .}}", *flags
    )
    found = [json.loads(line) for line in lines.splitlines()]
    return [(event["Type"], event["Action"], event["Actor"]["Attributes"]) for event in found]


def test_the_life_of_a_container(engine: Engine) -> None:
    since = time.time()
    flags = ("--network", "none", "--label", "l=1", "-v", "named:/x:ro", "-v", "/anonymous")
    engine.ok(
        "create", "--name", "box", *flags, "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"
    )
    container = engine.field("box", "{{.Id}}")
    for command in (
        ("start", "box"),
        ("pause", "box"),
        ("unpause", "box"),
        ("exec", "box", "true"),
        ("top", "box"),
        ("rename", "box", "other"),
        ("update", "--pids-limit", "50", "other"),
        ("kill", "-s", "USR2", "other"),
    ):
        engine.ok(*command)
    engine.ok("stop", "other")
    engine.ok("rm", "-v", "other")
    common = {"image": "busybox", "l": "1", "name": "box"}
    later = common | {"name": "other"}
    events = told(engine, since)
    execs = {attributes["execID"] for _, action, attributes in events if action.startswith("exec_")}
    assert len(execs) == 1
    lasted = [attributes.pop("execDuration") for _, action, attributes in events if action == "die"]
    assert [text.isdigit() for text in lasted] == [True]
    for _, _, attributes in events:
        attributes.pop("execID", None)
    mount = {"container": container, "driver": "local", "propagation": ""}
    expected = [
        ("volume", "create", {"driver": "local"}),
        ("volume", "create", {"driver": "local"}),
        ("container", "create", common),
        ("network", "connect", {"container": container, "name": "none", "type": "null"}),
        ("volume", "mount", mount | {"destination": "/x", "read/write": "false"}),
        ("volume", "mount", mount | {"destination": "/anonymous", "read/write": "true"}),
        ("container", "start", common),
        ("container", "pause", common),
        ("container", "unpause", common),
        ("container", "exec_create: true ", common),
        ("container", "exec_start: true ", common),
        ("container", "exec_die", common | {"exitCode": "0"}),
        ("container", "top", common),
        ("container", "rename", later | {"oldName": "/box"}),
        ("container", "update", later),
        ("container", "kill", later | {"signal": "12"}),
        ("container", "kill", later | {"signal": "15"}),
        ("container", "die", later | {"exitCode": "3"}),
        ("network", "disconnect", {"container": container, "name": "none", "type": "null"}),
        ("volume", "unmount", {"container": container, "driver": "local"}),
        ("volume", "unmount", {"container": container, "driver": "local"}),
        ("container", "stop", later),
        ("volume", "destroy", {"driver": "local"}),
        ("container", "destroy", later),
    ]

    def order(event: tuple[str, str, dict[str, str]]) -> str:
        return json.dumps([event[0], event[1], event[2].get("destination", "")])

    assert sorted(map(repr, map(order, events))) == sorted(map(repr, map(order, expected)))
    containers = [event for event in events if event[0] == "container" and event[1] != "exec_die"]
    assert containers == [event for event in expected if event[0] == "container" and event[1] != "exec_die"]
    for event in events:
        assert event in expected, event


def test_die_tells_how_many_seconds_a_container_ran(engine: Engine) -> None:
    since = time.time()
    engine.ok("run", "--rm", "busybox", "sleep", "1.2")
    lasted = [int(attributes["execDuration"]) for _, action, attributes in told(engine, since) if action == "die"]
    assert len(lasted) == 1 and lasted[0] >= 1


def test_a_forced_removal_kills_and_answers_once_it_is_gone(engine: Engine) -> None:
    engine.ok("run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000")
    since = time.time()
    engine.ok("rm", "-f", "box")
    actions = [action for _, action, _ in told(engine, since, "type=container")]
    assert actions == ["kill", "die", "destroy"]


def test_images_carry_their_labels(engine: Engine, tmp_path: Path) -> None:
    engine.ok("create", "--name", "box", "--label", "a=b", "busybox", "true")
    engine.ok("commit", "box", "labelled:1")
    image = engine.ok("image", "inspect", "-f", "{{.Id}}", "labelled:1")
    since = time.time()
    engine.ok("tag", "labelled:1", "labelled:2")
    engine.ok("save", "-o", str(tmp_path / "saved"), "labelled:1")
    engine.ok("rmi", "labelled:2")
    assert told(engine, since) == [
        ("image", "tag", {"a": "b", "name": "labelled:2"}),
        ("image", "save", {"a": "b", "name": image}),
        ("image", "untag", {"a": "b", "name": image}),
    ]
    engine.ok("rm", "box")
    engine.ok("rmi", "labelled:1")


def test_a_template_may_name_what_only_events_of_containers_have(engine: Engine) -> None:
    engine.ok("network", "create", "templated")
    engine.ok("network", "rm", "templated")
    flags = ("--since", "0", "--until", f"{time.time():.6f}", "--filter", "network=templated")
    shown = engine.ok("events", *flags, "--format", "{{.Action}}|{{.Status}}|{{.From}}|{{.Scope}}|{{.Type}}")
    assert shown.splitlines() == ["create|||local|network", "destroy|||local|network"]
