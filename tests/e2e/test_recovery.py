"""The engine is killed at any moment; containers run on and the next engine knows everything."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.engines import Engine, alive, wait_for

pytestmark = pytest.mark.slow

LOOP = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done"


def test_twenty_containers_outlive_a_killed_engine(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    names = [f"c{number}" for number in range(20)]
    for name in names[:18]:
        engine.ok("run", "-d", "--name", name, "busybox", "sh", "-c", LOOP)
    # One that ends by itself while no engine is there, one that was stopped before.
    engine.ok("run", "-d", "--name", "c18", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 42")
    engine.ok("run", "-d", "--name", "c19", "busybox", "true")
    engine.ok("wait", "c19")
    processes = {name: engine.host_pid(name) for name in names[:19]}
    creating = threading.Thread(target=lambda: engine.cli("run", "-d", "--name", "half", "busybox", "sleep", "1000"))
    creating.start()
    time.sleep(0.03)
    killed = engine.kill()
    Path(f"/proc/{processes['c18']}/root/go").touch()
    ended_at = time.time()
    wait_for(lambda: not alive(processes["c18"]), hint="a container ends while no engine runs")
    engine.wait_for_successor(killed)
    creating.join(60)

    assert all(alive(processes[name]) for name in names[:18]), "containers went with the engine"
    running = set(engine.ok("ps", "--format", "{{.Names}}").split())
    assert set(names[:18]) <= running <= {*names[:18], "half"}
    assert engine.field("c18", "{{.State.Status}} {{.State.ExitCode}}") == "exited 42"
    finished = engine.ok("inspect", "-f", "{{json .State.FinishedAt}}", "c18")
    assert abs(_seconds(json.loads(finished)) - ended_at) < 2
    assert engine.field("c19", "{{.State.Status}} {{.State.ExitCode}}") == "exited 0"

    before = int(engine.ok("logs", "-n", "1", "c0"))
    wait_for(lambda: int(engine.ok("logs", "-n", "1", "c0")) > before, hint="c0 logs on")
    numbers = [int(word) for word in engine.ok("logs", "c0").split()]
    assert numbers == list(range(len(numbers))), "lines are missing from the log"
    assert engine.ok("exec", "c1", "echo", "still here") == "still here"
    follower = engine.popen("logs", "-f", "-n", "0", "c2")
    assert follower.stdout is not None
    assert follower.stdout.readline().strip().isdigit()
    engine.ok("stop", "-t", "0", "c2")
    follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert engine.field("c2", "{{.State.ExitCode}}") == "137"
    engine.ok("start", "c2")
    assert engine.field("c2", "{{.State.Running}}") == "true"
    # The one that was being created is whole, or is not there: its name and its files are free again.
    if "half" not in engine.ok("ps", "-a", "--format", "{{.Names}}").split():
        engine.ok("create", "--name", "half", "busybox", "true")
    known = set(engine.ok("ps", "-aq", "--no-trunc").split())
    assert set(os.listdir(engine.layout.containers)) == known


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp()


def test_killed_many_times_while_containers_start(new_engine: Callable[..., Engine]) -> None:
    """Whatever the moment: afterwards each name is a whole container or is free."""
    engine = new_engine()
    for number in range(6):
        command = ("run", "-d", "--name", f"n{number}", "busybox", "sleep", "1000")
        starter = threading.Thread(target=engine.cli, args=command)
        starter.start()
        time.sleep(0.02 + 0.025 * number)
        killed = engine.kill()
        engine.wait_for_successor(killed)
        starter.join(60)
        state = engine.cli("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", f"n{number}")
        if state.returncode == 0:
            status, pid = state.stdout.split()
            assert status in {"created", "running", "exited"}
            assert (status == "running") == (pid != "0" and alive(int(pid)))
            engine.ok("rm", "-f", f"n{number}")
        engine.ok("run", "--rm", "--name", f"n{number}", "busybox", "true")


def test_sigterm_leaves_containers_running(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.ok("run", "-d", "--name", "stays", "busybox", "sh", "-c", LOOP)
    pid = engine.host_pid("stays")
    engine.terminate()
    time.sleep(1.5)  # longer than the launcher would take to start another engine
    assert not engine.pidfile.exists() or not alive(engine.pid), "the engine was told to end"
    assert alive(pid)
    engine.start()
    assert engine.host_pid("stays") == pid
    assert engine.ok("exec", "stays", "echo", "reached") == "reached"


def test_a_killed_engine_is_back_within_a_second(new_engine: Callable[..., Engine]) -> None:
    """Begun by then; its imports are the bench's matter. The best of some kills: a busy machine says nothing."""
    engine = new_engine(image=False)
    delays = []
    for _ in range(3):
        start = time.clock_gettime(time.CLOCK_BOOTTIME)
        killed = engine.kill()
        engine.wait_for_successor(killed)
        ticks = Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()[19]
        delays.append(int(ticks) / os.sysconf("SC_CLK_TCK") - start)
    assert min(delays) < 1.0, delays


