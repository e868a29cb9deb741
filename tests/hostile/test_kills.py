"""SIGKILL for the engine, the launcher, shims and containers at random moments, under load: what is left is true."""

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import leaks
from tests.engines import Engine, alive, wait_for

pytestmark = [pytest.mark.root]

SECONDS = 12.0
WORKERS = 4
CONTAINERS_OWN = {"rundlet-shim", "rundlet-log", "rundlet-dns", "rundlet-proxy"}


def named(engine: Engine, name: str) -> list[int]:
    """This engine's processes of a kind: ``rundlet-launch``, ``rundlet-shim``; "" for containers' own."""
    found = []
    for item in leaks.with_marks(engine.marks(), patience=0):
        if item.startswith("process: "):
            pid = int(item.split()[1])
            try:
                comm = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if comm == name or (not name and not comm.startswith(("rundlet", "python"))):
                found.append(pid)
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def zombies(parents: set[int]) -> list[str]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state == "Z" and int(parent) in parents:
            found.append(text[:60])
    return found


class Load:
    """Workers that run, exec, stop and remove until told to end. What fails while something is killed may fail."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.over = threading.Event()
        self.done = 0
        self.threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a command line hangs"

    def _work(self, number: int) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            name = f"w{number}-{turn}"
            self.engine.cli("run", "--rm", "busybox", "true", timeout=40)
            self.engine.cli("run", "-d", "--name", name, "busybox", "sleep", "600", timeout=40)
            self.engine.cli("exec", name, "true", timeout=40)
            if turn % 2:
                self.engine.cli("rm", "-f", name, timeout=40)
            self.done += 1


class MixedLoad(Load):
    """Besides containers: builds, and images that come from archives and go again."""

    def __init__(self, engine: Engine, archive: Path) -> None:
        super().__init__(engine)
        self._archive = archive

    def _work(self, number: int) -> None:
        work = (super()._work, super()._work, self._build, self._load)[number]
        work(number)

    def _build(self, number: int) -> None:
        context = self.engine.directory / f"context{number}"
        context.mkdir()
        turn = 0
        while not self.over.is_set():
            turn += 1
            (context / "file").write_bytes(os.urandom(100_000))
            (context / "Dockerfile").write_text(
                "FROM busybox\nCOPY file /file\n"
                f"RUN --mount=type=cache,target=/kept cp /file /kept && echo {turn} > /turn\n"
            )
            self.engine.cli("build", "-q", "-t", f"built{turn}", str(context), timeout=40)
            self.engine.cli(
                "run", "--rm", "-v", f"data{turn}:/data", f"built{turn}", "cp", "/file", "/data", timeout=40
            )
            self.engine.cli("commit", f"w0-{turn}", f"committed{turn}", timeout=40)
            if turn % 2:
                self.engine.cli("rmi", "-f", f"built{turn}", timeout=40)
            self.done += 1

    def _load(self, number: int) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            saved = self.engine.directory / f"saved{number}"
            self.engine.cli("import", str(self._archive), f"imported{turn}", timeout=40)
            self.engine.cli("save", "-o", str(saved), f"imported{turn}", timeout=40)
            self.engine.cli("rmi", f"imported{turn}", timeout=40)
            self.engine.cli("load", "-q", "-i", str(saved), timeout=40)
            if turn % 2:
                self.engine.cli("image", "prune", "-f", timeout=40)
            self.done += 1


def check_store(engine: Engine) -> None:
    """What the digests say is there; when all images are removed, so is what they were made of."""
    bring_up(engine)
    engine.remove_containers()
    blobs = Path(engine.layout.content) / "blobs" / "sha256"
    for blob in blobs.iterdir():
        with contextlib.suppress(FileNotFoundError), blob.open("rb") as file:  # it may just be removed
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.name
    for kind in ("builder", "image", "volume"):
        engine.ok(kind, "prune", "-af")
    assert engine.ok("images", "-aq") == engine.ok("volume", "ls", "-q") == ""
    wait_for(lambda: os.listdir(blobs) == [], hint="blobs are gone")
    kept = (engine.layout.snapshots, f"{engine.layout.content}/ingest", f"{engine.layout.root}/builds")
    wait_for(lambda: [os.listdir(path) for path in kept] == [[]] * len(kept), hint="no half-made layer, blob, context")


@pytest.fixture
def victim(new_engine: Callable[..., Engine]) -> Iterator[Engine]:
    engine = new_engine()
    engine.ok("run", "--rm", "busybox", "true")
    yield engine
    bring_up(engine)


def bring_up(engine: Engine) -> None:
    """The engine comes back by itself; only where its launcher was killed before it could do so, by the next start."""
    wait_for(lambda: engine.answers() or not successors(engine), hint="the engine is up, or nobody is left to start it")
    if not engine.answers():
        engine.start()


def successors(engine: Engine) -> list[int]:
    """Who can bring it back: the launcher, or a launcher or engine that has only just begun, under whatever name."""
    found = []
    for item in leaks.with_marks(engine.marks(), patience=0):
        if item.startswith("process: ") and "rundlet.daemon" in item:
            pid = int(item.split()[1])
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() not in CONTAINERS_OWN:
                    found.append(pid)
    return found


def check(engine: Engine) -> None:
    """The engine is up; what it says of each container is so; nothing is half made; everything can be removed."""
    bring_up(engine)
    assert engine.ok("run", "--rm", "busybox", "echo", "works", timeout=20) == "works"

    def true() -> bool:
        for container in engine.ok("ps", "-aq", "--no-trunc").split():
            status, pid = engine.field(container, "{{.State.Status}} {{.State.Pid}}").split()
            if status not in {"created", "running", "exited"} or (status == "running") != alive(int(pid) or -1):
                return False
        return True

    wait_for(true, 10, hint="statuses are true")
    known = set(engine.ok("ps", "-aq", "--no-trunc").split())
    directories = set(os.listdir(f"{engine.layout.root}/containers"))
    assert directories == known
    running = set(engine.ok("ps", "-q", "--no-trunc").split())
    assert len(named(engine, "rundlet-shim")) == len(running)
    wait_for(lambda: len(named(engine, "")) == len(running), 5, hint=f"no process but of {len(running)} containers")
    wait_for(lambda: not zombies({engine.pid, *named(engine, "rundlet-launch")}), 5, hint="no zombies")
    engine.remove_containers()
    assert os.listdir(f"{engine.layout.root}/containers") == []
    assert os.listdir(engine.layout.shim_sockets) == []


def check_layers(engine: Engine) -> None:
    """Of containers that were removed nothing is left: the image's layer only."""
    layers = [name for name in os.listdir(engine.layout.snapshots) if len(name) == 12]
    assert len(layers) == 1, layers


