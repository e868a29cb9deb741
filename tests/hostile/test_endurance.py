"""What many runs cost for good: nothing. And state of another version, or another engine's, is refused in one line."""

import os
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for
from tests.hostile.test_escapes import parent
from tests.hostile.test_kills import named, zombies

pytestmark = [pytest.mark.root]

RUNS = 120


def size(pid: int) -> tuple[int, int]:
    """Open descriptors, and memory of its own in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    anonymous = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))
    return len(os.listdir(f"/proc/{pid}/fd")), anonymous


@pytest.mark.timeout(180)
def test_runs_leave_no_descriptors_and_no_memory(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.ok("run", "-d", "--name", "long", "busybox", "sleep", "600")

    def work(number: int) -> None:
        if number % 3 == 0:
            engine.ok("exec", "long", "true")
        elif number % 3 == 1:
            engine.ok("run", "--rm", "-e", f"X={'x' * 1000}", "busybox", "true")
        else:
            assert engine.cli("run", "--rm", "busybox", "nothing").returncode == 127

    def runs(count: int) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(count)))

    shim = parent(engine.host_pid("long"))
    runs(RUNS // 2)
    launcher = named(engine, "rundlet-launch")
    before = {pid: size(pid) for pid in (engine.pid, *launcher, shim)}
    runs(RUNS)
    for pid, (descriptors, resident) in before.items():
        wait_for(lambda pid=pid, limit=descriptors: size(pid)[0] <= limit + 2, 5, hint=f"descriptors of {pid}")
        assert size(pid)[1] - resident < RUNS * 20, "more than 20 KiB for each run"
    assert zombies(set(before)) == []


def refusal(engine: Engine) -> str:
    """The one line with which an engine does not start."""
    done = subprocess.run(
        engine.command(), capture_output=True, text=True, timeout=20, check=False, env=engine.environment(), cwd="/"
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_second_engine_on_the_same_root_is_refused(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine(image=False)
    assert engine.layout.root in refusal(engine)
    assert engine.answers()


def test_newer_database_is_refused(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine(image=False)
    engine.terminate()
    path = f"{engine.layout.root}/state.db"
    with sqlite3.connect(path) as database:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute("PRAGMA user_version=99")
    database.close()
    try:
        assert "99" in refusal(engine)
    finally:
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version={found}")
        database.close()
    engine.start()


def test_newer_record_is_refused(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.ok("create", "--name", "made", "busybox", "true")
    engine.terminate()
    record = next(Path(engine.layout.root, "containers").glob("*/record.json"))
    text = record.read_text()
    record.write_text(text.replace('"version":1', '"version":99', 1))
    assert record.read_text() != text
    try:
        assert "99" in refusal(engine)
    finally:
        record.write_text(text)
    engine.start()
    assert engine.ok("ps", "-a", "--format", "{{.Names}}") == "made"


@pytest.mark.parametrize("damage", ["", "{", "null", "[]", '{"version":1}', "\0"])
def test_damaged_record_costs_one_container_at_most(new_engine: Callable[..., Engine], damage: str) -> None:
    """One bad file must not keep all other containers from being served."""
    engine = new_engine()
    engine.ok("create", "--name", "made", "busybox", "true")
    engine.ok("create", "--name", "other", "busybox", "true")
    made = engine.field("made", "{{.Id}}")
    engine.terminate()
    record = Path(engine.layout.root, "containers", made, "record.json")
    text = record.read_text()
    record.write_text(damage)
    engine.start()
    assert engine.ok("ps", "-a", "--format", "{{.Names}}") == "other"
    engine.terminate()
    record.write_text(text)
    engine.start()
    assert engine.ok("start", "-a", "made") == "", "mended, it is whole"
