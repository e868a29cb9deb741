"""What the tests of other clients of Docker (docker-client, docker-java, bollard, kind …) assert of an engine."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

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


def test_an_exec_by_a_user_that_is_not_there_is_made_and_tells_as_it_starts(
    engine: Engine, api: docker.APIClient
) -> None:
    container = engine.ok("run", "-d", "busybox", "sleep", "1000")
    made = api.exec_create(container, ["true"], user="nobody-here")["Id"]
    assert api.exec_start(made).decode() == "unable to find user nobody-here: no matching entries in passwd file\r\n"
    assert api.exec_inspect(made)["ExitCode"] == 126
    assert not api.exec_inspect(made)["Running"]


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("foo", 'bad format for add-host: "foo"'),
        (":1.2.3.4", 'bad format for add-host: ":1.2.3.4"'),
        ("foo:bar", 'invalid IP address in add-host: "bar"'),
    ],
)
def test_lines_of_hosts_are_read_when_a_container_is_made(api: docker.APIClient, entry: str, wrong: str) -> None:
    config = api.create_container_config("busybox", "true")
    config["HostConfig"] = {"ExtraHosts": [entry]}
    with pytest.raises(docker.errors.APIError) as caught:
        api.create_container_from_config(config)
    assert (caught.value.status_code, caught.value.explanation) == (400, wrong)


def test_a_volume_has_the_image_s_files_before_the_first_start(client: Client) -> None:
    """Who makes a container, copies a file into a volume of it and starts it (Ansible's registry) loses none."""
    dockerfile = "FROM busybox\nRUN mkdir /data && echo image > /data/file && chown 5:6 /data\nVOLUME /data\n"
    client.engine.ok("build", "-q", "-t", "filled", "-", stdin=dockerfile)
    try:
        client.ok("create", "--name", "anonymous", "filled", "true")
        assert tar_names(client, "anonymous:/data") == {"data", "data/file"}
        client.ok("create", "--name", "named", "-v", "named:/data:ro", "filled", "ls", "-ln", "/data")
        source = client.ok("inspect", "-f", "{{(index .Mounts 0).Source}}", "named")
        assert (Path(source) / "file").read_text() == "image\n"
        assert (Path(source).stat().st_uid, Path(source).stat().st_gid) == (5, 6)
        client.ok("create", "--name", "first", "-v", "written:/data", "filled", "ls", "/data")
        client.ok("cp", __file__, "first:/data/other")
        assert client.ok("start", "-a", "first").split() == ["file", "other"]
        client.ok("create", "--name", "bare", "-v", "bare:/data:nocopy", "filled", "ls", "/data")
        assert client.ok("start", "-a", "bare") == ""
    finally:
        client.ok("rm", "-fv", "anonymous", "named", "first", "bare")
        client.ok("volume", "rm", "-f", "named", "written", "bare")
        client.engine.ok("rmi", "-f", "filled")


def tar_names(client: Client, path: str) -> set[str]:
    done = subprocess.run(
        client.command("cp", path, "-"), env=client.engine.environment(), capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name.rstrip("/") for member in archive}


def test_a_limit_that_the_kernel_refuses_is_named_by_its_file(engine: Engine) -> None:
    """Ansible's tests look for these words."""
    said = engine.cli("run", "--device-read-bps", "/dev/null:1mb", "busybox", "true")
    assert said.returncode == 125
    assert "error setting cgroup config for procHooks process: write /sys/fs/cgroup/" in said.stderr
    assert ": no such device" in said.stderr
