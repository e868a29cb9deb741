"""The commands and the messages of the pages that are read first, as they stand there."""

import os
import re
import select
import shlex
import socket
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import leaks
from tests.conftest import lacking, need
from tests.engines import Engine, rundlet_command, wait_for

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


def test_coming_from_podman(new_engine: Callable[..., Engine], programs: Path, busybox_tar: Path) -> None:
    """An image of Podman's, and each of our commands in the table."""
    engine = new_engine(image=False)
    podman, own = need("podman"), engine.directory / "podman"  # Podman takes no longer path
    places = ["--root", f"{own}/root", "--runroot", f"{own}/run", "--tmpdir", f"{own}/tmp", "--storage-driver", "vfs"]
    (programs / "podman").write_text(f'#!/bin/sh\nexec {shlex.join([podman, *places])} "$@"\n')
    (programs / "podman").chmod(0o755)
    try:
        run(engine, programs, f"podman import {busybox_tar} busybox")
        run(engine, programs, commands("from-podman.md"))
    finally:
        for mounted in sorted((item for item in leaks.mounts() if str(own) in item), reverse=True):
            subprocess.run(["umount", "-l", mounted.split()[0]], check=False)
    assert engine.ok("run", "--rm", "localhost/busybox", "echo", "moved") == "moved"
    engine.ok("tag", "localhost/busybox", "busybox")
    engine.ok("run", "-d", "--name", "NAME", "busybox", "sleep", "1000")
    rows = [line.rstrip(" |").rpartition(" | ")[2] for line in (DOCS / "from-podman.md").read_text().splitlines()]
    table = [command for row in rows for command in re.findall(r"`((?:rundlet |--)[^`]*)`", row)]
    assert len(table) > 6
    for line in table:
        if line.startswith(("rundlet engine enable", "rundlet-runtime")):
            continue  # the one writes systemd's files, the other is tested with Podman itself
        line_as_run = line.replace("DIR", "/ true").replace("ONE OTHER", "busybox busybox")
        if line == "rundlet image layers":
            line_as_run += " busybox"
        elif line.startswith("--restart"):
            line_as_run = f"rundlet update {line} NAME"
        elif line.startswith("--"):
            line_as_run = f"rundlet run --rm {line} busybox true"
        run(engine, programs, line_as_run)


def test_troubleshooting_commands(new_engine: Callable[..., Engine], programs: Path) -> None:
    """What the machine offers, and an engine in the foreground that tells what it does."""
    engine = new_engine(image=False)
    script = commands("troubleshooting.md")
    asking, _, foreground = script.partition("rundlet engine stop\n")
    assert "running (process" in run(engine, programs, asking)
    assert foreground.strip() == "rundlet engine run --debug"
    pid = engine.pid
    run(engine, programs, "rundlet engine stop")
    wait_for(lambda: engine.gone(pid))
    environment = {**engine.on_demand, "PATH": f"{programs}:{os.environ['PATH']}"}
    with subprocess.Popen(shlex.split(foreground), env=environment, stderr=subprocess.PIPE) as running:
        try:
            assert running.stderr is not None
            said = b""
            while b"listens on" not in said:
                assert select.select([running.stderr], [], [], 60)[0], said
                more = os.read(running.stderr.fileno(), 65536)
                assert more, said
                said += more
        finally:
            running.terminate()


def test_troubleshooting_messages(engine: Engine, port: int) -> None:
    """The first column is what is really said, and the exit codes are those."""
    page = (DOCS / "troubleshooting.md").read_text()

    def told(status: int, message: str, *arguments: str) -> None:
        assert message in page
        done = engine.cli(*arguments)
        assert done.returncode == status and message in done.stderr, done

    told(1, "No such image", "history", "nothing")
    engine.ok("run", "-d", "--name", "one", "-p", f"127.0.0.1:{port}:80", "busybox", "sleep", "1000")
    told(125, "port is already allocated", "run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        there = f"127.0.0.1:{taken.getsockname()[1]}:80"
        told(125, "address already in use", "run", "--rm", "-p", there, "busybox", "true")
    told(1, "is not supported by Rundlet", "swarm", "init")
    for status, command in ((125, "--no-such-flag"), (126, "/etc"), (127, "no-such-program")):
        assert f"{status}" in page
        arguments = ("--no-such-flag",) if status == 125 else ("busybox", command)
        assert engine.cli("run", "--rm", *arguments).returncode == status
    engine.ok("kill", "one")
    assert engine.ok("wait", "one") == "137" and "exit code 137" in page
    assert engine.ok("inspect", "-f", "{{.State.OOMKilled}}", "one") == "false"
    newer = engine.cli("ps", env={"DOCKER_API_VERSION": "1.52"})
    assert re.search(r"client version \S+ is too new", newer.stderr) and "`client version … is too new`" in page


def test_what_is_installed_is_what_the_readme_says() -> None:
    """The extras that pages name exist."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    pages = [path.read_text() for path in (*DOCS.glob("*.md"), DOCS.parent / "README.md")]
    named = {name for page in pages for name in re.findall(r"rundlet\[(\w+)\]", page)}
    assert named and named <= set(project["optional-dependencies"])


def test_a_real_link(engine: Engine, tmp_path: Path) -> None:
    program = Path(rundlet_command()[0])
    if program.name != "rundlet":
        lacking("rundlet is not installed beside this interpreter")
    (tmp_path / "docker").symlink_to(program)
    done = engine.run_command([str(tmp_path / "docker"), "nonsense"])
    assert done.stderr.startswith("docker: unknown command: docker nonsense\n\nRun 'docker --help'")
    missing = engine.run_command([str(tmp_path / "docker"), "run", "--nonsense"])
    assert "Usage:  docker run [OPTIONS]" in missing.stderr
