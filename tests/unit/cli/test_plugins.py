"""Docker's plugins of the command line: what is taken for one, what is said of the others, and how one is run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rundlet.cli import hooks, plugins
from rundlet.cli.context import Context
from rundlet.cli.exit import CommandError
from rundlet.cli.main import main

SOURCE = Path(__file__).resolve().parents[3] / "src"
GOOD = {"SchemaVersion": "0.1.0", "Vendor": "us", "ShortDescription": "Says what it was told"}
Make = Callable[..., Path]
Hint = Callable[[dict[str, object], object], Path]

WHAT_IT_DOES = """
echo "host=$DOCKER_HOST"
echo "again=$DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
for word in "$@"; do echo "word=$word"; done
exit 7
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a program ``docker-NAME`` among the user's plugins, and gives their directory."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(plugins, "MACHINE_DIRECTORIES", ())

    def make(name: str, metadata: object = GOOD, directory: str = "cli-plugins", mode: int = 0o755) -> Path:
        file = tmp_path / directory / f"docker-{name}"
        file.parent.mkdir(exist_ok=True)
        answer = metadata if isinstance(metadata, str) else json.dumps(metadata)
        file.write_text(
            f"#!/bin/sh\nif [ \"$1\" = docker-cli-plugin-metadata ]; then echo '{answer}'; exit; fi\n{WHAT_IT_DOES}"
        )
        file.chmod(mode)
        return file.parent

    return make


def context() -> Context:
    return Context("docker", {"config": "", "host": [], "context": ""})


def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    base = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "RUNDLET_"))}
    base |= {"PYTHONPATH": str(SOURCE), "DOCKER_CONFIG": os.environ["DOCKER_CONFIG"], **environment}
    command = [sys.executable, "-m", "rundlet", *words]
    return subprocess.run(command, env=base, capture_output=True, text=True, check=False, timeout=60)


def test_a_plugin_takes_the_place_of_the_command(make: Make) -> None:
    make("tell")
    done = run("--debug", "tell", "--me", "a b", DOCKER_HOST="unix:///somewhere")
    assert done.returncode == 7
    host, again, *words = done.stdout.splitlines()
    assert host == "host=unix:///somewhere"
    assert again.endswith("__main__.py")
    assert words == ["word=--debug", "word=tell", "word=--me", "word=a b"]


def test_its_help_is_its_own(make: Make) -> None:
    make("tell")
    assert "word=help\nword=tell\n" in run("help", "tell", DOCKER_HOST="unix:///x").stdout
    assert "word=tell\nword=--help\n" in run("tell", "--help", DOCKER_HOST="unix:///x").stdout


def test_help_of_a_noun_is_ours_before_a_verb_that_is_the_plugins(make: Make, tmp_path: Path) -> None:
    make("buildx")
    done = run("--config", str(tmp_path), "buildx", "--help", "create", DOCKER_HOST="unix:///x")
    assert done.stdout.startswith("Usage:  rundlet buildx COMMAND\n")
    whole = ["word=--config", f"word={tmp_path}", "word=--help", "word=buildx", "word=create"]
    done = run("--config", str(tmp_path), "--help", "buildx", "create", DOCKER_HOST="unix:///x")
    assert done.stdout.splitlines()[2:] == whole


def test_our_own_host_is_told(make: Make) -> None:
    make("tell")
    assert "host=unix:///y\n" in run("tell", RUNDLET_HOST="unix:///y").stdout
    # Chosen by a flag, it is among the words.
    assert "host=\n" in run("-H", "unix:///z", "tell", RUNDLET_HOST="unix:///y").stdout


def test_compose_and_verbs_of_buildx(make: Make) -> None:
    make("compose")
    make("buildx")
    assert "word=compose\nword=up" in run("compose", "up", DOCKER_HOST="unix:///x").stdout
    assert "word=buildx\nword=bake" in run("buildx", "bake", DOCKER_HOST="unix:///x").stdout
    assert "Build an image from a Dockerfile" in run("buildx", "build", "--help").stdout


