"""The same tests through every command line: Rundlet's own and each official one that this machine has."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import docker_programs
from tests.engines import Done, Engine, rundlet_command, succeeded
from tests.ociruntime import Runtime, write_program
from tests.rootless import Person


class Client:
    """A command line that talks to one engine."""

    def __init__(self, engine: Engine, program: str) -> None:
        self.engine = engine
        self.program = program

    @property
    def official(self) -> bool:
        return bool(self.program)

    @property
    def older(self) -> bool:
        """Debian 12's command line, which lacks some checks and flags; ``docs/docker-cli.md`` lists them."""
        if not self.official:
            return False
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True)
        return " 20.10." in done.stdout

    def command(self, *arguments: str) -> list[str]:
        return [*([self.program] if self.official else rundlet_command()), *arguments]

    def __call__(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60) -> Done:
        if self.official:
            return self.engine.docker(*arguments, binary=self.program, stdin=stdin, timeout=timeout)
        return self.engine.cli(*arguments, stdin=stdin, timeout=timeout)

    def ok(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60) -> str:
        return succeeded(self(*arguments, stdin=stdin, timeout=timeout))


@pytest.fixture(params=["", *docker_programs()], ids=lambda path: path.strip("/").replace("/", "-") or "rundlet")
def client(request: pytest.FixtureRequest, engine: Engine) -> Client:
    return Client(engine, str(request.param))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory that any user may enter, for bind mounts."""
    os.chmod(tmp_path, 0o755)
    return tmp_path


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """An ordinary user, with ranges of users for containers, of one file's tests."""
    made = Person()
    try:
        assert made.has_ranges()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rundlet-runtime``."""
    path = tmp_path_factory.mktemp("bin") / "rundlet-runtime"
    write_program(path)
    return path


@pytest.fixture(scope="module")
def rootfs(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rootfs")
    with tarfile.open(busybox_tar) as archive:
        archive.extractall(path, filter="fully_trusted")
    path.chmod(0o755)
    return path


@pytest.fixture
def runtime(program: Path, rootfs: Path, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(program, rootfs, tmp_path)
    yield made
    made.clean_up()
