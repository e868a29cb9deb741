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
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", '{"auths":{"bad.example":{"auth":"bm9jb2xvbg=="}}}')
    with pytest.raises(CommandError, match=r"^invalid auth configuration for bad\.example in DOCKER_AUTH_CONFIG$"):
        credentials.lookup(context, "bad.example")


# ── helpers that do not help ─────────────────────────────────────────────────────────────────────────────────

ANSWERS = {
    "rubbish": ("echo this is my secret", "the answer of docker-credential-test is not JSON"),
    "list": ("echo '[1]'", "the answer of docker-credential-test is not an object of texts"),
    "number": ("echo '{\"Username\": 5}'", "the answer of docker-credential-test is not an object of texts"),
    "failure": ("echo the vault is locked; exit 2", "exit status 2, out: `the vault is locked`"),
    "silence": ("exit 3", "exit status 3, out: ``"),
    "kill": ("kill -9 $$", "signal: killed, out: ``"),
}


def configure(context: Any, config: dict[str, Any]) -> None:
    Path(context.config_directory).mkdir(exist_ok=True)
    Path(context.config_directory, "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_helper_that_does_not_help_is_warned_of(
    context: Any, programs: Path, capfd: pytest.CaptureFixture[str], answer: str
) -> None:
    """A pull of what is for everybody goes on without, as Docker's; a secret in the answer is not shown."""
    command, words = ANSWERS[answer]
    install(programs, "docker-credential-test", f"#!/bin/sh\ncat >/dev/null\n{command}\n")
    configure(context, {"credsStore": "test"})
    assert credentials.registry_headers(context, SERVER) == {}
    told = capfd.readouterr().err
    assert told.startswith("WARNING: error getting credentials - err: ")
    assert words in told
    assert "my secret" not in told
    with pytest.raises(CommandError):
        credentials.lookup(context, SERVER)


def test_a_helper_that_is_not_there(context: Any, programs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(programs, "docker-credential-other", HELPER.format(kept=programs / "kept"))
    (programs / "docker-credential-other").chmod(0o644)
    for name in ("gone", "other"):
        configure(context, {"credsStore": name, "auths": {"a.example": {}, "b.example": {}}})
        why = f'exec: "docker-credential-{name}": executable file not found in $PATH, out: ``'
        assert registry_config(context) == {}
        assert capfd.readouterr().err == (
            f"WARNING: error listing credentials - err: {why}\nWARNING: error getting credentials - err: {why}\n"
        )
        with pytest.raises(CommandError) as caught:
            credential_store.store(context, SERVER, "someone", "secret", "")
        assert str(caught.value) == f"Error saving credentials: error storing credentials - err: {why}"
        with pytest.raises(CommandError, match="error listing credentials"):
            credentials.every_login(context)


def test_a_helper_that_knows_nobody(context: Any, programs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(context, {"credsStore": "test"})
    for answer in ("echo '{}'", "true", 'echo "credentials not found in native keychain"; exit 1'):
        install(programs, "docker-credential-test", f"#!/bin/sh\ncat >/dev/null\n{answer}\n")
        assert credentials.lookup(context, SERVER) == {}
    assert capfd.readouterr().err == ""


def test_what_a_helper_says_besides_is_heard(context: Any, programs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(programs, "docker-credential-test", "#!/bin/sh\necho touch your key >&2\n")
    configure(context, {"credsStore": "test"})
    assert credentials.lookup(context, SERVER) == {}
    assert capfd.readouterr().err == "touch your key\n"
