"""The commands of the tutorial and of the page for Docker's users, as they stand there."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.engines import Engine, rundlet_command

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands(page: str) -> str:
    """What its shell blocks say, one after the other."""
    return "\nunalias -a\n".join(re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with ``rundlet`` alone."""
    path = tmp_path / "bin" / "rundlet"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {" ".join(rundlet_command())} "$@"\n')
    path.chmod(0o755)
    return path.parent


def run(engine: Engine, programs: Path, script: str) -> str:
    """Stops at the first command that fails; a server that has only just been started is asked again."""
    asking = 'curl() { command curl --retry 60 --retry-delay 1 --retry-all-errors "$@"; }\n'
    environment = {**engine.on_demand, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = engine.run_command(
        ["sh", "-exc", asking + script], env={**environment, "DOCKER_HOST": ""}, cwd=programs.parent, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tutorial(new_engine: Callable[..., Engine], programs: Path) -> None:
    need("curl")
    engine = new_engine()
    script = commands("tutorial.md")
    for port in ("8080", "8081"):
        assert port in script
        script = script.replace(port, free_port())
    lines = run(engine, programs, script).splitlines()
    assert lines[0] == "hello"
    for text in ("It works", "remember", "Built"):
        assert text in lines
    assert lines.count("It works") == 2


def test_coming_from_docker(new_engine: Callable[..., Engine], programs: Path) -> None:
    """An alias, a link, and the official command line."""
    need("docker")
    engine = new_engine()
    shown = run(engine, programs, commands("from-docker.md"))
    assert "hello" in shown
    assert shown.count("CONTAINER ID") == 2
    complaint = engine.run_command([str(programs.parent / "docker"), "nonsense"])
    assert complaint.returncode == 1


def test_a_real_link(engine: Engine, tmp_path: Path) -> None:
    program = Path(rundlet_command()[0])
    if program.name != "rundlet":
        lacking("rundlet is not installed beside this interpreter")
    (tmp_path / "docker").symlink_to(program)
    done = engine.run_command([str(tmp_path / "docker"), "nonsense"])
    assert done.stderr.startswith("docker: unknown command: docker nonsense\n\nRun 'docker --help'")
    missing = engine.run_command([str(tmp_path / "docker"), "run", "--nonsense"])
    assert "Usage:  docker run [OPTIONS]" in missing.stderr
