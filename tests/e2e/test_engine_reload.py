"""SIGHUP: an engine that runs takes on other settings."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.engines import Engine, wait_for

NewEngine = Callable[..., Engine]


def info(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.ok("info", "--format", "json"))
    return found


def reload_with(engine: Engine, path: Path, **settings: object) -> None:
    path.write_text(json.dumps({key.replace("_", "-"): value for key, value in settings.items()}))
    os.kill(engine.pid, signal.SIGHUP)


def test_settings_change_while_containers_run(new_engine: NewEngine, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"labels": ["room=1"]}')
    engine = new_engine("--config-file", str(path))
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    reload_with(
        engine,
        path,
        labels=["room=2"],
        debug=True,
        default_shm_size="9m",
        registry_mirrors=["https://mirror.example"],
        insecure_registries=["loose.example:5000"],
        runtimes={"other": {"path": "/bin/false"}},
        mtu=1400,
        max_concurrent_downloads=2,
    )
    wait_for(lambda: info(engine)["Labels"] == ["room=2"])
    now = info(engine)
    assert now["Debug"] and now["Runtimes"]["other"]["path"] == "/bin/false"
    assert now["RegistryConfig"]["Mirrors"] == ["https://mirror.example/"]
    assert now["RegistryConfig"]["IndexConfigs"]["loose.example:5000"]["Secure"] is False
    assert " 9 " in engine.ok("run", "--rm", "busybox", "df", "-m", "/dev/shm")
    for chosen in ("type=daemon", f"daemon={now['ID']}", f"daemon={now['Name']}"):
        said = engine.ok("events", "--since", "0", "--until", f"{time.time():.9f}", "--filter", chosen)
        assert f"daemon reload {now['ID']} " in said and 'labels=["room=2"]' in said
    assert "change with the engine's next start: network" in engine.log.read_text()
    assert "Reset Max Concurrent Downloads: 2" in engine.log.read_text()
    reload_with(engine, path, labels=["room=3"], surprise=True)
    wait_for(lambda: "don't match any configuration option: surprise" in engine.log.read_text())
    assert info(engine)["Labels"] == ["room=2"]
    assert engine.field("box", "{{.State.Status}}") == "running"
    engine.ok("rm", "-f", "box")


def test_whether_containers_outlive_the_engine_can_be_changed(new_engine: NewEngine, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    engine = new_engine("--config-file", str(path))
    engine.ok("run", "-d", "--name", "box", "--stop-timeout", "0", "busybox", "sleep", "1000")
    reload_with(engine, path, live_restore=False, labels=["seen=yes"])
    wait_for(lambda: info(engine)["Labels"] == ["seen=yes"])
    path.write_text("{}")
    engine.terminate()
    engine.start()
    assert engine.field("box", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"


def test_a_log_of_objects(new_engine: NewEngine) -> None:
    engine = new_engine("--log-format", "json")
    said = [json.loads(line) for line in engine.log.read_text().splitlines()]
    assert any(line["level"] == "info" and "listens on" in line["msg"] and line["time"].endswith("Z") for line in said)


def test_settings_are_looked_through(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"

    def look(**settings: object) -> tuple[int, str]:
        path.write_text(json.dumps({key.replace("_", "-"): value for key, value in settings.items()}))
        done = engine.cli("engine", "run", "--validate", "--config-file", str(path))
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    assert look() == (0, "configuration OK")
    assert look(debug=True, labels=["a=1"]) == (0, "configuration OK")
    status, said = look(unknown_option=True)
    assert status == 1 and "the following directives don't match any configuration option: unknown-option" in said
    assert look(default_runtime="none") == (1, "rundlet: specified default runtime 'none' does not exist")
    assert look(registry_mirrors=["ftp://m.example"])[0] == 1


def test_build_cache_goes_by_itself(new_engine: NewEngine, tmp_path: Path) -> None:
    """When a build has ended, and at the start; what an image stands on stays."""
    path, context = tmp_path / "daemon.json", tmp_path / "context"
    path.write_text(json.dumps({"builder": {"gc": {"enabled": True, "policy": [{"all": True}]}}}))
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox AS one\nRUN echo one > /one\nFROM busybox\nRUN echo two > /two\n")
    engine = new_engine("--config-file", str(path))
    engine.ok("build", "-t", "kept", str(context))
    engine.ok("build", "-t", "gone", "--target", "one", str(context))
    engine.ok("rmi", "gone")
    engine.ok("build", "-t", "kept", str(context))

    def left() -> list[str]:
        return [str(one) for one in json.loads(engine.ok("system", "df", "-v", "--format", "json"))["BuildCache"]]

    wait_for(lambda: not any("echo one" in row for row in left()))
    assert any("echo two" in row for row in left())
    assert "builder prune" not in engine.ok("events", "--since", "0", "--until", f"{time.time():.9f}")
