"""The engine is killed again and again while networks, ports and mounted volumes come and go: nothing stays."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for
from tests.hostile.test_kills import Load, check

SECONDS = 8.0
KILLS = 5
VOLUME = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=64k")


class NetworkLoad(Load):
    """Failures are expected while no engine is up; what is left of them is not."""

    def _work(self, number: int) -> None:
        turn = 0
        cli = self.engine.cli
        while not self.over.is_set():
            turn += 1
            net, more, box, volume = (f"{kind}{number}-{turn}" for kind in ("net", "more", "box", "vol"))
            cli("network", "create", "--ipv6", net, timeout=40)
            cli("network", "create", more, timeout=40)
            cli("volume", "create", *VOLUME, volume, timeout=40)
            ports = ("-p", "80", "-p", "53/udp")
            cli("run", "-d", "--name", box, "--network", net, *ports, "-v", f"{volume}:/v", "busybox", "sleep", "600",
                timeout=40)  # fmt: skip
            cli("network", "connect", "--gw-priority", "1", more, box, timeout=40)
            cli("network", "disconnect", net, box, timeout=40)
            cli("rm", "-f", box, timeout=40)
            cli("network", "rm", net, more, timeout=40)
            cli("volume", "rm", volume, timeout=40)
            self.done += 1


@pytest.fixture
def victim(new_engine: Callable[..., Engine]) -> Iterator[Engine]:
    engine = new_engine()
    engine.ok("run", "--rm", "busybox", "true")
    yield engine
    wait_for(engine.answers, 20, hint="the engine is up for the end of the test")


def links(engine: Engine) -> list[str]:
    """The host's interfaces that carry the engine's mark, but for the default bridge."""
    shown = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    mark = engine.layout.instance[:4]
    names = [link["ifname"] for link in shown]
    return [name for name in names if name.startswith((f"rd{mark}-", f"rv{mark}-")) and name != f"rd{mark}-bridge"]


def addresses(engine: Engine) -> int:
    """How many are taken. From a copy: nobody but the engine opens the database itself."""
    tables = ("ipam_addresses", "ipam6_addresses", "endpoint_extras", "opened_ports", "published_ports")
    with tempfile.TemporaryDirectory() as directory:
        for suffix in ("", "-wal"):
            if os.path.exists(engine.layout.database + suffix):
                shutil.copy(engine.layout.database + suffix, f"{directory}/state.db{suffix}")
        with closing(sqlite3.connect(f"{directory}/state.db")) as database:
            return sum(int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)


@pytest.mark.timeout(180)
def test_an_engine_killed_among_networks(victim: Engine) -> None:
    chance, left = random.Random(2), KILLS
    with NetworkLoad(victim) as load:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            threading.Event().wait(chance.uniform(0.2, 1.5))
            if left and victim.answers():
                left -= 1
                victim.kill()
    assert load.done or left < KILLS
    check(victim)
    victim.ok("network", "prune", "-f")
    wait_for(lambda: links(victim) == [], 20, hint="no interface is left")
    wait_for(lambda: addresses(victim) == 0, 60, hint="every address and port is free again")
    assert victim.layout.root not in Path("/proc/self/mountinfo").read_text()
    victim.ok("volume", "prune", "-af")
    assert victim.ok("volume", "ls", "-q") == ""
    assert set(victim.ok("network", "ls", "--format", "{{.Name}}").split()) == {"bridge", "host", "none"}
