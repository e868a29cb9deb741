"""Parts of the OCI runtime's command line that need no kernel."""

import json
import signal
from pathlib import Path

import pytest

from rundlet.runtime.command import accounts, configs, life, states
from rundlet.runtime.command.arguments import Flag, parse
from rundlet.runtime.command.errors import CommandError, MissingError, RefusedError, UsageError
from rundlet.runtime.command.states import State, States

FLAGS = (Flag("root"), Flag("env", "list", "e"), Flag("tty", "bool", "t"), Flag("no-pivot", "refused"))


def test_options_in_all_their_forms() -> None:
    found = parse(FLAGS, ["--root", "/a", "-e", "A=1", "--env=B=2", "-tty", "box", "-t", "--root", "x"])
    assert (found.text("root"), found.texts("env"), found.on("tty")) == ("/a", ["A=1", "B=2"], True)
    assert found.words == ["box", "-t", "--root", "x"]
    assert parse(FLAGS, ["--tty=false", "--", "--root"]).words == ["--root"]
    assert not parse(FLAGS, ["--tty=false"]).on("tty")
    assert parse(FLAGS, ["--no-pivot=false", "box"]).words == ["box"]


@pytest.mark.parametrize("words", [["--wrong"], ["--root"], ["--tty=perhaps"]])
def test_options_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(FLAGS, words)


def test_refused_options() -> None:
    with pytest.raises(RefusedError, match="--no-pivot is not supported"):
        parse(FLAGS, ["--no-pivot"])


@pytest.mark.parametrize(
    ("text", "number"),
    [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", int(signal.SIGRTMIN) + 3), ("RTMAX-1", 63)],
)
def test_signals(text: str, number: int) -> None:
    assert life.signal_number(text) == number


def test_options_may_follow_the_container_but_not_a_command() -> None:
    mixed = parse(FLAGS, ["box", "--no-pivot=false", "--", "--x"], mixed=True)
    assert mixed.words == ["box", "--x"]
    assert parse(FLAGS, ["box", "--no-pivot=false"]).words == ["box", "--no-pivot=false"]


@pytest.mark.parametrize("text", ["", "-1", "99", "SIGNO", "RTMIN+x"])
def test_no_signals(text: str) -> None:
    with pytest.raises(UsageError):
        life.signal_number(text)


def test_cgroup_paths() -> None:
    assert configs.cgroup("box", {}, systemd=False) == {"path": "/rundlet-runtime/box"}
    assert configs.cgroup("box", {"cgroupsPath": "a/b"}, systemd=False) == {"path": "/a/b"}
    assert configs.cgroup("box", {"cgroupsPath": "//a/../b/"}, systemd=False) == {"path": "/b"}
    for bad, error in (("/", CommandError), ("/..", CommandError), ("s.slice:p:n", RefusedError)):
        with pytest.raises(error):
            configs.cgroup("box", {"cgroupsPath": bad}, systemd=False)


def test_devices_that_every_container_may_use() -> None:
    assert "devices" not in configs.resources({})
    rules = configs.resources({"resources": {"devices": [{"allow": False, "access": "rwm"}]}})["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "access": "rwm", "major": 1, "minor": 3} in rules
    assert {"allow": True, "type": "b", "access": "m"} in rules


def test_sizes() -> None:
    assert [accounts.size(text) for text in ("5", "2k", "3M", "1gb", "-1", "4mib")] == [
        5, 2 << 10, 3 << 20, 1 << 30, -1, 4 << 20,
    ]  # fmt: skip
    for bad in ("x", "", "1x"):
        with pytest.raises(ValueError):
            accounts.size(bad)


def test_the_engines_own_words_mean_nothing_in_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    mount = {"type": "bind", "source": "rel", "destination": "x", "options": ["rbind"]}
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["x"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}]},
        "mounts": [mount | {"mountNamespace": "/proc/1/ns/mnt", "rundlet_layers": ["/"], "rundlet_copy_up": True}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = configs.load(str(tmp_path))
    assert found["root"]["path"] == str(tmp_path / "rootfs")
    assert found["mounts"] == [mount | {"source": str(tmp_path / "rel"), "destination": "/x"}]


def test_states(tmp_path: Path) -> None:
    everything = States(str(tmp_path / "state"))
    assert everything.all() == []
    with pytest.raises(MissingError):
        everything.load("box")
    directory = everything.make("box")
    with pytest.raises(CommandError, match="already exists"):
        everything.make("box")
    # Somebody died between the name and the state: there is nothing, and it can be deleted.
    assert everything.load("box").status() == states.STOPPED
    state = State("box", directory, "/b", "/b/rootfs", 1 << 30, 5, "now", "/c", {"a": "b"}, True, {"ociVersion": "1.0"})
    states.save(state)
    assert everything.load("box") == state
    assert [item.id for item in everything.all()] == ["box"]
    assert state.status() == states.STOPPED
    assert state.document(states.STOPPED)["pid"] == 0
    (Path(directory) / "state.json").write_text("{}")
    with pytest.raises(CommandError, match="can't be read"):
        everything.load("box")
    states.forget(state)
    for bad in ("", "a/b", "..", "x" * 2000):
        with pytest.raises(CommandError, match="invalid container ID"):
            everything.directory(bad)