def storm(
    engine: Engine,
    strike: Callable[[random.Random], None],
    pause: tuple[float, float],
    load: Load | None = None,
) -> None:
    chance = random.Random(1)
    with load or Load(engine) as load:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(chance.uniform(*pause))
            strike(chance)
    assert load.done
    check(engine)


@pytest.mark.timeout(180)
def test_engine(victim: Engine) -> None:
    """Six times within seconds is as often as the launcher starts an engine again at once."""
    left = [6]

    def strike(_: random.Random) -> None:
        if left[0] and victim.answers():
            left[0] -= 1
            victim.kill()

    storm(victim, strike, (0.2, 1.5))
    check_layers(victim)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["rundlet-launch", "rundlet-shim", ""], ids=["launcher", "shims", "containers"])
def test_others(victim: Engine, name: str) -> None:
    def strike(chance: random.Random) -> None:
        found = named(victim, name)
        if found:
            kill(chance.choice(found))

    storm(victim, strike, (0.05, 0.5))
    check_layers(victim)


@pytest.mark.timeout(300)
def test_everything(victim: Engine, busybox_tar: Path) -> None:
    left = [4]

    def strike(chance: random.Random) -> None:
        name = chance.choice(["rundlet-launch", "rundlet-shim", "rundlet-shim", "", "engine"])
        if name == "engine":
            if left[0] and victim.answers():
                left[0] -= 1
                victim.kill()
            return
        found = named(victim, name)
        if found:
            kill(chance.choice(found))

    storm(victim, strike, (0.05, 0.8), MixedLoad(victim, busybox_tar))
    check_store(victim)
