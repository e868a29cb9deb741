"""``login``: which flags go together, and what is stored is tried first."""

import io
import json
import sys
from pathlib import Path

import pytest
from tests.unit.cli.registry_engine import Engine

from rundlet.cli.main import main

SERVER = "reg.example:5000"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("os.isatty", lambda _fd: False)
    return tmp_path / "config" / "config.json"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-u", "ann", "-p", "x", "--password-stdin"), "conflicting options: cannot specify both --password and"),
        (("--password-stdin",), "the --password-stdin option requires --username to be set"),
        (("-u", "", "-p", "x"), "username is empty"),
        (("-u", "ann", "-p", ""), "password is empty"),
        (("-u", "ann"), "Cannot perform an interactive login from a non TTY device"),
        (("-u", "ann", "--password-stdin"), "Cannot perform an interactive login from a non TTY device"),
        ((), "Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_flags_that_are_not_enough(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["rundlet", "-H", "unix:///nowhere/at/all.sock", "login", *flags, SERVER]) == 1
    assert message in capsys.readouterr().err
    assert not config.exists()


def test_what_is_stored_is_tried_first(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Engine(tmp_path / "s") as engine:

        def login(*flags: str) -> tuple[int, str, str]:
            code = main(["rundlet", "-H", f"unix://{engine.path}", "login", *flags, SERVER])
            said = capsys.readouterr()
            return code, said.out, said.err

        code, out, err = login("-u", "ann", "-p", "secret")
        assert (code, out) == (0, "Login Succeeded\n")
        assert "stored unencrypted" in err
        assert list(json.loads(config.read_text())["auths"]) == [SERVER]
        written = config.stat().st_mtime_ns, config.stat().st_ino
        code, out, err = login("-u", "ann", "-p", "secret")
        assert (code, out) == (0, "Login Succeeded\n")
        assert "stored unencrypted" not in err  # nothing is new
        code, out, err = login()
        assert (code, out) == (0, "Login Succeeded\n")
        assert err == "Authenticating with existing credentials... [Username: ann]\n"
        assert (config.stat().st_mtime_ns, config.stat().st_ino) == written
        assert engine.asked == [{"username": "ann", "password": "secret", "serveraddress": SERVER}] * 3
        engine.password = "another"
        code, out, err = login()
        assert (code, out) == (1, "")
        assert "Stored credentials invalid or expired\n" in err
        assert "non TTY device" in err
