"""The command line as a whole: names, messages, exit codes, help, and what is imported."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rundlet.api import versions
from rundlet.cli import catalog, paths
from rundlet.cli.main import _DOCKER, main
from rundlet.util.layout import Layout

Output = pytest.CaptureFixture[str]


def every_module() -> list[str]:
    nouns = [f"{noun}.{verb}".replace(" ", ".") for noun, (_, verbs) in catalog.NOUNS.items() for verb in verbs]
    return sorted({*nouns, *catalog.SHORT_FORMS.values()})


@pytest.mark.parametrize("name", every_module())
def test_every_command_is_there_and_explains_itself(name: str, capsys: Output) -> None:
    module = __import__(f"rundlet.cli.commands.{catalog.SAME_AS.get(name, name)}", fromlist=("run",))
    assert module.ARGS[0] >= 0
    letters = [flag[1] for flag in module.FLAGS if flag[1]]
    assert len(letters) == len(set(letters))
    assert main(["rundlet", *name.split("."), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage:  rundlet {name.replace('.', ' ')}")
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["x"], 1, "rundlet: unknown command: rundlet x\n\nRun 'rundlet --help' for more information\n"),
        (
            ["rnu"],
            1,
            "unknown command: rundlet rnu\n\nRun 'rundlet --help' for more information\nDid you mean 'rundlet run'?",
        ),
        (["container", "stpo"], 1, "Did you mean 'rundlet container stop'?"),
        (["swarm"], 1, "rundlet: 'rundlet swarm' is not supported by Rundlet"),
        (["--xx", "ps"], 125, "unknown flag: --xx\n\nUsage:  rundlet [OPTIONS] COMMAND [ARG...]"),
        (
            ["run", "--x"],
            125,
            "unknown flag: --x\n\nUsage:  rundlet run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"
            "Run 'rundlet run --help' for more information\n",
        ),
        (["run", "--detahc", "x"], 125, "Did you mean '--detach'?"),
        (
            ["run"],
            1,
            "rundlet: 'rundlet run' requires at least 1 argument\n\n"
            "Usage:  rundlet run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'rundlet run --help' for more information\n",
        ),
        (["ps", "x"], 1, "rundlet: 'rundlet ps' accepts no arguments"),
        (["tag", "x"], 1, "rundlet: 'rundlet tag' requires 2 arguments"),
        (["volume", "create", "a", "b"], 1, "'rundlet volume create' requires at most 1 argument"),
        (["port"], 1, "requires at least 1 and at most 2 arguments"),
        (["help", "xx"], 1, "unknown help topic: xx"),
        (["pull", "BAD"], 1, "invalid reference format: repository name (library/BAD) must be lowercase"),
        (["pull", "-a", "x:1"], 1, "tag can't be used with --all-tags/-a"),
        (
            ["-H", "foo://x", "ps"],
            1,
            "Failed to initialize: unable to resolve docker endpoint: invalid bind address format",
        ),
        (["-H", "unix:///nonexistent/s", "ps"], 1, "Cannot connect to the Docker daemon at unix:///nonexistent/s."),
        (["-H", "unix:///nonexistent/s", "run", "x"], 125, "rundlet: Cannot connect to the Docker daemon"),
        (["ps", "--help", "--bogus"], 125, "unknown flag: --bogus"),
        (["ps", "--help=false", "x"], 1, "rundlet: 'rundlet ps' accepts no arguments"),
        (["container", "-D", "ls"], 125, "unknown shorthand flag: 'D' in -D\n\nUsage:  rundlet container\n"),
        (["help", "container", "ls", "xx"], 1, "unknown help topic: xx\n"),
        (["help", "ps", "--xx"], 125, "unknown flag: --xx\n\nUsage:  rundlet help [command]\n"),
        (["run", ""], 125, "rundlet: invalid reference format\n"),
        (["create", ""], 1, "invalid reference format\n"),
        (["stop", "--time=1", "-t=2", "c"], 1, "conflicting options: cannot specify both --timeout and --time\n"),
        (["cp", "", "c:/"], 1, "source can not be empty\n"),
        (["cp", "c:/", ""], 1, "destination can not be empty\n"),
        (["network", "rm", ""], 1, "invalid network name or ID: value is empty\n"),
        (["network", "inspect", ""], 1, "invalid network name or ID: value is empty\n"),
        (["network", "connect", "n", ""], 1, "invalid container name or ID: value is empty\n"),
        (["network", "disconnect", "", "c"], 1, "invalid network name or ID: value is empty\n"),
        (["volume", "rm", ""], 1, "invalid volume name or ID: value is empty\n"),
        (["inspect", "--type", "network", ""], 1, "invalid network name or ID: value is empty\n"),
        (["inspect", ""], 1, "invalid container name or ID: value is empty\n"),
        (["image", "inspect", ""], 1, "Error: No such image: \n"),
        (["image", "rm", ""], 1, "Error: No such image: \n"),
        (["image", "rm", "--force", " "], 0, "Error: No such image:  \n"),
        (["history", ""], 1, "Error: No such image: \n"),
        (["image", "layers", ""], 1, "Error: No such image: \n"),
        (["image", "diff", "", "b"], 1, "Error: No such image: \n"),
        (["image", "diff", "a", ""], 1, "Error: No such image: \n"),
        (["volume", "update", ""], 1, "invalid volume name or ID: value is empty\n"),
        (["commit", ""], 1, "invalid container name or ID: value is empty\n"),
        (["update", "--kernel-memory", "5m", "c"], 1, "--kernel-memory is not supported by Rundlet\n"),
        (["--context", "nope", "ps"], 1, 'context "nope": context not found'),
    ],
)
def test_complaints(words: list[str], code: int, message: str, capsys: Output) -> None:
    assert main(["rundlet", *words]) == code
    assert message in capsys.readouterr().err


def test_called_docker_it_says_docker(capsys: Output) -> None:
    assert main(["/usr/local/bin/docker", "x"]) == 1
    assert capsys.readouterr().err.startswith("docker: unknown command: docker x")


def test_help(capsys: Output) -> None:
    assert main(["rundlet", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage:  rundlet [OPTIONS] COMMAND\n")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert main(["rundlet", "help", "ps"]) == 0
    assert capsys.readouterr().out.startswith("Usage:  rundlet ps [OPTIONS]\n\nList containers\n\nAliases:\n")
    assert main(["rundlet", "--version"]) == 0
    assert capsys.readouterr().out.startswith("Rundlet version ")


def test_the_socket_is_where_the_engine_makes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNDLET_RUN", f"{tmp_path}/run")
    monkeypatch.setenv("RUNDLET_ROOT", f"{tmp_path}/root")
    layout = Layout(paths.data_root(), paths.run_directory())
    assert layout.engine_socket == paths.engine_socket() == f"{tmp_path}/run/rundlet.sock"
    assert layout.start_lock == f"{tmp_path}/run/start.lock"


SLOW = (
    "argparse",
    "asyncio",
    "http.client",
    "json",
    "re",
    "enum",
    "socket",
    "dataclasses",
    "typing",
    "subprocess",
    "urllib",
)


@pytest.mark.parametrize(
    ("words", "of"),
    [
        (["--help", "ps"], "ps [OPTIONS]"),
        (["--help", "container", "ls"], "container ls [OPTIONS]"),
        (["--help", "nothing"], "[OPTIONS] COMMAND"),
        (["container", "--help", "ls"], "container ls [OPTIONS]"),
        (["container", "--help", "nothing"], "container COMMAND"),
        (["trust", "key", "--help", "generate"], "trust key generate NAME"),
        (["help", "help"], "help [command]"),
        (["help", "--help"], "help [command]"),
    ],
)
def test_help_before_a_command(words: list[str], of: str, capsys: Output) -> None:
    assert main(["rundlet", *words]) == 0
    assert capsys.readouterr().out.startswith(f"Usage:  rundlet {of}\n")


@pytest.mark.parametrize("words", [["ps", "-h"], ["ps", "-qh"], ["container", "-h"], ["help", "-h"]])
def test_the_old_letter_for_help(words: list[str], capsys: Output) -> None:
    assert main(["rundlet", *words]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("Flag shorthand -h has been deprecated, use --help\nUsage:  rundlet ")
    assert output.err == ""


def test_a_version_is_told_where_no_command_is(capsys: Output) -> None:
    assert main(["docker", "--version", "nothing"]) == 0
    assert capsys.readouterr().out.startswith("Docker version ")
    assert main(["docker", "-v", "-H", "unix:///nonexistent/s", "ps"]) == 1
    assert "Cannot connect" in capsys.readouterr().err


def test_what_is_found_is_a_list_also_where_nothing_answers(capsys: Output) -> None:
    for words in (["inspect", "a", "b"], ["network", "inspect", "a"], ["inspect", "--type", "plugin", "a"]):
        assert main(["rundlet", "-H", "unix:///nonexistent/s", *words]) == 1
        output = capsys.readouterr()
        assert output.out == "[]\n"
        assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["ps"], ["run", "--rm", "-p", "1:2", "-e", "A=b", "-v", "/a:/b", "image", "true"], ["exec", "c", "x"]]
)
def test_the_hot_path_imports_nothing_slow(words: list[str], tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "src"
    program = (
        f"import sys; sys.path.insert(0, {str(source)!r})\n"
        "from rundlet.cli.main import main\n"
        f"main(['rundlet', '-H', 'unix://{tmp_path}/none', *{words!r}])\n"
        f"print(*[name for name in {SLOW!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path)},
    )
    assert done.stdout.strip() == ""
    assert "Cannot connect" in done.stderr


def test_a_directory_of_another_user_is_no_place_for_the_socket(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    for name in ("RUNDLET_RUN", "RUNDLET_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 65123)
    monkeypatch.setattr(os, "lstat", lambda _path: os.stat("/"))
    assert main(["rundlet", "ps"]) == 1
    error = capsys.readouterr().err
    assert "/tmp/rundlet-65123 is not a private directory of yours" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("verb", "code", "prefix"), [("run", 125, "rundlet: "), ("create", 1, "")])
def test_an_engine_that_refuses(verb: str, code: int, prefix: str, tmp_path: Path, capsys: Output) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection = listener.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 409 Conflict\r\nContent-Length: 19\r\n\r\n{"message":"taken"}')

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["rundlet", "-H", f"unix://{path}", verb, "x"]) == code
        thread.join()
    assert capsys.readouterr().err.startswith(f"{prefix}Error response from daemon: taken\n")


@pytest.mark.parametrize(("verb", "code", "prefix"), [("run", 125, "rundlet: "), ("create", 1, "")])
def test_an_id_that_can_not_be_written(verb: str, code: int, prefix: str, tmp_path: Path) -> None:
    """The disk is full, as far as the command line can tell."""
    path, file = f"{tmp_path}/s", tmp_path / "id"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection = listener.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{"Id":"abc"}')

        thread = threading.Thread(target=answer)
        thread.start()
        script = f"ulimit -f 0; exec {sys.executable} -m rundlet -H unix://{path} {verb} --cidfile {file} x"
        source = str(Path(__file__).resolve().parents[3] / "src")
        environment = {**os.environ, "PYTHONPATH": source, "DOCKER_CONFIG": str(tmp_path)}
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        thread.join()
    message = f"{prefix}failed to write the container ID to the file: write {file}: file too large\n"
    assert (done.returncode, done.stderr[: len(message)]) == (code, message)
    assert not file.exists()


def test_the_release_of_docker_is_one() -> None:
    """The command line imports nothing of the API: the release stands twice."""
    assert _DOCKER == versions.RELEASE
