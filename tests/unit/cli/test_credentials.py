"""Where credentials go: the configured helper, the detected one, the file."""

import base64
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rundlet.cli import credential_store, credentials
from rundlet.cli.building.query import registry_config
from rundlet.cli.config import read_config
from rundlet.cli.exit import CommandError

HELPER = """#!/bin/sh
case $1 in
store) cat > {kept} ;;
get) read -r server; [ -e {kept} ] && cat {kept} || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
erase) rm -f {kept} ;;
esac
"""
SERVER = "reg.example:5000"


@dataclass
class Context:
    """What the functions under test need of the command line's context."""

    config_directory: str

    @property
    def config(self) -> dict[str, Any]:
        return read_config(self.config_directory)


@pytest.fixture
def context(tmp_path: Path) -> Any:
    return Context(str(tmp_path / "config"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise usual PATH whose first directory is the test's."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def install(directory: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    (directory / name).write_text(text)
    (directory / name).chmod(0o755)


def config_file(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(context.config_directory, "config.json").read_text())
    return found


@pytest.mark.parametrize("name", ["pass", "secretservice"])
def test_an_installed_helper_is_used_and_written_down(context: Any, programs: Path, name: str) -> None:
    kept = programs / "kept"
    install(programs, f"docker-credential-{name}", HELPER.format(kept=kept))
    if name == "pass":
        install(programs, "pass")
    assert credentials.lookup(context, SERVER) == {}
    assert credential_store.store(context, SERVER, "someone", "secret", "") == ""
    assert json.loads(kept.read_text()) == {"ServerURL": SERVER, "Username": "someone", "Secret": "secret"}
    assert config_file(context) == {"credsStore": name, "auths": {SERVER: {}}}
    found = {"username": "someone", "password": "secret", "serveraddress": SERVER}
    assert credentials.lookup(context, SERVER) == found
    assert credential_store.erase(context, SERVER)
    assert not kept.exists()
    assert config_file(context) == {"credsStore": name, "auths": {}}


def test_pass_alone_is_no_helper(context: Any, programs: Path) -> None:
    install(programs, "pass")
    install(programs, "docker-credential-secretservice", HELPER.format(kept=programs / "kept"))
    warning = credential_store.store(context, SERVER, "someone", "secret", "")
    path = Path(context.config_directory, "config.json")
    assert f"stored unencrypted in '{path}'" in warning
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config_file(context) == {"auths": {SERVER: {"auth": "c29tZW9uZTpzZWNyZXQ="}}}


def test_what_the_file_holds_stays_there(context: Any, programs: Path) -> None:
    credential_store.store(context, SERVER, "someone", "secret", "")
    install(programs, "docker-credential-secretservice", "#!/bin/sh\nexit 99\n")
    assert "unencrypted" in credential_store.store(context, "other.example", "else", "word", "")
    assert credentials.lookup(context, SERVER)["password"] == "secret"


def test_a_detected_helper_that_fails_says_nothing_of_a_pull(context: Any, programs: Path) -> None:
    install(programs, "docker-credential-secretservice", "#!/bin/sh\necho Cannot autolaunch D-Bus; exit 1\n")
    assert credentials.registry_headers(context, SERVER) == {}
    with pytest.raises(CommandError, match="autolaunch"):
        credential_store.store(context, SERVER, "someone", "secret", "")


def test_nobody_is_what_no_credentials_are_encoded_as() -> None:
    assert credentials.encode({}) == credentials.NOBODY


def test_the_environment_comes_first(
    context: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {"registry.test": {"auth": base64.b64encode(b"stored:old").decode()}, "other.test": {"auth": "bWU6eA=="}}
    directory = Path(context.config_directory)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"auths": stored}))
    given = {"registry.test": {"auth": base64.b64encode(b"robot:new:er").decode()}, "empty.test": {}}
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": given}))
    found = credentials.lookup(context, "registry.test")
    assert (found["username"], found["password"]) == ("robot", "new:er")
    assert credentials.lookup(context, "other.test")["username"] == "me"
    header = registry_config(context)["X-Registry-Config"]
    assert {"registry.test", "other.test"} == set(json.loads(base64.urlsafe_b64decode(header)))
    for text in ("{", "[]", '{"auths": 1}'):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
        assert credentials.lookup(context, "registry.test")["username"] == "stored"
        assert "Failed to create credential store from DOCKER_AUTH_CONFIG" in capsys.readouterr().err
