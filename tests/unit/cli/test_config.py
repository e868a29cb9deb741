"""The user's configuration: contexts, credentials, the engine's own commands."""

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from rundlet.cli.commands.engine import enable
from rundlet.cli.commands.engine.env import shell_word
from rundlet.cli.context import Context
from rundlet.cli.credential_store import erase, store
from rundlet.cli.credentials import encode, lookup, registry_headers
from rundlet.cli.engine_start import engine_argv, engine_environment
from rundlet.cli.exit import CommandError
from rundlet.cli.flags import Parser
from rundlet.cli.main import GLOBAL_FLAGS
from rundlet.cli.reference import INDEX_SERVER

SETTINGS = {
    "config": "",
    "context": "",
    "host": [],
    "tls": False,
    "tlsverify": False,
    "tlscacert": "",
    "tlscert": "",
    "tlskey": "",
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name in ("RUNDLET_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return Context("rundlet", dict(SETTINGS))


def test_the_users_own_engine_is_the_default(context: Context) -> None:
    assert context.endpoint() is None


def test_which_engine(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///docker.sock")
    assert context.endpoint().url == "unix:///docker.sock"  # type: ignore[union-attr]
    monkeypatch.setenv("RUNDLET_HOST", "unix:///rundlet.sock")
    assert context.endpoint().url == "unix:///rundlet.sock"  # type: ignore[union-attr]
    context.settings["host"] = ["unix:///flag.sock"]
    assert context.endpoint().url == "unix:///flag.sock"  # type: ignore[union-attr]
    context.settings["context"] = "x"
    with pytest.raises(CommandError, match="cannot specify both"):
        context.endpoint()


def test_the_context_default_is_what_the_environment_says(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    context.settings["context"] = "default"
    assert context.endpoint() is None
    monkeypatch.setenv("DOCKER_HOST", "unix:///docker.sock")
    assert context.endpoint().url == "unix:///docker.sock"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "invalid JSON"),
        ("[]", "not an object"),
        ('{"auths": 5}', "auths is not an object"),
        ('{"psFormat": {}}', "psFormat is not a string"),
        ('{"pruneFilters": 5}', "pruneFilters is not a list"),
        ('{"cliPluginsExtraDirs": [5]}', "cliPluginsExtraDirs: 5 is not a string"),
        ('{"proxies": {"default": "x"}}', "proxies: default is not an object"),
        ('{"auths": {"a.b": 1}}', "auths: a.b is not an object"),
        ('{"features": {"hooks": ["true"]}}', "features: hooks is not a string"),
        ('{"aliases": {"builder": 5}}', "aliases: builder is not a string"),
    ],
)
def test_a_file_that_is_no_configuration(
    context: Context, tmp_path: Path, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It keeps nobody from working, and is not written over."""
    path = tmp_path / "config.json"
    path.write_text(text)
    assert context.config == {}
    assert capsys.readouterr().err.startswith(f"WARNING: Error parsing config file ({path}): {why}")
    with pytest.raises(CommandError, match="Error parsing config file"):
        store(context, "reg:5000", "me", "pw", "")
    assert path.read_text() == text


def test_null_is_nothing(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"auths": null, "plugins": null, "proxies": {"default": null}, "pruneFilters": [null], "own": null}'
    )
    assert context.config == {"proxies": {}, "pruneFilters": [], "own": None}
    store(context, "reg:5000", "me", "pw", "")
    assert list(json.loads(path.read_text())["auths"]) == ["reg:5000"]


def test_who_asks_is_said_once(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"User-Agent": "me", "X-A": "1"}}')
    assert context.session.headers == {"X-A": "1"}
    monkeypatch.setenv("DOCKER_CUSTOM_HEADERS", "user-agent=me,X-B=2")
    assert Context("rundlet", dict(SETTINGS)).session.headers == {"X-B": "2"}


def test_tls_from_the_environment(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    monkeypatch.setenv("DOCKER_HOST", "tcp://host")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    endpoint = context.endpoint()
    assert endpoint is not None
    assert endpoint.tls is not None
    assert (endpoint.port, endpoint.tls.verify, endpoint.tls.ca) == (2376, True, f"{tmp_path}/ca.pem")


def test_the_authority_must_be_there(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = re.escape(f"unable to resolve docker endpoint: open {tmp_path}/ca.pem: no such file or directory")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    for host in ("tcp://host", "unix:///docker.sock", ""):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(CommandError, match=missing):
            context.endpoint()
    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    assert context.endpoint() is None
    # --tlsverify asks for TLS whatever it says, and TLS that verifies nothing has an authority, too.
    for flag in ("--tlsverify=false", "--tls"):
        parser = Parser(GLOBAL_FLAGS, interspersed=False)
        parser.parse([flag, "ps"])
        with pytest.raises(CommandError, match=missing):
            Context("rundlet", parser.values).endpoint()


def test_a_docker_context(context: Context, tmp_path: Path) -> None:
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"remote").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(
        json.dumps({"Name": "remote", "Endpoints": {"docker": {"Host": "tcp://1.2.3.4:5"}}})
    )
    context.settings["context"] = "remote"
    endpoint = context.endpoint()
    assert endpoint is not None
    assert (endpoint.address, endpoint.port) == ("1.2.3.4", 5)
    context.settings["context"] = "none"
    with pytest.raises(CommandError, match='context "none": context not found'):
        context.endpoint()


def test_credentials_are_kept_in_the_file(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"detachKeys": "ctrl-a", "auths": {}}))
    warning = store(context, "reg:5000", "me", "pw:1", "")
    assert str(path) in warning
    assert path.stat().st_mode & 0o777 == 0o600
    written = json.loads(path.read_text())
    assert written["detachKeys"] == "ctrl-a"
    assert base64.b64decode(written["auths"]["reg:5000"]["auth"]) == b"me:pw:1"
    fresh = Context("rundlet", dict(SETTINGS))
    assert lookup(fresh, "reg:5000") == {"username": "me", "password": "pw:1", "serveraddress": "reg:5000"}
    assert registry_headers(fresh, "reg:5000")["X-Registry-Auth"]
    assert registry_headers(fresh, "other") == {}
    assert erase(fresh, "reg:5000")
    assert not erase(fresh, "reg:5000")
    assert json.loads(path.read_text()) == {"detachKeys": "ctrl-a", "auths": {}}


def test_a_credential_helper(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread -r line\necho "$1 $line" >> ' + str(tmp_path) + "/calls\n"
        '[ "$1" = get ] && echo \'{"ServerURL":"x","Username":"u","Secret":"s"}\'\nexit 0\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "test"}))
    assert store(context, INDEX_SERVER, "u", "s", "") == ""
    assert lookup(context, INDEX_SERVER)["password"] == "s"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("store {")
    assert calls[1] == f"get {INDEX_SERVER}"
    assert "s" not in json.loads((tmp_path / "config.json").read_text())["auths"][INDEX_SERVER]


@pytest.mark.parametrize("auth", [5, "ä", "a", "/w==", "%%%", "YWFh", "OnBhc3M="])
def test_an_entry_that_is_none(context: Context, tmp_path: Path, auth: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"a.b": {"auth": auth}}}))
    with pytest.raises(CommandError, match="invalid auth configuration for a"):
        lookup(context, "a.b")


def test_the_header_is_url_safe() -> None:
    text = encode({"username": "ÿÿÿ", "password": "???>>>"})
    assert json.loads(base64.urlsafe_b64decode(text)) == {"username": "ÿÿÿ", "password": "???>>>"}


def test_an_engine_does_not_inherit_the_callers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_TOKEN", "secret")
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    monkeypatch.setenv("PATH", "/opt/bin")
    environment = engine_environment()
    assert "CI_TOKEN" not in environment
    assert "LD_PRELOAD" not in environment
    assert environment["PATH"].startswith("/opt/bin:")
    assert "/usr/sbin" in environment["PATH"].split(":")


def test_the_engine_is_this_very_code() -> None:
    argv = engine_argv(["--flag"])
    assert argv[1] == "-I"
    assert argv[-1] == "--flag"


def test_systemd_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNDLET_ROOT", "/data/100% mine")
    monkeypatch.setenv("RUNDLET_RUN", "/run/r")
    made = enable.units(user=False)
    service, socket = made["rundlet.service"], made["rundlet.socket"]
    assert "KillMode=process\n" in service
    assert "Delegate=yes\n" in service
    assert '"/data/100%% mine"' in service
    assert "WantedBy=multi-user.target" in service
    assert "ListenStream=/run/r/rundlet.sock\n" in socket
    assert "SocketMode=0660\n" in socket
    assert "WantedBy=default.target" in enable.units(user=True)["rundlet.service"]


def test_words_for_a_shell() -> None:
    assert shell_word("unix:///run/rundlet/rundlet.sock") == "unix:///run/rundlet/rundlet.sock"
    assert shell_word("unix:///it's here") == "'unix:///it'\"'\"'s here'"
