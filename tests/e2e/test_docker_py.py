"""docker-py against the same engine."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from tests.engines import Engine
from tools.registry import Registry

# docker-py leaves sockets of finished streams to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def api(engine: Engine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=engine.host, timeout=30)
    yield client
    client.close()


def test_run(api: docker.DockerClient) -> None:
    assert api.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"


def test_a_failing_command(api: docker.DockerClient) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        api.containers.run("busybox", ["sh", "-c", "exit 3"], remove=True)
    assert caught.value.exit_status == 3


def test_life(api: docker.DockerClient) -> None:
    container = api.containers.run("busybox", "sleep 1000", detach=True, name="py", labels={"a": "b"}, mem_limit="64m")
    container.reload()
    assert container.status == "running"
    assert container.labels == {"a": "b"}
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container.exec_run("echo inside").output == b"inside\n"
    assert container.exec_run("sh -c 'exit 4'").exit_code == 4
    out, err = container.exec_run("sh -c 'echo o; echo e >&2'", demux=True).output
    assert (out, err) == (b"o\n", b"e\n")
    assert [one.name for one in api.containers.list()] == ["py"]
    assert [one.name for one in api.containers.list(filters={"label": "a=b"})] == ["py"]
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        api.containers.get("py")


def test_who_saw_the_end_of_the_output_sees_the_exit_code(api: docker.DockerClient) -> None:
    for code in range(1, 21):
        container = api.containers.create("busybox", ["sh", "-c", f"echo end; exit {code}"])
        stream = container.attach(stream=True)
        container.start()
        assert b"".join(stream) == b"end\n"
        container.reload()
        assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", code)
        container.remove()


def test_logs_stream(api: docker.DockerClient) -> None:
    container = api.containers.run("busybox", ["sh", "-c", "echo one; sleep 0.3; echo two"], detach=True)
    assert list(container.logs(stream=True, follow=True)) == [b"one\n", b"two\n"]
    assert container.logs(tail=1) == b"two\n"


def test_attach_socket(api: docker.DockerClient) -> None:
    container = api.containers.create("busybox", "cat", stdin_open=True, tty=True)
    attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    attached._sock.sendall(b"hello\n")
    seen = b""
    while seen.count(b"hello") < 2:
        seen += attached._sock.recv(100)
    attached.close()
    container.kill()


def test_errors(api: docker.DockerClient) -> None:
    with pytest.raises(docker.errors.ImageNotFound):
        api.images.get("nope")
    with pytest.raises(docker.errors.NotFound):
        api.containers.get("nope")
    with pytest.raises(docker.errors.APIError) as caught:
        api.containers.create("busybox", "true", name="not/valid")
    assert caught.value.status_code == 400


def test_images(api: docker.DockerClient, registry: Registry) -> None:
    image = api.images.get("busybox")
    name = f"{registry.address}/py/app"
    assert image.tag(name, "v1")
    progress = list(api.images.push(name, "v1", stream=True, decode=True))
    assert any("aux" in line for line in progress), progress
    api.images.remove(f"{name}:v1")
    pulled = api.images.pull(name, "v1")
    assert pulled.id == image.id
    api.images.remove(f"{name}:v1")


def test_version_and_ping(api: docker.DockerClient) -> None:
    assert api.ping()
    assert api.version()["ApiVersion"] == "1.51"
    assert api.info()["OSType"] == "linux"


def test_labels_of_an_endpoint(api: docker.DockerClient) -> None:
    """Driver options that no driver knows are kept and shown; those that one knows must mean something."""
    network = api.networks.create("labelled")
    try:
        config = {"labelled": api.api.create_endpoint_config(driver_opt={"com.example.colour": "red"})}
        container = api.containers.create("busybox", "true", network="labelled", networking_config=config)
        shown = api.api.inspect_container(container.id)["NetworkSettings"]["Networks"]["labelled"]["DriverOpts"]
        assert shown == {"com.example.colour": "red"}
        container.remove()
        switch = "com.docker.network.endpoint.sysctls"
        config = {"labelled": api.api.create_endpoint_config(driver_opt={switch: "kernel.shmmax=1"})}
        with pytest.raises(docker.errors.APIError, match="want net"):
            api.containers.create("busybox", "true", network="labelled", networking_config=config)
    finally:
        network.remove()


def test_mounts_and_address_options_are_shown_as_given(api: docker.DockerClient) -> None:
    mounts = [docker.types.Mount("/quick", None, type="tmpfs", read_only=True)]
    container = api.containers.create("busybox", "true", mounts=mounts, tmpfs={"/other": ""})
    shown = [(one["Type"], one["Destination"], one["RW"]) for one in container.attrs["Mounts"]]
    assert shown == [("tmpfs", "/quick", False)]
    container.remove()
    for options in (None, {"foo": "bar"}):
        network = api.networks.create("addresses", ipam=docker.types.IPAMConfig(options=options))
        network.reload()
        assert network.attrs["IPAM"]["Options"] == options
        network.remove()


def test_who_waits_for_a_removal_hears_that_it_failed(api: docker.DockerClient, engine: Engine) -> None:
    box = api.containers.run("busybox", ["sleep", "1000"], detach=True, auto_remove=True)
    held = Path(engine.layout.container(box.id)) / "held"
    held.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "held", held], check=True)
    try:
        url = api.api._url("/containers/{0}/wait", box.id)
        waiting = api.api._post(url, params={"condition": "removed"}, stream=True)  # its head comes at once
        box.kill()
        answer = waiting.json()
    finally:
        subprocess.run(["umount", held], check=True)
    assert answer["StatusCode"] == 137
    assert "cannot remove container" in answer["Error"]["Message"]
    assert engine.field(box.id, "{{.State.Status}}") == "dead"
    box.remove()
