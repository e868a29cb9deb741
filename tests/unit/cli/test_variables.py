"""What the environment and config.json add to a command line."""

import json
from pathlib import Path

import pytest

from rundlet.cli import variables
from rundlet.cli.building.query import build_arguments
from rundlet.cli.commands.container import run
from rundlet.cli.commands.image import build
from rundlet.cli.context import Context
from rundlet.cli.exit import CommandError
from rundlet.cli.flags import Parser
from rundlet.cli.main import GLOBAL_FLAGS, main

PROXIES = {
    "default": {"httpProxy": "http://any:3128", "noProxy": "*.inside"},
    "tcp://far:2375": {"httpsProxy": "http://far:3128", "ftpProxy": "", "allProxy": "socks5://far"},
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name in ("RUNDLET_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///engine.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"proxies": PROXIES, "HttpHeaders": {"X-From": "file"}}))
    settings = Parser(GLOBAL_FLAGS)
    settings.parse([])
    return Context("rundlet", settings.values)


def test_the_default_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    one, several = Parser(run.FLAGS), Parser(build.FLAGS)
    monkeypatch.delenv("DOCKER_DEFAULT_PLATFORM", raising=False)
    assert variables.platform(one.values) == ""
    assert variables.platforms(several.values) == []
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert variables.platform(one.values) == "linux/arm64"
    assert variables.platforms(several.values) == ["linux/arm64"]
    one.parse(["--platform="])
    several.parse(["--platform", "linux/amd64,linux/386"])
    assert variables.platform(one.values) == ""
    assert variables.platforms(several.values) == ["linux/amd64", "linux/386"]


def test_proxies_are_those_of_the_engine(context: Context) -> None:
    names = {"HTTP_PROXY": "http://any:3128", "NO_PROXY": "*.inside"}
    assert variables.proxies(context) == names | {key.lower(): value for key, value in names.items()}
    context.settings["host"] = ["tcp://far:2375"]
    assert set(variables.proxies(context)) == {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}


def test_what_is_given_comes_before_a_proxy(context: Context) -> None:
    assert variables.with_proxies(["HTTP_PROXY=mine", "no_proxy"], context) == [
        "HTTP_PROXY=mine",
        "no_proxy",
        "NO_PROXY=*.inside",
        "http_proxy=http://any:3128",
    ]
    assert build_arguments(context, ["http_proxy=mine"])["http_proxy"] == "mine"
    assert build_arguments(context, [])["HTTP_PROXY"] == "http://any:3128"


def test_headers(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert context.session.headers == {"X-From": "file"}
    monkeypatch.setenv("DOCKER_CUSTOM_HEADERS", 'x-one= 1 ,"X-Two=a,b=c"')
    assert variables.headers(context.config) == {"x-one": "1", "X-Two": "a,b=c"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a=b,word", "missing \"=\" in key=value pair: 'word'"),
        ("=x", "value contains a key=value pair with an empty key: '=x'"),
        ('"a', "value must be formatted as comma-separated key=value pairs"),
        ('"a=b\nX-Other: c"', "invalid header"),
    ],
)
def test_headers_that_are_none(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CUSTOM_HEADERS", text)
    with pytest.raises(CommandError, match="Failed to initialize") as caught:
        variables.headers({})
    assert reason in caught.value.message


def test_short_forms_that_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HIDE_LEGACY_COMMANDS", "1")
    assert main(["rundlet", "--help"]) == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ") and line.split()}
    assert {"run", "images", "login", "inspect", "container"} <= shown
    assert not {"attach", "rmi", "tag", "events"} & shown


def test_help_of_help_and_of_what_is_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docker", "help", "--help"]) == 0
    assert capsys.readouterr().out == "Usage:  docker help [command]\n\nHelp about the command\n"
    assert main(["docker", "image", "frob", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage:  docker image COMMAND\n")
