"""What a signal changes of a running engine's settings, and what it says of them."""

import json
from pathlib import Path

import pytest

from rundlet.daemon.config import Config, load
from rundlet.daemon.errors import ConfigError
from rundlet.daemon.reload import Reloader, attributes, unchanged, with_changes
from rundlet.engine.events import EventBus
from rundlet.util.clock import SystemClock


def written(path: Path, **settings: object) -> Config:
    path.write_text(json.dumps({key.replace("_", "-"): value for key, value in settings.items()}))
    return load(["--config-file", str(path)], {}, 0)


def test_what_can_be_changed_and_what_waits_for_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    before = written(file, labels=["a=1"], mtu=1400)
    wanted = written(
        file,
        labels=["a=2"],
        mtu=1500,
        storage_driver="vfs",
        proxies={"http-proxy": "http://p"},
        max_download_attempts=2,
    )
    chosen = with_changes(before, wanted)
    assert (chosen.labels, chosen.moving.attempts) == (("a=2",), 2)
    assert (chosen.network, chosen.storage_driver, chosen.moving.environment) == (before.network, "", ())
    assert unchanged(chosen, wanted) == ["network", "proxies", "storage-driver"]


def test_the_event(tmp_path: Path) -> None:
    config = written(
        tmp_path / "daemon.json",
        labels=["bar=foo"],
        debug=True,
        registry_mirrors=["https://m.example"],
        runtimes={"x": {"path": "/y"}},
        shutdown_timeout=10,
    )
    said = attributes(config)
    assert said["labels"] == '["bar=foo"]' and said["registry-mirrors"] == '["https://m.example/"]'
    assert (said["debug"], said["shutdown-timeout"], said["runtimes"]) == ("true", "10", "x:/y")
    assert (said["max-concurrent-uploads"], said["default-shm-size"]) == ("5", "67108864")


def test_settings_that_cannot_be_used_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "daemon.json"
    config = written(file, labels=["a=1"])
    applied: list[Config] = []
    events = EventBus(SystemClock())
    reloader = Reloader(config, lambda: load(["--config-file", str(file)], {}, 0), applied.append, events, "id")
    file.write_text('{"labels": ')
    reloader.reload()
    assert "stays as it is" in caplog.text and (reloader.config, applied, events.history()) == (config, [], [])

    def refuse(wanted: Config) -> None:
        raise ConfigError("specified default runtime 'none' does not exist")

    written(file, default_runtime="none")
    strict = Reloader(config, lambda: load(["--config-file", str(file)], {}, 0), refuse, events, "id")
    strict.reload()
    assert (strict.config, events.history()) == (config, [])
    written(file, labels=["a=2"])
    reloader.reload()
    assert [one.labels for one in applied] == [("a=2",)]
    assert [(one.kind, one.action, one.actor) for one in events.history()] == [("daemon", "reload", "id")]
