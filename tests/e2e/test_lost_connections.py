"""An engine and a shim lose their connection, and nothing else: the container runs on, and is the engine's again."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines import Engine, alive, wait_for

from rundlet.linux import pidfd

pytestmark = pytest.mark.slow


def _cut(engine: int, place: str) -> int:
    """End the engine's connections to sockets below ``place``; how many there were."""
    count = 0
    process = pidfd.open(engine)
    try:
        for name in os.listdir(f"/proc/{engine}/fd"):
            with contextlib.suppress(OSError):
                if not os.readlink(f"/proc/{engine}/fd/{name}").startswith("socket:"):
                    continue
                with socket.socket(fileno=pidfd.getfd(process, int(name))) as copy:
                    if str(copy.getpeername()).startswith(place):
                        copy.shutdown(socket.SHUT_RDWR)
                        count += 1
    finally:
        os.close(process)
    return count


def test_a_lost_connection_is_no_exit(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    waiting = "while [ ! -e /go ]; do sleep 0.05; done; echo done; exit 42"
    engine.ok("run", "-d", "--name", "one", "busybox", "sh", "-c", waiting)
    engine.ok("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
    engine.ok("pause", "paused")
    program = engine.host_pid("one")
    killed = engine.kill()
    engine.wait_for_successor(killed)  # which is connected by the shims' names
    running = engine.popen("exec", "-i", "one", "sh", "-c", "echo here; read -r line; exit 7", stdin=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline().strip() == b"here"

    pid = engine.pid
    assert _cut(pid, f"{engine.layout.run}/s/") == 2
    log = Path(engine.layout.run, "launcher.log")  # of an engine that the launcher started
    wait_for(lambda: log.read_text().count("was lost, and made again") == 2, hint="the engine looks again")
    assert engine.pid == pid
    assert alive(program)
    assert engine.field("one", "{{.State.Status}} {{.State.Pid}}") == f"running {program}"
    assert engine.field("paused", "{{.State.Status}}") == "paused"
    assert engine.ok("exec", "one", "echo", "hello") == "hello"
    engine.ok("unpause", "paused")
    engine.ok("rm", "-f", "paused")
    running.communicate(b"line\n", timeout=60)
    assert running.returncode == 7
    waiter = engine.popen("wait", "one")
    engine.ok("exec", "one", "touch", "/go")
    out, _ = waiter.communicate(timeout=60)
    assert out.strip() == b"42"
    assert engine.ok("logs", "one") == "done"
    assert engine.field("one", "{{.State.Status}} {{.State.ExitCode}}") == "exited 42"
