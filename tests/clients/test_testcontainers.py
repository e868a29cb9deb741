"""testcontainers: containers that a test throws away. Without its reaper, whose image a registry would have to give."""

import urllib.request
from collections.abc import Iterator

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs
from tests.engines import Engine, wait_for

pytestmark = [
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def without_reaper(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    yield engine


def test_a_server_and_its_published_port(without_reaper: Engine) -> None:
    serve = ["sh", "-c", "mkdir /www; echo page > /www/index.html; echo ready; exec httpd -f -p 80 -h /www"]
    with DockerContainer("busybox").with_command(serve).with_exposed_ports(80) as server:
        wait_for_logs(server, "ready", timeout=20)
        address = f"http://127.0.0.1:{server.get_exposed_port(80)}/"

        def fetched() -> bool:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return bool(answer.read() == b"page\n")

        wait_for(fetched, 10)
        code, output = server.exec(["cat", "/www/index.html"])
        assert (code, output) == (0, b"page\n")
    assert without_reaper.ok("ps", "-aq") == ""


def test_two_on_a_network(without_reaper: Engine) -> None:
    with Network() as network:
        box = DockerContainer("busybox").with_command(["sleep", "1000"]).with_network(network)
        with box.with_network_aliases("first"):
            asking = DockerContainer("busybox").with_command(["sleep", "1000"]).with_network(network)
            with asking as second:
                code, output = second.exec(["nslookup", "first"])
                assert code == 0, output
