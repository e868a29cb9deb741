"""One name, several platforms: pulled one by one, shown, inspected, saved, loaded, pushed and removed by platform."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import docker_programs
from tests.e2e.conftest import Client
from tests.engines import Engine
from tests.store import walk_store
from tools.own_registry import own_registry

from rundlet.oci.platform import Platform

ARM, INTEL = "linux/arm64", "linux/amd64"


@pytest.fixture
def client(new_engine: Callable[..., Engine], request: pytest.FixtureRequest) -> Client:
    return Client(new_engine(image=False), request.param)


CLIENTS = ["", *[program for program in docker_programs() if program != "/usr/bin/docker"]]


@pytest.mark.parametrize("client", CLIENTS, indirect=True, ids=lambda text: text.strip("/").replace("/", "-") or "own")
def test_platforms_of_a_name(client: Client, tmp_path: Path) -> None:
    engine = client.engine
    with own_registry(tmp_path / "registry") as registry:
        base = f"{registry.address}/team/multi"
        for platform in (INTEL, ARM):
            layer = tmp_path / "layer.tar"
            with tarfile.open(layer, "w") as out:
                out.addfile(tarfile.TarInfo(platform.replace("/", "-")))
            name = f"{base}:{platform.rpartition('/')[2]}"
            engine.ok("import", "--platform", platform, str(layer), name)
            engine.ok("push", "-q", name)
        engine.ok("manifest", "create", "--insecure", f"{base}:all", f"{base}:amd64", f"{base}:arm64")
        index = engine.ok("manifest", "push", "--insecure", "-p", f"{base}:all").splitlines()[-1]
        engine.ok("rmi", f"{base}:amd64", f"{base}:arm64")
        name = f"{base}:all"
        client.ok("pull", "-q", "--platform", INTEL, name)
        client.ok("pull", "-q", "--platform", ARM, name)

        ids = {p: client.ok("image", "inspect", "--platform", p, "-f", "{{.Id}}", name) for p in (ARM, INTEL)}
        assert ids[ARM] == client.ok("image", "inspect", "-f", "{{.Id}}", name)
        assert ids[INTEL] != ids[ARM]
        done = client("image", "inspect", "--platform", "linux/s390x", name)
        assert done.returncode == 1
        assert "does not match the specified platform (linux/s390x)" in done.stderr
        assert client.ok("history", "--platform", INTEL, "-q", "--no-trunc", name) == ids[INTEL]
        tree = client.ok("images", "--tree")
        assert ARM in tree
        assert INTEL in tree

        one, whole = tmp_path / "one.tar", tmp_path / "whole.tar"
        client.ok("save", "--platform", INTEL, "-o", str(one), name)
        client.ok("save", "-o", str(whole), name)
        with tarfile.open(one) as archive:
            described = json.load(archive.extractfile("manifest.json") or pytest.fail("no manifest.json"))
            assert [entry["Config"] for entry in described] == [f"blobs/sha256/{ids[INTEL].removeprefix('sha256:')}"]
        with tarfile.open(whole) as archive:
            assert f"blobs/{index.replace(':', '/')}" in archive.getnames()

        # What is removed is one platform; the name goes with the last.
        client.ok("rmi", "--platform", ARM, name)
        assert client.ok("image", "inspect", "-f", "{{.Id}}", name) == ids[INTEL]
        client.ok("rmi", "--platform", INTEL, name)
        assert client.ok("images", "-aq") == ""
        client.ok("load", "--platform", ARM, "-i", str(whole))
        assert client.ok("images", "-q", "--no-trunc") == ids[ARM]
        client.ok("rmi", name)
        client.ok("load", "-i", str(whole))
        assert index in client.ok("push", name)
        pushed = client.ok("push", "--platform", INTEL, name)
        assert index not in pushed.splitlines()[-1]
        walk_store(engine)


@pytest.mark.parametrize("client", CLIENTS, indirect=True, ids=lambda text: text.strip("/").replace("/", "-") or "own")
def test_image_of_another_platform_is_warned_of(client: Client, tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as out:
        out.addfile(tarfile.TarInfo("file"))
    host = Platform.host()
    foreign = "linux/s390x"
    client.engine.ok("import", "--platform", foreign, str(layer), "foreign")
    client.engine.ok("import", "--platform", str(host), str(layer), "native")
    warning = (
        f"WARNING: The requested image's platform ({foreign}) does not match the detected host platform ({host}) and "
        "no specific platform was requested"
    )
    for asked, said in (((), warning), (("--platform", foreign), "")):
        done = client("create", *asked, "foreign", "x")
        assert (done.returncode, done.stderr.strip()) == (0, said)
    assert client("create", "native", "x").stderr == ""


@pytest.mark.parametrize(
    ("image", "host", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64/v3", "linux/amd64", True),
        ("linux/386", "linux/amd64", True),
        ("linux/arm64", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v7", "linux/arm64", True),
        ("linux/amd64", "linux/arm64", False),
    ],
)
def test_what_runs_where(image: str, host: str, runs: bool) -> None:
    assert Platform.parse(image).runs_on(Platform.parse(host)) is runs
    assert Platform("", "").runs_on(Platform.parse(host))
