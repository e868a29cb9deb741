"""The engine starts on demand, once, and ends cleanly; two of them live side by side."""

import fcntl
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engines import SOURCE, Engine, alive, rundlet_command, wait_for


@pytest.fixture
def sleeping() -> Iterator[Engine]:
    """Directories for an engine that nobody has started."""
    engine = Engine()
    yield engine
    engine.stop()


def rundlet(engine: Engine, *arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*rundlet_command(), *arguments], env=engine.on_demand, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_command_starts_the_engine_and_the_next_finds_it(sleeping: Engine, busybox_tar: Path) -> None:
    first = rundlet(sleeping, "import", str(busybox_tar), "busybox")
    assert first.returncode == 0, first.stderr
    pid = sleeping.listener()
    second = rundlet(sleeping, "run", "--rm", "busybox", "echo", "here")
    assert (second.returncode, second.stdout) == (0, "here\n"), second.stderr
    assert sleeping.listener() == pid


def test_the_cold_start_is_quick(sleeping: Engine) -> None:
    """What it takes when nothing else does, which is what it computes: a busy machine says nothing about Rundlet."""
    times = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = rundlet(sleeping, "version")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        engine = Path(f"/proc/{sleeping.listener()}/stat").read_text().rpartition(")")[2].split()
        computed = sum(map(int, engine[11:13])) / os.sysconf("SC_CLK_TCK")
        times.append(computed + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if times[-1] <= 0.8:
            return
        assert rundlet(sleeping, "engine", "stop").returncode == 0
    raise AssertionError(f"cold `rundlet version` computed for {', '.join(f'{t:.2f}' for t in times)} s")


def test_ten_command_lines_start_one_engine(sleeping: Engine) -> None:
    started = [
        subprocess.Popen([*rundlet_command(), "version", "--format", "{{.Server.Version}}"], env=sleeping.on_demand,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(10)
    ]  # fmt: skip
    answers = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * 10, answers
    assert len({answer for answer, _ in answers}) == 1
    engines = [name for name in os.listdir("/proc") if name.isdigit() and _is_engine_of(sleeping, name)]
    assert engines == [str(sleeping.listener())]


def test_a_command_waits_for_an_engine_that_comes_back(sleeping: Engine) -> None:
    """Killed, and about to be started again by its launcher: the data root is locked, and nobody listens yet."""
    sleeping.start()
    sleeping.terminate()
    with open(sleeping.layout.lock) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        early = subprocess.Popen([*rundlet_command(), "version"], env=sleeping.on_demand, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        log = Path(sleeping.layout.run, "engine.log")
        wait_for(lambda: log.exists() and "already runs" in log.read_text(), hint="its engine finds the lock taken")
    sleeping.start()
    _, error = early.communicate(timeout=60)
    assert (early.returncode, error) == (0, b"")


def _is_engine_of(engine: Engine, pid: str) -> bool:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return engine.layout.root.encode() in words and b"--ready-fd" in words


def test_an_engine_started_on_demand_keeps_nothing_of_its_caller(sleeping: Engine) -> None:
    done = subprocess.run([*rundlet_command(), "version"], env=sleeping.on_demand | {"SECRET_TOKEN": "1"}, cwd="/tmp",
                          capture_output=True, stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid = sleeping.listener()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert b"SECRET_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getsid(pid) != os.getsid(0)


def test_status_and_stop(sleeping: Engine) -> None:
    assert rundlet(sleeping, "engine", "status").returncode != 0
    rundlet(sleeping, "version")
    status = rundlet(sleeping, "engine", "status")
    assert status.returncode == 0
    assert str(sleeping.listener()) in status.stdout
    pid = sleeping.listener()
    assert rundlet(sleeping, "engine", "stop").returncode == 0
    wait_for(lambda: not alive(pid))
    time.sleep(1.2)
    assert not sleeping.listens(), "a stopped engine stays stopped"


def test_env_points_docker_at_the_engine(sleeping: Engine) -> None:
    done = rundlet(sleeping, "engine", "env")
    assert done.stdout.strip().startswith("export DOCKER_HOST=")
    assert sleeping.socket in done.stdout


def test_the_socket_is_for_root_and_its_group(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine(image=False)
    assert os.stat(engine.socket).st_mode & 0o777 == 0o660
    assert os.stat(engine.socket).st_uid == 0


def test_two_engines_side_by_side(new_engine: Callable[..., Engine], port: int) -> None:
    first, second = new_engine("--bip", "10.214.1.1/24"), new_engine("--bip", "10.214.2.1/24")
    for engine in (first, second):
        engine.ok("run", "-d", "--name", "same", "busybox", "httpd", "-f", "-p", "80")
    assert first.ok("ps", "-q") != second.ok("ps", "-q")
    assert first.field("same", "{{.NetworkSettings.Networks.bridge.IPAddress}}").startswith("10.214.1.")
    assert second.field("same", "{{.NetworkSettings.Networks.bridge.IPAddress}}").startswith("10.214.2.")
    first.ok("rm", "-f", "same")
    assert second.ok("exec", "same", "echo", "untouched") == "untouched"


def test_one_root_has_one_engine(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine(image=False)
    another = Engine(directory=engine.directory)
    another.pidfile = engine.directory / "another-pid"
    with pytest.raises(AssertionError) as caught:
        another.start()
    assert "Traceback" not in str(caught.value)
    assert engine.answers()


def test_sigterm_and_sigint_end_it_cleanly(new_engine: Callable[..., Engine]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        engine = new_engine(image=False)
        pid = engine.pid
        os.kill(pid, number)
        wait_for(lambda engine=engine, pid=pid: engine.gone(pid))  # type: ignore[misc]
        assert not os.path.exists(engine.socket)
        assert not engine.pidfile.exists()
        assert "Traceback" not in engine.log.read_text()
        engine.start()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--no-such-flag"], "unknown flag: --no-such-flag"),
        (["--bip", "nonsense"], "bip"),
        (["--host", "carrier-pigeon://x"], "host"),
        (["--config-file", "/no/such/file"], "/no/such/file"),
        (["--log-level", "loud"], "loud"),
    ],
)
def test_bad_flags_are_refused_with_one_line(flags: list[str], says: str) -> None:
    engine = Engine(flags)
    try:
        done = subprocess.run(
            engine.command(), env=engine.environment(), capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode != 0
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    finally:
        engine.stop()


def test_naming_the_own_engine_starts_it_too(sleeping: Engine) -> None:
    """``eval "$(rundlet engine env)"`` in a shell's profile is no reason for the next command to fail."""
    named = rundlet(sleeping, "engine", "env").stdout.strip().removeprefix("export DOCKER_HOST=")
    assert named == sleeping.host
    done = subprocess.run(
        [*rundlet_command(), "ps", "-q"], env={**sleeping.on_demand, "DOCKER_HOST": named}, capture_output=True,
        text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert alive(sleeping.listener())


def test_what_it_is_asked_instead_of_started(tmp_path: Path) -> None:
    """As dockerd: a wrong flag ends with 125, help and version are no failures; in both ways to start it."""
    places = {"RUNDLET_ROOT": f"{tmp_path}/r", "RUNDLET_RUN": f"{tmp_path}/s"}
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **places}

    def asked(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    for program in ([sys.executable, "-m", "rundlet.daemon"], [*rundlet_command(), "engine"]):
        complaint = "unknown flag: --nonsense\nSee 'rundlet engine run --help'.\n"
        assert asked(*program, "--nonsense") == (125, "", complaint)
        status, shown, _ = asked(*program, "--help")
        assert status == 0 and "Usage:  rundlet engine" in shown
    assert asked(sys.executable, "-m", "rundlet.daemon", "--version")[1].startswith("Rundlet version ")
    assert not (tmp_path / "r").exists()


def test_keys_of_the_configuration_file(tmp_path: Path) -> None:
    engine = Engine()
    (tmp_path / "daemon.json").write_text(
        json.dumps({"bip": "10.214.9.1/24", "debug": True, "insecure-registries": []})
    )
    engine.flags = ["--config-file", str(tmp_path / "daemon.json")]
    engine.start()
    try:
        assert engine.ok("info", "--format", "{{.Debug}}") == "true"
        (tmp_path / "daemon.json").write_text(json.dumps({"no-such-key": 1}))
        engine.terminate()
        with pytest.raises(AssertionError, match="no-such-key"):
            engine.start()
    finally:
        engine.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["before anything", "root/engine.lock", "run/rundlet.sock"])
def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path, number: signal.Signals, stage: str) -> None:
    """In particular no launcher that would start it again."""
    engine = Engine(directory=tmp_path)
    environment = engine.environment()
    del environment["DOCKER_HOST"]
    with engine.log.open("wb") as log:
        process = subprocess.Popen(
            engine.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment
        )
    if "/" in stage:
        wait_for((tmp_path / stage).exists)
    process.send_signal(number)
    assert process.wait(60) in (0, -number, 1)
    said = engine.log.read_text()
    wait_for(lambda: not _processes_with(str(tmp_path)))
    assert not (tmp_path / "run/rundlet.sock").exists()
    assert not engine.pidfile.exists()
    if "/" in stage:
        assert "Traceback" not in said


def test_the_directory_of_a_socket_is_made(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    further = tmp_path / "new/directory/further.sock"
    engine = new_engine("-H", f"unix://{further}", image=False)
    assert further.is_socket()
    assert [stat.S_IMODE(place.stat().st_mode) for place in (further.parent, further)] == [0o711, 0o660]
    engine.terminate()


def _processes_with(word: str) -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(line.decode())
    return found


def test_a_start_that_fails_leaves_no_socket(tmp_path: Path, port: int) -> None:
    taken = socket.create_server(("127.0.0.1", port))
    further = tmp_path / "further.sock"
    (tmp_path / "file").touch()
    for host in (f"tcp://127.0.0.1:{port}", f"unix://{tmp_path}/file/x.sock"):
        engine = Engine(["--tlsverify=false", "-H", f"unix://{further}", "-H", host], directory=tmp_path)
        done = subprocess.run(engine.command(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not further.exists() and not Path(engine.socket).exists()
    taken.close()
    engine = Engine(["--metrics-addr", "256.0.0.1:1"], directory=tmp_path)
    done = subprocess.run(engine.command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and not Path(engine.socket).exists()