def read(pid: str | int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def launcher(engine: Engine, *gone: int) -> int:
    """The one that the engine has started itself; waits for it. ``gone``: those that were killed."""
    found: list[int] = []

    def look() -> bool:
        children = [pid for pid in read(engine.pid, f"task/{engine.pid}/children").split() if int(pid) not in gone]
        found[:] = [int(pid) for pid in children if read(pid, "comm").strip() == "rundlet-launch"]
        return bool(found)

    wait_for(look, hint="the engine's launcher")
    return found[0]


def has_started_an_engine(launcher: int) -> bool:
    """Its other children, the workers, still carry its own command; those that ended have none."""
    commands = [read(pid, "cmdline") for pid in read(launcher, f"task/{launcher}/children").split()]
    return any(command and "rundlet.daemon.launcher" not in command for command in commands)


def test_a_killed_launcher_has_a_successor_that_starts_a_killed_engine(new_engine: Callable[..., Engine]) -> None:
    """Without being asked for anything in between: the next request may be hours away."""
    engine = new_engine(image=False)
    first = launcher(engine)
    os.kill(first, signal.SIGKILL)
    second = launcher(engine, first)
    os.kill(second, signal.SIGKILL)
    launcher(engine, first, second)
    engine.wait_for_successor(engine.kill())


def test_a_launcher_killed_while_its_engine_begins(new_engine: Callable[..., Engine]) -> None:
    """The engine that it has started, and that has not greeted it yet, starts another one."""
    engine = new_engine(image=False)
    gone: list[int] = []
    for _ in range(3):
        gone.append(launcher(engine, *gone))
        killed = engine.kill()
        wait_for(partial(has_started_an_engine, gone[-1]), hint="the launcher has started an engine")
        os.kill(gone[-1], signal.SIGKILL)
        engine.wait_for_successor(killed)


def test_what_was_paused_to_be_read_goes_on(new_engine: Callable[..., Engine]) -> None:
    """An engine that is killed while it commits leaves nobody paused; what a user paused stays so."""
    engine = new_engine()
    for name in ("read", "mine"):
        engine.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
        engine.ok("pause", name)
    record = Path(engine.layout.container(engine.ok("inspect", "-f", "{{.Id}}", "read"))) / "record.json"
    engine.terminate()
    kept = json.loads(record.read_text())
    kept["state"]["paused_briefly"] = True
    record.write_text(json.dumps(kept))
    engine.start()
    assert engine.ok("inspect", "-f", "{{.State.Status}}", "read", "mine").split() == ["running", "paused"]
    assert engine.ok("exec", "read", "echo", "alive") == "alive"
    assert "paused_briefly" not in record.read_text()
    engine.ok("rm", "-f", "read", "mine")


def test_a_committing_engine_says_that_it_pauses_for_a_moment(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    script = "head -c 60000000 /dev/urandom > /big; echo made; sleep 1000"
    engine.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    wait_for(lambda: engine.ok("logs", "box") == "made")
    record = Path(engine.layout.container(engine.ok("inspect", "-f", "{{.Id}}", "box"))) / "record.json"
    seen = threading.Event()

    def look() -> None:
        while not seen.is_set():
            if "paused_briefly" in record.read_text():
                seen.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            engine.ok("commit", "box", "copy", timeout=120)
            if seen.is_set():
                break
        assert seen.is_set()
    finally:
        seen.set()
        watcher.join()
    assert "paused_briefly" not in record.read_text()
    engine.ok("rm", "-f", "box")


def test_a_killed_shim_is_an_exit(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.ok("run", "-d", "--name", "orphan", "busybox", "sleep", "1000")
    init = engine.host_pid("orphan")
    shim = int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    wait_for(lambda: engine.field("orphan", "{{.State.Running}}") == "false", hint="the engine notices")
    wait_for(lambda: not alive(init), hint="the container went with its shim")
    assert os.listdir(engine.layout.shim_sockets) == [engine.field("orphan", "{{.Id}}")[:12]]
    engine.ok("rm", "orphan")
    assert os.listdir(engine.layout.shim_sockets) == []


def test_a_killed_shim_whose_container_would_not_go_with_it(new_engine: Callable[..., Engine]) -> None:
    """The kernel forgets who is to die with whom when a set-user-ID program is executed (or a confined one)."""
    engine = new_engine()
    own = "mkdir /s; cp /bin/busybox /s/sleep; chmod 4755 /s/sleep; echo u:x:7:7::/: >> /etc/passwd"
    engine.ok("run", "-d", "--name", "orphan", "busybox", "sh", "-c", f"{own}; exec su -s /s/sleep u 1000")
    init = engine.host_pid("orphan")
    wait_for(lambda: Path(f"/proc/{init}/cmdline").read_bytes().startswith(b"sleep"), hint="the program is executed")
    shim = int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1])
    pid = engine.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(shim, signal.SIGKILL)
        wait_for(lambda: not alive(shim), hint="the shim is gone")
        assert alive(init)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not alive(init), hint="the engine ends it")
    wait_for(lambda: engine.field("orphan", "{{.State.ExitCode}}") == "137", hint="that is an exit")
    engine.ok("rm", "orphan")


def test_newer_state_is_refused_with_one_line(new_engine: Callable[..., Engine]) -> None:
    import sqlite3

    engine = new_engine(image=False)
    engine.terminate()
    with sqlite3.connect(engine.layout.database) as database:
        database.execute("PRAGMA user_version = 9999")
    database.close()
    with pytest.raises(AssertionError) as caught:
        engine.start()
    assert "newer" in str(caught.value)
    assert "Traceback" not in str(caught.value)
