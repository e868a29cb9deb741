"""python-on-whales: the docker command line as a library, with everything that it parses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from python_on_whales import DockerClient, DockerException
from tests.engines import Engine

pytestmark = pytest.mark.root

DOCKERFILE = """FROM busybox
ENV A=1
COPY Dockerfile /copied
CMD ["sh", "-c", "echo $A"]
"""


@pytest.fixture
def docker(engine: Engine, docker_cli: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerClient]:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    monkeypatch.setenv("DOCKER_CONFIG", str(engine.directory / "docker-config"))
    yield DockerClient(host=engine.host, client_call=[docker_cli])


def test_containers(docker: DockerClient) -> None:
    assert docker.run("busybox", ["echo", "hello"], remove=True) == "hello"
    container = docker.run("busybox", ["sleep", "1000"], detach=True, name="whale", labels={"a": "b"}, memory="64m")
    assert container.state.running and container.host_config.memory == 64 << 20
    assert container.config.labels == {"a": "b"}
    assert docker.execute(container, ["echo", "inside"]) == "inside"
    assert [one.name for one in docker.ps(filters=[("label", "a=b")])] == ["whale"]
    docker.stop(container, time=1)
    container.reload()
    assert (container.state.status, container.state.exit_code) == ("exited", 137)
    docker.remove(container)
    with pytest.raises(DockerException, match="No such"):
        docker.container.inspect("whale")


def test_copies_volumes_and_networks(docker: DockerClient, tmp_path: Path) -> None:
    volume = docker.volume.create("sea")
    network = docker.network.create("pod", labels={"kind": "test"})
    try:
        sleep = ["sleep", "1000"]
        container = docker.run("busybox", sleep, detach=True, volumes=[(volume, "/sea")], networks=[network])
        (tmp_path / "note").write_text("deep")
        docker.copy(tmp_path / "note", (container, "/sea/note"))
        assert docker.execute(container, ["cat", "/sea/note"]) == "deep"
        docker.copy((container, "/sea/note"), tmp_path / "back")
        assert (tmp_path / "back").read_text() == "deep"
        assert list(container.network_settings.networks) == ["pod"]
        docker.remove(container, force=True)
    finally:
        docker.volume.remove(volume)
        docker.network.remove(network)


def test_images_and_builds(docker: DockerClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox\nENV A=1\nCOPY Dockerfile /copied\nCMD ["sh", "-c", "echo $A"]\n'
    )
    image = docker.legacy_build(tmp_path, tags="whale/built:1")
    assert image is not None and "whale/built:1" in image.repo_tags
    assert docker.run("whale/built:1", remove=True) == "1"
    docker.save("whale/built:1", output=tmp_path / "saved.tar")
    docker.image.remove("whale/built:1")
    docker.load(tmp_path / "saved.tar")
    assert docker.image.exists("whale/built:1")
    docker.image.remove("whale/built:1")