def test_no_plugin_is_an_unknown_command(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make("mute", "{ nothing }")
    for name in ("mute", "nowhere", "Tell", "../tell"):
        assert main(["docker", name]) == 1
        assert f"docker: unknown command: docker {name}\n" in capsys.readouterr().err
    assert main(["docker", "compose"]) == 1
    assert "'docker compose' is not supported" in capsys.readouterr().err
    assert main(["docker", "help", "mute"]) == 1
    assert capsys.readouterr().err == "unknown help topic: mute\n"


def test_info_lists_them(make: Make) -> None:
    directory = make("tell", {**GOOD, "Version": "v1"})
    make("mute", "{ nothing }")
    text = run("info", DOCKER_HOST="unix:///nowhere")
    shown = f" Plugins:\n  tell: Says what it was told (us)\n    Version:  v1\n    Path:     {directory}/docker-tell\n"
    assert shown in text.stdout
    done = run("--debug", "info", "--format", "json", DOCKER_HOST="unix:///nowhere")
    client = json.loads(done.stdout)["ClientInfo"]
    assert client["Plugins"] == [{**GOOD, "Version": "v1", "Name": "tell", "Path": f"{directory}/docker-tell"}]
    assert client["Debug"] is True


def test_directories_in_their_order(make: Make, tmp_path: Path) -> None:
    make("tell")
    extra = make("tell", {**GOOD, "ShortDescription": "the first"}, "extra")
    assert [plugin.summary for plugin in plugins.every(context())] == ["Says what it was told"]
    (tmp_path / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(extra)]}))
    assert [plugin.summary for plugin in plugins.every(context())] == ["the first"]
    found = plugins.find(context(), "tell")
    assert found is not None
    assert found.path == str(extra / "docker-tell")


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("{ nothing }", "invalid metadata: "),
        ([], "invalid metadata: no object"),
        ({"Vendor": "us"}, 'plugin SchemaVersion "" is not valid: must be 0.1.0'),
        ({"SchemaVersion": "9", "Vendor": "us"}, 'plugin SchemaVersion "9" is not valid: must be 0.1.0'),
        ({"SchemaVersion": "0.1.0"}, "plugin metadata does not define a vendor"),
    ],
)
def test_what_describes_itself_badly(make: Make, metadata: object, error: str) -> None:
    make("odd", metadata)
    (plugin,) = plugins.every(context())
    assert plugin.error.startswith(error)
    assert plugins.find(context(), "odd") is None


def test_what_cannot_be_run(make: Make) -> None:
    directory = make("plain", mode=0o644)
    (directory / "docker-directory").mkdir()
    (directory / "docker-UPPER").symlink_to("/bin/true")
    (directory / "docker-failing").symlink_to("/bin/false")
    (directory / "docker-empty").write_text("")
    (directory / "docker-empty").chmod(0o755)
    found = {plugin.name: plugin.error for plugin in plugins.every(context())}
    assert set(found) == {"failing", "empty"}
    assert all(error.startswith("failed to fetch metadata: ") for error in found.values())


