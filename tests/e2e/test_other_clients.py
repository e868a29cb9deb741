"""What the tests of other clients of Docker (docker-client, docker-java, bollard, kind …) assert of an engine."""

from collections.abc import Iterator

import docker
import docker.errors
import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine


@pytest.fixture
def api(engine: Engine) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine.host, timeout=60)
    yield client
    client.close()


def test_what_has_no_terminal_may_be_resized(engine: Engine, api: docker.APIClient) -> None:
    container = engine.ok("run", "-d", "busybox", "sleep", "1000")
    api.resize(container, 24, 80)
    running = api.exec_create(container, ["sleep", "1000"])["Id"]
    api.exec_start(running, detach=True)
    api.exec_resize(running, 24, 80)
    assert api.inspect_container(container)["State"]["Running"]


def test_networks_are_found_by_regular_expressions(client: Client) -> None:
    """kind asks for ``name=^kind$``, and makes its network again when nothing is found."""
    names = ("kind", "kind-2")
    for name in names:
        client.ok("network", "create", name)
    try:
        ask = ("network", "ls", "--format", "{{.Name}}", "--filter")
        assert client.ok(*ask, "name=^kind$") == "kind"
        assert client.ok(*ask, "name=kind").split() == sorted(names)
        identifier = client.ok("network", "inspect", "-f", "{{.Id}}", "kind")
        assert client.ok(*ask, f"id=^{identifier[:12]}") == "kind"
    finally:
        client.ok("network", "rm", *names)


def test_volumes_are_found_by_regular_expressions(client: Client) -> None:
    names = ("data", "data-2")
    for name in names:
        client.ok("volume", "create", name)
    try:
        assert client.ok("volume", "ls", "-q", "--filter", "name=^data$") == "data"
        assert client.ok("volume", "ls", "-q", "--filter", "name=d.ta").split() == list(names)
    finally:
        client.ok("volume", "rm", *names)
