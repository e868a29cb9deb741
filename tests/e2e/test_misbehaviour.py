"""Containers that misbehave, and clients that do."""

import contextlib
import os
import pty
import re
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.engines import Engine, rundlet_command, wait_for


def test_a_fork_bomb_ends_at_its_limit(engine: Engine) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    engine.ok("run", "-d", "--name", "bomb", "--pids-limit", "40", "busybox", "sh", "-c", bomb)
    wait_for(
        lambda: int(engine.cgroup("bomb", "pids", "pids.current")) >= 30 or "fork" in engine.cli("logs", "bomb").stderr
    )
    assert int(engine.cgroup("bomb", "pids", "pids.current")) <= 40
    assert engine.ok("run", "--rm", "busybox", "echo", "others live") == "others live"
    engine.ok("rm", "-f", "bomb")


def test_closed_output_and_ignored_signals(engine: Engine) -> None:
    script = "trap '' TERM; echo last; exec >&- 2>&-; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "deaf", "busybox", "sh", "-c", script)
    wait_for(lambda: engine.ok("logs", "deaf") == "last")
    assert engine.field("deaf", "{{.State.Status}}") == "running"
    begun = time.monotonic()
    engine.ok("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - begun < 20
    assert engine.field("deaf", "{{.State.ExitCode}}") == "137"


def test_the_log_of_a_flood_has_an_end(engine: Engine) -> None:
    """What ``logs`` shows is what was there when it was asked, however fast more comes."""
    engine.ok("run", "-d", "--name", "flood", "--log-opt", "max-size=20m", "--log-opt", "max-file=3", "busybox", "yes")
    wait_for(lambda: engine.ok("logs", "-n", "2", "flood") == "y\ny")
    for count in (3, 500):
        assert engine.ok("logs", "-n", str(count), "flood").splitlines() == ["y"] * count
    engine.ok("rm", "-f", "flood")


def test_it_dies_while_it_is_attached_executed_in_and_copied(engine: Engine, tmp_path: Path) -> None:
    engine.ok(
        "run", "-d", "--name", "short", "busybox", "sh", "-c", "head -c 80000000 /dev/zero > /big; exec sleep 1000"
    )
    wait_for(lambda: engine.ok("exec", "short", "stat", "-c", "%s", "/big") == "80000000")
    attached = engine.popen("attach", "--sig-proxy=false", "short")
    executed = engine.popen("exec", "short", "sleep", "1000")
    wait_for(lambda: len(engine.ok("top", "short").splitlines()) == 3)
    copied = engine.popen("cp", "short:/big", str(tmp_path / "big"))
    engine.ok("kill", "short")
    for one in (attached, executed, copied):
        one.communicate(timeout=60)
    assert (attached.returncode, executed.returncode) == (137, 137)
    assert engine.ok("wait", "short") == "137"
    engine.ok("rm", "short")


def test_two_remove_it_at_once(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "wanted", "busybox", "sleep", "1000")
    both = [engine.popen("rm", "-f", "wanted") for _ in range(2)]
    ends = [one.communicate(timeout=60) and one.returncode for one in both]
    assert 0 in ends
    assert engine.cli("inspect", "wanted").returncode == 1


def test_several_attached_clients_see_the_same(engine: Engine) -> None:
    script = 'while read line; do echo "got $line"; [ $line = end ] && exit 4; done'
    engine.ok("run", "-d", "-i", "--name", "shared", "busybox", "sh", "-c", script)
    watchers = [engine.popen("attach", "--no-stdin", "shared") for _ in range(3)]
    vanished = engine.popen("attach", "--no-stdin", "shared")
    wait_for(
        lambda: (
            engine.ok(
                "events",
                "--since",
                "0",
                "--until",
                f"{time.time():.6f}",
                "--filter",
                "event=attach",
                "--filter",
                "container=shared",
                "--format",
                "x",
            ).count("x")
            == 4
        )
    )
    vanished.kill()
    vanished.communicate()
    writer = engine.popen("attach", "--sig-proxy=false", "shared", stdin=subprocess.PIPE)
    assert writer.stdin is not None
    writer.stdin.write(b"one\ntwo\nend\n")
    writer.stdin.flush()
    expected = "got one\ngot two\ngot end\n"
    assert writer.wait(60) == 4  # before its input ends, which would end the attachment
    for one in (writer, *watchers):
        output, _ = one.communicate(timeout=60)
        assert (one.returncode, output.decode()) == (4, expected)


def test_a_client_that_stands_still_stops_nobody_and_misses_nothing(engine: Engine) -> None:
    """More than every buffer on the way holds, and than a limit on memory would allow."""
    lines = 1_000_000
    script = f"seq {lines}; echo to the end >&2; exit 5"
    still = engine.popen("run", "--name", "ahead", "--log-driver", "none", "busybox", "sh", "-c", script)
    other = engine.popen("run", "--rm", "busybox", "echo", "beside it")
    assert other.communicate(timeout=60)[0] == b"beside it\n"
    wait_for(lambda: engine.cli("inspect", "-f", "{{.State.Status}}", "ahead").stdout.strip() == "exited", 120)
    output, errors = still.communicate(timeout=120)
    assert output == b"".join(b"%d\n" % number for number in range(1, lines + 1))
    assert (errors, still.returncode) == (b"to the end\n", 5)


def on_a_terminal(engine: Engine, *arguments: str) -> tuple[int, "subprocess.Popen[bytes]"]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*rundlet_command(), *arguments],
        stdin=slave, stdout=slave, stderr=slave, env=engine.environment(), start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    return master, process


