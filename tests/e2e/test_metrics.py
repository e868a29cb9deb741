"""What the engine counts, as Prometheus reads it."""

import contextlib
import http.client
import os
import random
import re
import socket
import subprocess
from collections.abc import Callable

import pytest
from tests.engines import Engine, wait_for

from rundlet.util.layout import Layout

NewEngine = Callable[..., Engine]


@pytest.fixture
def port() -> int:
    """A free one."""
    while True:
        number = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number


def ask(port: int, method: str = "GET", path: str = "/metrics") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def values(port: int) -> dict[str, float]:
    lines = [line for line in ask(port)[2].splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics(new_engine: NewEngine, port: int) -> None:
    engine = new_engine("--metrics-addr", f"127.0.0.1:{port}")
    engine.ok("network", "create", "own")
    engine.ok("run", "-d", "--name", "box", "--health-cmd", "false", "--health-interval", "200ms", "busybox", "top")
    engine.ok("create", "--name", "idle", "busybox", "true")
    engine.ok("network", "connect", "own", "box")
    actions = "engine_daemon_container_actions_seconds"
    wait_for(lambda: values(port)["engine_daemon_health_checks_failed_total"] >= 2)
    found = values(port)
    assert found["engine_daemon_health_checks_total"] >= 2
    assert found[f'{actions}_count{{action="create"}}'] == found[f'{actions}_bucket{{action="create",le="+Inf"}}']
    assert found[f'{actions}_count{{action="start"}}'] >= 1 and found[f'{actions}_sum{{action="start"}}'] > 0
    assert found['engine_daemon_network_actions_seconds_count{action="connect"}'] == 1
    states = "engine_daemon_container_states_containers"
    assert [found[f'{states}{{state="{state}"}}'] for state in ("running", "paused", "stopped")] == [1, 0, 1]
    assert found["engine_daemon_events_total"] > 3
    status, kind, text = ask(port)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert re.search(r'engine_daemon_engine_info\{.*graphdriver="\w+".*os_type="linux".*\} 1', text)
    assert "# TYPE engine_daemon_container_actions_seconds histogram" in text
    assert ask(port, path="/containers/json")[0] == 404 and ask(port, "POST")[0] == 405
    engine.ok("rm", "-f", "box", "idle")
    engine.ok("network", "rm", "own")
    engine.terminate()
    with pytest.raises(OSError, match="refused"):
        ask(port)


def test_an_address_that_is_taken(engine: Engine, port: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        roots = ("--data-root", f"{engine.directory}/b", "--exec-root", f"{engine.directory}/c")
        done = engine.cli("engine", "run", *roots, "--metrics-addr", f"127.0.0.1:{port}")
    assert done.returncode == 1 and f"cannot listen on 127.0.0.1:{port}" in done.stderr
    instance = Layout(root=f"{engine.directory}/b", run=f"{engine.directory}/c").instance
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith(f"rd{instance[:4]}")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert f"rundlet_{instance}" not in tables
