"""What the shells offer."""

import os
import select
import shutil
import subprocess
import termios
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.engines import SOURCE, Engine, rundlet_command, wait_for


def offered(engine: Engine, *words: str) -> tuple[list[str], str]:
    """(names, directive) for the words after the program's name."""
    *found, directive = engine.ok("__complete", *words).splitlines()
    return [line.split("\t")[0] for line in found], directive


def test_commands_and_flags(engine: Engine) -> None:
    assert offered(engine, "container", "st") == (["start", "stats", "stop"], ":4")
    assert {"run", "ps", "network", "engine", "help"} <= set(offered(engine, "")[0])
    assert offered(engine, "run", "--net") == (["--network", "--network-alias"], ":4")
    assert offered(engine, "run", "--restart", "u") == (["unless-stopped"], ":4")
    assert offered(engine, "run", "--restart=u") == (["--restart=unless-stopped"], ":4")
    assert offered(engine, "no-such-command", "") == ([], ":4")
    assert offered(engine, "run", "-v", "") == ([], ":0")
    assert offered(engine, "ps", "--format", "j") == (["json"], ":4")
    assert offered(engine, "ps", "--filter", "st") == (["status="], ":6")
    assert offered(engine, "run", "--log-driver", "l") == (["local"], ":4")
    assert offered(engine, "network", "create", "-d", "m") == (["macvlan"], ":4")
    assert offered(engine, "run", "-e", "DOCKER_H") == (["DOCKER_HOST"], ":4")


def test_what_the_engine_has(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    for words in (("rm", ""), ("exec", "-it", "comp"), ("container", "logs", "-f", "c"), ("run", "--volumes-from", "")):
        assert offered(engine, *words) == (["completed"], ":4"), words
    assert offered(engine, "cp", "c") == (["completed:"], ":2")
    assert offered(engine, "cp", "completed:/etc/hosts", "c") == (["completed:"], ":2")
    assert offered(engine, "start", "c") == ([], ":4"), "it runs already"
    assert offered(engine, "stop", "c") == (["completed"], ":4")
    assert offered(engine, "run", "-it", "--rm", "busy") == (["busybox", "busybox:latest"], ":4")
    assert offered(engine, "run", "busybox", "") == ([], ":0")
    assert offered(engine, "network", "inspect", "h") == (["host"], ":4")
    assert offered(engine, "inspect", "b")[0] == ["busybox", "busybox:latest", "bridge"]
    assert "rundlet" in offered(engine, "run", "--runtime", "")[0]
    engine.ok("volume", "create", "kept")
    assert offered(engine, "volume", "rm", "k") == (["kept"], ":4")
    assert offered(engine, "run", "-v", "k") == (["kept"], ":0")
    engine.ok("volume", "rm", "kept")


def test_contexts(engine: Engine) -> None:
    engine.ok("context", "create", "elsewhere", "--docker", "host=unix:///nowhere")
    for words in (("context", "use", "e"), ("context", "rm", "e"), ("-c", "e"), ("--context", "e")):
        assert offered(engine, *words) == (["elsewhere"], ":4"), words
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    assert offered(engine, "rm", "c") == (["completed"], ":4")
    assert offered(engine, "-c", "elsewhere", "rm", "c") == ([], ":4"), "asked the engine that the line names"
    engine.ok("context", "rm", "elsewhere")


def test_no_engine_is_started_for_it(tmp_path: Path) -> None:
    places = {"RUNDLET_ROOT": f"{tmp_path}/r", "RUNDLET_RUN": f"{tmp_path}/s"}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(SOURCE), **places}
    done = subprocess.run(
        [*rundlet_command(), "__complete", "rm", ""], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (":4\n", "", 0)
    assert not (tmp_path / "s").exists()


class Keyboard:
    """An interactive shell on a terminal of its own, with ``rundlet`` on its PATH."""

    def __init__(self, engine: Engine, tmp_path: Path, *shell: str) -> None:
        program = tmp_path / "rundlet"
        program.write_text("#!/bin/sh\nexec " + " ".join(rundlet_command()) + ' "$@"\n')
        program.chmod(0o755)
        environment = engine.environment({"TERM": "dumb", "PS1": "$ ", "HOME": str(tmp_path), "INPUTRC": "/dev/null"})
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        self._master, terminal = os.openpty()
        termios.tcsetwinsize(self._master, (50, 200))
        self._shell = subprocess.Popen(
            shell,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            cwd=tmp_path,
            start_new_session=True,
        )
        os.close(terminal)
        self._seen = ""

    def type(self, keys: str, until: str) -> str:
        """What came until ``until`` was read."""
        os.write(self._master, keys.encode())
        before = len(self._seen)

        def shown() -> bool:
            while select.select([self._master], [], [], 0)[0]:
                self._seen += os.read(self._master, 4096).decode(errors="replace")
            return until in self._seen[before:]

        wait_for(shown, hint=f"{keys!r} leads to {until!r}")
        return self._seen[before:]

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._master)


def loaded(engine: Engine, tmp_path: Path, shell: str) -> Keyboard:
    """The shell with the script that it was given."""
    need(shell)
    if shell == "bash":
        keyboard = Keyboard(engine, tmp_path, "bash", "--norc", "--noprofile", "-i")
        keyboard.type("alias dock=rundlet; source <(rundlet completion bash); echo rea''dy\n", "ready")
    else:
        keyboard = Keyboard(engine, tmp_path, "zsh", "-f", "-i")
        setup = "unsetopt beep; autoload -U compinit; compinit -u -D; alias dock=rundlet; "
        keyboard.type(setup + "source <(rundlet completion zsh); echo rea''dy\n", "ready")
    return keyboard


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_typed_into_the_shell(engine: Engine, tmp_path: Path, shell: str) -> None:
    """Commands, flags, their values, names, words with colons, and an alias: what is executed is the whole word."""
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    keyboard = loaded(engine, tmp_path, shell)
    try:
        keyboard.type("rundlet container insp\t-f '<{{.Name}}>' comp\t\n", "</completed>")
        keyboard.type("rundlet inspect --typ\timage -f '[{{.Os}}]' busybox:la\t\n", "[linux]")
        keyboard.type("rundlet network inspect --format='({{.Driver}})' hos\t\n", "(host)")
        keyboard.type("dock ps --no-t\t--format '!{{.Names}}!' --filter=stat\trunning\n", "!completed!")
        keyboard.type("rundlet cp compl\t/etc/passwd - | tar xO | head -n 1 | tr a-z A-Z\n", "ROOT:X:0:0")
    finally:
        keyboard.close()


def test_asked_of_fish(engine: Engine, tmp_path: Path) -> None:
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    program = tmp_path / "rundlet"
    program.write_text("#!/bin/sh\nexec " + " ".join(rundlet_command()) + ' "$@"\n')
    program.chmod(0o755)
    environment = engine.environment()
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"

    def completed(line: str) -> list[str]:
        script = f"rundlet completion fish | source; alias dock=rundlet; complete -C '{line}'"
        done = engine.run_command([need("fish"), "--no-config", "-c", script], env=environment)
        assert not done.stderr
        return [item.partition("\t")[0] for item in done.stdout.splitlines()]

    assert completed("rundlet container insp") == ["inspect"]
    assert completed("rundlet rm comp") == ["completed"]
    assert completed("dock rm comp") == ["completed"]
    assert completed("rundlet run --restart=un") == ["--restart=unless-stopped"]
    assert completed("rundlet run busybox:la") == ["busybox:latest"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_their_scripts(engine: Engine, shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(engine.ok("completion", shell) + "\n")
    if shutil.which(shell) is None:
        lacking(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
