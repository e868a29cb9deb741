"""``cp``, ``export`` and ``commit`` of containers that end, or go, or whose client goes, in the middle."""

import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine, rundlet_command, wait_for

pytestmark = [pytest.mark.root]

MANY = "mkdir /many; i=0; while [ $i -lt 12 ]; do head -c 4000000 /dev/zero > /many/$i; i=$((i+1)); done"


@pytest.fixture
def box(engine: Engine) -> str:
    engine.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", f"{MANY}; echo ready; sleep 600")
    wait_for(lambda: engine.ok("logs", "box") == "ready", 30)
    return "box"


class SlowCopy:
    """``cp - box:/`` of an archive whose end does not come before :meth:`finish`."""

    def __init__(self, engine: Engine) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name in ("first", "second"):
                info = tarfile.TarInfo(name)
                info.size = 1 << 20
                archive.addfile(info, io.BytesIO(bytes(1 << 20)))
        data = out.getvalue()
        self.rest = data[1 << 20 :]
        self.process = engine.popen("cp", "-", "box:/", stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(data[: 1 << 20])
        self.process.stdin.flush()

    def finish(self) -> tuple[int, str]:
        try:
            _, error = self.process.communicate(self.rest, timeout=30)
        except BrokenPipeError:
            error = b""
        return self.process.wait(60), error.decode()


@pytest.fixture
def slow(engine: Engine, box: str) -> Iterator[SlowCopy]:
    copy = SlowCopy(engine)
    wait_for(lambda: engine.cli("exec", box, "test", "-e", "/first").returncode == 0, 20, hint="the copy has begun")
    yield copy
    if copy.process.poll() is None:
        copy.process.kill()
    copy.process.communicate()


def workers(engine: Engine) -> list[int]:
    """The launcher's children that are no shims: what reads and writes files."""
    launcher = int(Path(f"/proc/{engine.host_pid('box')}/stat").read_text().rpartition(")")[2].split()[1])
    parent = int(Path(f"/proc/{launcher}/stat").read_text().rpartition(")")[2].split()[1])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if int(child) != launcher]


def test_container_ends_during_a_copy(engine: Engine, box: str, slow: SlowCopy) -> None:
    engine.ok("kill", box)
    engine.ok("wait", box)
    code, error = slow.finish()
    assert code in (0, 1)
    assert "Traceback" not in error
    # Whole or not at all there: but never in anybody's way.
    engine.ok("start", box)
    engine.ok("rm", "-f", box)


def test_container_is_removed_during_a_copy(engine: Engine, box: str, slow: SlowCopy) -> None:
    engine.ok("rm", "-f", box)
    code, error = slow.finish()
    assert code in (0, 1)
    assert "Traceback" not in error
    assert "No such container" in engine.cli("cp", "box:/first", "-").stderr


def test_client_is_killed_during_a_copy(engine: Engine, box: str, slow: SlowCopy) -> None:
    wait_for(lambda: workers(engine))
    slow.process.kill()
    slow.process.wait()
    wait_for(lambda: not workers(engine), 20, hint="the worker goes with its client")
    engine.ok("stop", "-t", "0", box)
    engine.ok("start", box)


@pytest.mark.parametrize("verb", ["cp", "export", "commit"])
def test_container_is_removed_while_it_is_read(engine: Engine, box: str, tmp_path: Path, verb: str) -> None:
    target = str(tmp_path / "out")
    words = {"cp": ("box:/many", target), "export": ("-o", target, "box"), "commit": ("box", "taken")}[verb]
    reading = engine.popen(verb, *words)
    engine.ok("rm", "-f", box)
    _, error = reading.communicate(timeout=60)
    assert reading.returncode in (0, 1)
    assert "Traceback" not in error.decode()
    if verb == "commit" and reading.returncode == 0:
        assert engine.ok("run", "--rm", "taken", "ls", "/many").count("\n") == 11
        engine.ok("rmi", "taken")
    assert engine.ok("ps", "-aq") == ""


def test_reader_that_stops_reading(engine: Engine, box: str) -> None:
    """Nobody takes the archive: the engine holds no more than its pipes, and goes on for everybody else."""
    export = subprocess.Popen(
        [*rundlet_command(), "export", box], env=engine.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert export.stdout is not None
    export.stdout.read(1 << 16)
    os.kill(export.pid, signal.SIGSTOP)
    assert engine.ok("exec", box, "echo", "on") == "on"
    resident = int(Path(f"/proc/{engine.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert resident < 200 << 20
    export.kill()
    export.communicate()
    wait_for(lambda: not workers(engine), 20, hint="the worker goes with its client")


def test_paths_that_are_not_there(engine: Engine, box: str, tmp_path: Path) -> None:
    for words, message in (
        (("box:/nowhere", "-"), "Could not find the file /nowhere in container box"),
        ((str(tmp_path / "missing"), "box:/"), f"lstat {tmp_path / 'missing'}: no such file or directory"),
        (("box:/many", str(tmp_path / "no" / "deep")), f'directory "{tmp_path / "no"}" does not exist'),
        ((str(tmp_path), "nobody:/"), "No such container: nobody"),
        ((str(tmp_path), "box:"), "destination path can not be empty"),
    ):
        done = engine.cli("cp", *words)
        assert (done.returncode, message in done.stderr) == (1, True), (words, done.stderr)
