"""testcontainers with its reaper: what a killed test run leaves goes by itself, by the socket inside a container."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import image_or_skip
from tests.engines import Engine, wait_for
from tools import images

pytestmark = pytest.mark.root

# A test run that will not come to its own cleaning up: it says what it has made, and stays until it is killed.
RUN = """
import docker, sys
from testcontainers.core.container import DockerContainer
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.network import Network

network = Network().create()
volume = docker.from_env().volumes.create("left", labels={LABEL_SESSION_ID: SESSION_ID})
box = DockerContainer("busybox").with_command(["sleep", "1000"]).with_network(network)
box.with_volume_mapping("left", "/data", "rw").start()
print(network.name, box.get_wrapped_container().id, flush=True)
sys.stdin.read()
"""
DOCKERFILE = """
FROM python
COPY reaper.py /reaper.py
CMD ["python3", "/reaper.py"]
"""


@pytest.fixture
def with_reaper(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    engine.ok("import", str(image_or_skip(images.python_tar)), "python")
    (tmp_path / "reaper.py").write_bytes(Path(__file__).with_name("reaper.py").read_bytes())
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    engine.ok("build", "-t", "reaper", str(tmp_path))
    yield engine
    engine.ok("rmi", "-f", "reaper", "python")


def test_what_a_killed_run_leaves_is_removed(with_reaper: Engine) -> None:
    engine = with_reaper
    engine.ok("run", "-d", "--name", "bystander", "busybox", "sleep", "1000")
    engine.ok("volume", "create", "kept")
    environment = engine.environment({"RYUK_CONTAINER_IMAGE": "reaper", "RYUK_RECONNECTION_TIMEOUT": "1s"})
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        env={name: value for name, value in environment.items() if name != "PYTHONPATH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert run.stdout is not None
        network, box = run.stdout.readline().decode().split()
        running = engine.ok("ps", "--no-trunc", "--format", "{{.ID}} {{.Image}}").splitlines()
        assert f"{box} busybox" in running
        assert any(line.endswith(" reaper") for line in running)
    finally:
        run.kill()
        _, errors = run.communicate()

    wait_for(lambda: engine.ok("ps", "-a", "--format", "{{.Names}}") == "bystander", 60, hint=errors.decode())
    assert network not in engine.ok("network", "ls", "--format", "{{.Name}}").split()
    assert engine.ok("volume", "ls", "-q") == "kept"
    engine.ok("volume", "rm", "kept")
