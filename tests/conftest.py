"""Fixtures of the integration and end-to-end tests: engines, a registry, images, and the check that nothing is left."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import leaks
from tests.engines import Engine
from tools import images
from tools.registry import Registry, running_registry

IN_CI = os.environ.get("CI") == "true"
CHECK_LEAKS = os.environ.get("RUNDLET_LEAK_CHECK") == "1"


# How long an example takes says how busy the machine is, nothing about the code.
settings.register_profile("rundlet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rundlet")


def lacking(reason: str) -> None:
    """Skips with the reason; in CI, where everything has been installed, that is a failure."""
    if IN_CI:
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def need(program: str) -> str:
    """The path of a program, wherever Debian puts it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        lacking(f"{program} is not installed")
    assert path is not None
    return path


def image_or_skip(make: Callable[[], Path]) -> Path:
    try:
        return make()
    except images.UnavailableError as exc:
        lacking(str(exc))
        raise


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root") or "e2e" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="needs root"))


# ── the whole run leaves nothing ─────────────────────────────────────────────────────────────────────────────

_before = pytest.StashKey[leaks.Found]()
_left = pytest.StashKey[list[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell without job control ignores it for what it starts in the background; what we start would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if CHECK_LEAKS:
        session.config.stash[_before] = leaks.snapshot()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if CHECK_LEAKS:
        left = leaks.new_since(session.config.stash[_before])
        session.config.stash[_left] = left
        if left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for item in config.stash.get(_left, []):
        terminalreporter.write_line(f"LEFT BEHIND by this run: {item}", red=True)


# ── images and registries ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def busybox_tar() -> Path:
    return image_or_skip(images.busybox_tar)


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    return image_or_skip(images.debian_tar)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    need("docker-registry")
    with running_registry() as running:
        yield running


@pytest.fixture(scope="module")
def private_registry() -> Iterator[Registry]:
    """One that asks for the user and password of ``tools.registry``."""
    need("docker-registry")
    with running_registry(auth=True) as running:
        yield running


def docker_programs() -> list[str]:
    """Every official command line on PATH, one of each version."""
    found: dict[str, str] = {}
    for directory in os.environ.get("PATH", "").split(":"):
        program = Path(directory, "docker")
        if program.exists() and os.access(program, os.X_OK):
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            if done.returncode == 0 and "Docker version" in done.stdout:
                found.setdefault(done.stdout.split()[2].rstrip(","), str(program))
    return list(found.values())


@pytest.fixture(scope="module", params=docker_programs() or [""], ids=lambda path: path.strip("/").replace("/", "-"))
def docker_cli(request: pytest.FixtureRequest) -> str:
    """Each official docker command line of this machine in turn."""
    if not request.param:
        lacking("no docker command line on PATH")
    return str(request.param)


# ── engines ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def module_engine(busybox_tar: Path) -> Iterator[Engine]:
    """One engine for a file's tests, with the image ``busybox``."""
    engine = Engine()
    try:
        engine.start()
        engine.ok("import", str(busybox_tar), "busybox")
        # What the engine makes once, with its first container, is not a container's.
        engine.ok("run", "--rm", "busybox", "true")
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def engine(module_engine: Engine) -> Iterator[Engine]:
    """The file's engine without containers, before and after the test; the test must leave no trace of its own."""
    before = _per_container(module_engine)
    yield module_engine
    module_engine.remove_containers()
    left = leaks.settle(lambda: sorted(_per_container(module_engine) - before), 5.0)
    assert not left, leaks.report(left)


def _per_container(engine: Engine) -> set[str]:
    """What carries the engine's marks, but for the processes: a test may have killed the engine."""
    return {item for item in leaks.with_marks(engine.marks(), patience=0) if not item.startswith("process:")}


@pytest.fixture
def new_engine(busybox_tar: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines that only this test uses: ``new_engine("--flag", …, image=True)``."""
    engines: list[Engine] = []

    def start(*flags: str, image: bool = True) -> Engine:
        started = Engine(flags)
        engines.append(started)
        started.start()
        if image:
            started.ok("import", str(busybox_tar), "busybox")
        return started

    yield start
    problems = []
    for started in engines:
        try:
            started.stop()
        except AssertionError as exc:
            problems.append(str(exc))
    assert not problems, "\n".join(problems)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