def test_the_list_of_commands_names_them(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make("tell")
    make("odd", [])
    make("ps")
    assert main(["docker", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "\n  tell*       Says what it was told\n" in shown
    assert "\nInvalid Plugins:\n  odd         invalid metadata: no object\n" in shown
    assert "ps*" not in shown
    # Without a command the same is a complaint; with an unknown one and --help it is the answer.
    assert main(["docker"]) == 0
    assert capsys.readouterr() == ("", shown)
    assert main(["docker", "nonexistent", "--help"]) == 0
    assert capsys.readouterr().out == shown


def test_one_engine_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docker", "-H", "unix:///x", "-H", "unix:///y", "ps"]) == 125
    expected = 'invalid argument "unix:///y" for "-H, --host" flag: specify only one -H\n'
    assert capsys.readouterr().err.startswith(expected)
    assert main(["docker", "-H", "unix:///x", "-c", "other", "ps"]) == 1
    assert capsys.readouterr().err == "conflicting options: cannot specify both --host and --context\n"


def test_completion_is_the_plugins_own(make: Make) -> None:
    make("tell")
    make("other", {"SchemaVersion": "0.1.0"})
    done = run("__complete", "-D", "tell", "x", "", DOCKER_HOST="unix:///x")
    assert done.stdout.splitlines()[2:] == ["word=__complete", "word=-D", "word=tell", "word=x", "word="]
    assert "word=__completeNoDesc\n" in run("__completeNoDesc", "tell", "").stdout
    assert run("__complete", "te").stdout == "tell\tSays what it was told\n:4\n"
    assert run("__completeNoDesc", "ot").stdout == ":4\n"  # it is no plugin
    assert run("__complete", "other", "").stdout == ":4\n"


def test_a_plugin_knows_more_verbs_of_buildx(make: Make) -> None:
    assert run("__completeNoDesc", "buildx", "").stdout == "build\ndu\nprune\n:4\n"
    make("buildx")
    assert "word=buildx\nword=\n" in run("__complete", "buildx", "").stdout
    assert "--no-cache" in run("__completeNoDesc", "buildx", "build", "--no-c").stdout


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"x": "ps"}, 'not allowed to alias "x" (allowed: builder)\n'),
        ({"builder": "ps"}, 'not allowed to alias with builtin "ps" as target\n'),
        ({"builder": "container ls"}, 'not allowed to alias with builtin "container ls" as target\n'),
    ],
)
def test_aliases_that_must_not_be(
    tmp_path: Path, make: Make, aliases: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make("tell")
    (tmp_path / "config.json").write_text(json.dumps({"aliases": aliases}))
    assert main(["docker", "-H", "unix:///nowhere", "ps"]) == 1
    assert capsys.readouterr().err == message


def test_a_bad_alias_is_told_before_anything_is_done(tmp_path: Path, make: Make) -> None:
    make("tell")
    (tmp_path / "config.json").write_text(json.dumps({"aliases": {"x": "y"}, "plugins": {"tell": {"hooks": "ps"}}}))
    for words in (("ps", "--help"), ("ps", "--nothing"), ("compose", "ps"), ("context", "show")):
        assert on_a_terminal(*words) == 'not allowed to alias "x" (allowed: builder)\n'
    # Nor does it keep the shell from what it can complete.
    assert run("__completeNoDesc", "te").stdout == "tell\n:4\n"


def test_no_hint_makes_a_command_fail(hint: Hint, monkeypatch: pytest.MonkeyPatch) -> None:
    hint({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, NEXT)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    def fail(*_: object) -> None:
        raise CommandError("no hint")

    monkeypatch.setattr(hooks, "run", fail)
    assert main(["docker", *COMMAND]) == 0


def test_a_broken_configuration_is_warned_of_once(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make("tell")
    (tmp_path / "config.json").write_text("{")
    for words in (("builder", "prune", "-f"), ("nothing", "--help")):
        main(["docker", "-H", "unix:///nowhere", *words])
        assert capsys.readouterr().err.count("WARNING: Error parsing config file") == 1


def test_completion_says_nothing_of_an_engine_that_is_none(make: Make) -> None:
    make("tell")
    done = run("__complete", "-c", "none", "tell", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, ":4\n", "")


def test_builder_may_be_another_command(tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make("tell")
    (tmp_path / "config.json").write_text(json.dumps({"aliases": {"builder": "tell"}}))
    done = run("--debug", "builder", "prune", "-f", DOCKER_HOST="unix:///x")
    assert done.stdout.splitlines()[2:] == ["word=--debug", "word=tell", "word=prune", "word=-f"]
    # What `docker buildx install` writes.
    (tmp_path / "config.json").write_text(json.dumps({"aliases": {"builder": "buildx"}}))
    assert main(["docker", "builder", "prune", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage:  docker buildx prune ")


HOOKED = """
[ "$2" = docker-cli-plugin-hooks ] || exit 1
printf '%s\\n' "$1" "$3" "$DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND" > "$DOCKER_CONFIG/asked"
cat "$DOCKER_CONFIG/answer"
"""


def on_a_terminal(*words: str, **environment: str) -> str:
    """What a command that ends by itself writes to a terminal."""
    leader, follower = os.openpty()
    base = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "RUNDLET_"))}
    base |= {"PYTHONPATH": str(SOURCE), "DOCKER_CONFIG": os.environ["DOCKER_CONFIG"], **environment}
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        command = [sys.executable, "-m", "rundlet", *words]
        subprocess.run(command, env=base, stdin=follower, stdout=follower, stderr=follower, check=False, timeout=60)
        os.close(follower)
        said = b""
        try:
            while piece := terminal.read(4096):
                said += piece
        except OSError:
            pass  # the end of a terminal
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def hint(make: Make, tmp_path: Path) -> Callable[[dict[str, object], object], Path]:
    def hint(settings: dict[str, object], answer: object) -> Path:
        file = make("hint") / "docker-hint"
        file.write_text(file.read_text().replace(WHAT_IT_DOES, HOOKED))
        (tmp_path / "config.json").write_text(json.dumps(settings))
        (tmp_path / "answer").write_text(json.dumps(answer))
        return tmp_path / "asked"

    return hint


NEXT = {"Type": 0, "Template": '{{.Name}}: {{flag . "quiet"}} {{flag . "format"}} {{arg . 0}}{{arg . 9}}\nand more'}
ENABLED = {"features": {"hooks": "true"}}
COMMAND = ("context", "inspect", "--format", "x", "default")


def test_a_plugin_hints_at_what_is_next(hint: Hint) -> None:
    asked = hint({"plugins": {"hint": {"hooks": "images,context"}}, **ENABLED}, NEXT)
    answer = json.loads((asked.parent / "answer").read_text())
    answer["Template"] = answer["Template"].replace('{{flag . "quiet"}} ', "")
    (asked.parent / "answer").write_text(json.dumps(answer))
    said = on_a_terminal(*COMMAND)
    assert said == "x\n\x1b[1m\nWhat's next:\x1b[0m\n    inspect: x default\n    and more\n"
    name, told, again = asked.read_text().splitlines()
    assert (name, again.endswith("__main__.py")) == ("hint", True)
    assert json.loads(told) == {"RootCmd": "context", "Flags": {"format": ""}, "CommandError": ""}


def test_switches_and_errors_are_told(hint: Hint) -> None:
    asked = hint({"plugins": {"hint": {"error-hooks": "container ls"}}, **ENABLED}, NEXT)
    said = on_a_terminal("-H", "unix:///nowhere/x", "container", "list", "-a", "--quiet=0")
    assert "    ls: 0  \n    and more\n" in said
    told = json.loads(asked.read_text().splitlines()[1])
    assert told["Flags"] == {"all": "true", "quiet": "false"}
    assert told["CommandError"].startswith("Cannot connect to the Docker daemon")
    asked.unlink()
    on_a_terminal("container", "ls", "--help")
    assert not asked.exists()  # that went well


@pytest.mark.parametrize(
    ("settings", "answer", "environment"),
    [
        ({"plugins": {"hint": {"hooks": "context"}}}, NEXT, {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, NEXT, {"DOCKER_CLI_HOOKS": "false"}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, NEXT, {"DOCKER_CLI_HOOKS": "perhaps"}),
        (
            {"plugins": {"hint": {"hooks": "context"}}},
            NEXT,
            {"DOCKER_CLI_HOOKS": "false", "DOCKER_CLI_HINTS": "true"},
        ),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, NEXT, {"DOCKER_CLI_HINTS": "false"}),
        ({"plugins": None, **ENABLED}, NEXT, {}),
        ({"plugins": {"hint": {"hooks": "con,context ls"}}, **ENABLED}, NEXT, {}),
        ({"plugins": {"hint": {"error-hooks": "context"}}, **ENABLED}, NEXT, {}),
        ({"plugins": {"none": {"hooks": "context"}}, **ENABLED}, NEXT, {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, "no object", {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, {"Type": 1, "Template": "x"}, {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, {"Template": "{{"}, {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, {"Template": '{{flag . "none"}}'}, {}),
        ({"plugins": {"hint": {"hooks": "context"}}, **ENABLED}, {"Template": " \n "}, {}),
    ],
)
def test_nothing_is_said_otherwise(
    hint: Hint, settings: dict[str, object], answer: object, environment: dict[str, str]
) -> None:
    hint(settings, answer)
    assert on_a_terminal(*COMMAND, **environment) == "x\n"


def test_a_variable_has_plugins_asked_and_a_pipe_has_not(hint: Hint) -> None:
    asked = hint({"plugins": {"hint": {"hooks": "context"}}}, {"Template": "try {{.Name}}"})
    assert run(*COMMAND, DOCKER_CLI_HOOKS="1").stdout == "x\n"
    assert not asked.exists()
    for name in ("DOCKER_CLI_HOOKS", "DOCKER_CLI_HINTS"):
        assert on_a_terminal(*COMMAND, **{name: "1"}).endswith("\n    try inspect\n")