def read_until(master: int, wanted: bytes, seconds: float = 30) -> bytes:
    """Everything up to ``wanted``."""
    os.set_blocking(master, False)
    found = b""
    deadline = time.monotonic() + seconds
    while wanted not in found:
        assert time.monotonic() < deadline, found[-500:]
        try:
            found += os.read(master, 65536)
        except BlockingIOError:
            time.sleep(0.01)
    return found


def write(master: int, data: bytes, drain: bool = False) -> bytes:
    """All of it; with ``drain`` what comes back meanwhile is read, as a terminal does."""
    os.set_blocking(master, False)
    found = b""
    deadline = time.monotonic() + 60
    while data:
        assert time.monotonic() < deadline
        try:
            data = data[os.write(master, data) :]
        except BlockingIOError:
            time.sleep(0.002)
        if drain:
            try:
                found += os.read(master, 1 << 16)
            except BlockingIOError:
                pass
    return found


def test_a_paste_of_a_megabyte_arrives_whole(engine: Engine) -> None:
    script = "stty raw -echo; echo ready; head -c 1000000 | md5sum; echo over"
    master, process = on_a_terminal(engine, "run", "--rm", "-it", "--name", "pasted", "busybox", "sh", "-c", script)
    try:
        read_until(master, b"ready")
        line = b"0123456789" * 7 + b"abcdefg\r\n\t\n"
        data = (line * (1_000_000 // len(line) + 1))[:1_000_000]
        found = write(master, data, drain=True) + read_until(master, b"over")
        import hashlib

        assert hashlib.md5(data).hexdigest().encode() in found
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_detach_keys_of_the_configuration(engine: Engine) -> None:
    directory = engine.directory / "docker-config"
    directory.mkdir(exist_ok=True)
    settings = directory / "config.json"
    settings.write_text('{"detachKeys": "ctrl-x,d"}')
    try:
        master, process = on_a_terminal(engine, "run", "-it", "--name", "kept", "busybox", "sh")
        read_until(master, b"# ")
        write(master, b"\x18d")
        assert process.wait(60) == 0
        os.close(master)
        assert engine.field("kept", "{{.State.Status}}") == "running"
        # The flag goes over the file.
        master, process = on_a_terminal(engine, "attach", "--detach-keys", "ctrl-e", "kept")
        wait_for(
            lambda: (
                engine.ok(
                    "events",
                    "--since",
                    "0",
                    "--until",
                    f"{time.time():.6f}",
                    "--filter",
                    "container=kept",
                    "--format",
                    "{{.Action}}",
                ).count("attach")
                == 2
            )
        )
        write(master, b"\x05")
        read_until(master, b"read escape sequence")
        assert process.wait(60) == 1
        os.close(master)
        assert engine.field("kept", "{{.State.Status}}") == "running"
        assert re.search(
            r"detach\b",
            engine.ok(
                "events",
                "--since",
                "0",
                "--until",
                f"{time.time():.6f}",
                "--filter",
                "container=kept",
                "--format",
                "{{.Action}}",
            ),
        )
    finally:
        settings.unlink()


def connected(engine: Engine) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(engine.socket)
    return client


def pings(client: socket.socket) -> bool:
    client.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
    return client.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_more_clients_than_descriptors(new_engine: Callable[..., Engine]) -> None:
    """Those that are in are served, the others wait, the log stays short; and then all is as before."""
    engine = new_engine(image=False)
    free = 8
    limit = len(os.listdir(f"/proc/{engine.pid}/fd")) + free
    with connected(engine) as first, contextlib.ExitStack() as crowd:
        assert pings(first)
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(5 * free):
            crowd.enter_context(connected(engine))
        wait_for(lambda: engine.log.read_text().count("new clients have to wait") > 1, hint="the engine tries again")
        assert pings(first)
        assert len(engine.log.read_text().splitlines()) < 100, engine.log.read_text()[:3000]
        assert "Traceback" not in engine.log.read_text()
        crowd.close()
        with connected(engine) as last:
            assert pings(last)
