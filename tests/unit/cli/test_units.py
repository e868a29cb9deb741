"""``rundlet engine enable`` and ``disable``: the units that are written, and what systemd is told."""

import os
from pathlib import Path

import pytest

from rundlet.cli.commands.engine import enable
from rundlet.cli.main import main


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is told; it says that nothing is active."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    said = tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$*" >> {said}\ncase "$*" in *is-active*) exit 3; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("RUNDLET_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("RUNDLET_RUN", str(tmp_path / "run"))
    return said


def test_a_user_s_units(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enable, "systemd_runs", lambda *, user: True)
    assert main(["rundlet", "engine", "enable", "--user"]) == 0
    assert told.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable rundlet.socket rundlet.service",
    ]
    units = tmp_path / "config" / "systemd" / "user"
    assert f"ListenStream={tmp_path}/run/rundlet.sock" in (units / "rundlet.socket").read_text()
    assert f"--data-root {tmp_path}/root" in (units / "rundlet.service").read_text()
    told.unlink()
    assert main(["rundlet", "engine", "enable", "--user", "--now"]) == 0
    assert told.read_text().splitlines()[-1] == "--user enable --now rundlet.socket rundlet.service"
    told.unlink()
    assert main(["rundlet", "engine", "disable", "--user"]) == 0
    assert told.read_text().splitlines() == [
        "--user disable --now rundlet.socket rundlet.service",
        "--user daemon-reload",
    ]
    assert not list(units.iterdir())
    assert main(["rundlet", "engine", "disable", "--user"]) == 1


def test_without_systemd_it_says_what_to_do(
    told: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(enable, "systemd_runs", lambda *, user: False)
    assert main(["rundlet", "engine", "enable", "--user", "--now"]) == 0
    assert "  systemctl --user enable --now rundlet.socket rundlet.service" in capsys.readouterr().out
    assert not told.exists()
