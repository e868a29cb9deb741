"""What the shells offer."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.engines import SOURCE, Engine, rundlet_command


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


def test_what_the_engine_has(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    for words in (("rm", ""), ("exec", "-it", "comp"), ("container", "logs", "-f", "c"), ("run", "--volumes-from", "")):
        assert offered(engine, *words) == (["completed"], ":4"), words
    assert offered(engine, "cp", "c") == (["completed:"], ":0")
    assert offered(engine, "run", "-it", "--rm", "busy") == (["busybox", "busybox:latest"], ":4")
    assert offered(engine, "run", "busybox", "") == ([], ":0")
    assert offered(engine, "network", "inspect", "h") == (["host"], ":4")


def test_no_engine_is_started_for_it(tmp_path: Path) -> None:
    places = {"RUNDLET_ROOT": f"{tmp_path}/r", "RUNDLET_RUN": f"{tmp_path}/s"}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(SOURCE), **places}
    done = subprocess.run(
        [*rundlet_command(), "__complete", "rm", ""], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (":4\n", "", 0)
    assert not (tmp_path / "s").exists()


def test_bash(engine: Engine, tmp_path: Path) -> None:
    engine.ok("run", "-d", "--name", "completed", "busybox", "sleep", "1000")
    program = tmp_path / "rundlet"
    program.write_text("#!/bin/sh\nexec " + " ".join(rundlet_command()) + ' "$@"\n')
    program.chmod(0o755)
    script = """
        source <(rundlet completion bash)
        COMP_WORDS=(rundlet rm comp) COMP_CWORD=2
        _rundlet_complete
        echo "${COMPREPLY[@]}"
    """
    environment = engine.environment()
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    done = subprocess.run([need("bash"), "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "completed\n", done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_their_scripts(engine: Engine, shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(engine.ok("completion", shell) + "\n")
    if shutil.which(shell) is None:
        lacking(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
