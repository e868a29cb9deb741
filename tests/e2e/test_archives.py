"""save and load through every command line."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import docker_programs, need
from tests.dockerd import running_dockerd
from tests.e2e.conftest import Client
from tests.engines import Engine


def test_an_image_survives_the_round_trip(client: Client, scratch: Path) -> None:
    identity = client.ok("inspect", "-f", "{{.Id}}", "busybox")
    client.ok("tag", "busybox", "round/trip:1")
    archive = scratch / "image.tar"
    client.ok("save", "-o", str(archive), "round/trip:1")
    assert archive.stat().st_mode & 0o777 == 0o600
    client.ok("rmi", "round/trip:1")
    assert client.ok("load", "-i", str(archive)) == "Loaded image: round/trip:1"
    assert client.ok("inspect", "-f", "{{.Id}}", "round/trip:1") == identity
    assert client.ok("run", "--rm", "round/trip:1", "echo", "loaded") == "loaded"
    client.ok("rmi", "round/trip:1")


def test_the_archive_is_both_kinds(client: Client, scratch: Path) -> None:
    archive = scratch / "image.tar"
    client.ok("save", "-o", str(archive), "busybox")
    with tarfile.open(archive) as tar:
        docker = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        layout = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    assert docker[0]["RepoTags"] == ["busybox:latest"]
    assert layout["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/library/busybox:latest"


def test_what_can_not_be_saved_or_loaded(client: Client, scratch: Path) -> None:
    done = client("save", "-o", str(scratch / "no.tar"), "no/such:image")
    assert done.returncode == 1
    assert "No such image: no/such:image" in done.stderr
    done = client("save", "-o", str(scratch), "busybox")
    assert done.returncode == 1
    assert done.stderr
    nonsense = scratch / "nonsense.tar"
    nonsense.write_bytes(b"not a tar at all" * 100)
    done = client("load", "-i", str(nonsense))
    assert done.returncode == 1
    assert "archive" in done.stderr
    for verb in (("load", "-i"), ("import",)):
        done = client(*verb, str(scratch))
        assert done.returncode == 1
        assert f"read {scratch}: is a directory" in done.stderr


# ── with Docker's own engine ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Client]:
    """The official command line with Docker's engine behind it, on directories of its own."""
    client = (docker_programs() or [""])[0] or need("docker")
    with running_dockerd(client) as (host, directory):
        other = Engine(directory=directory)
        other.host = host
        yield Client(other, client)


def _layers(client: Client, image: str) -> list[str]:
    found: list[str] = json.loads(client.ok("image", "inspect", "-f", "{{json .RootFS.Layers}}", image))
    return found


def test_to_docker_and_back(engine: Engine, dockerd: Client, scratch: Path) -> None:
    """Several images, one made by commit: names, identities and layers are the same on either side."""
    ours = Client(engine, "")
    ours.ok("run", "--name", "made", "busybox", "sh", "-c", "echo deep > /new; rm -r /etc; mkdir /etc; ln /new /hard")
    ours.ok("commit", "-c", 'CMD ["cat", "/new"]', "made", "made/here:1")
    ours.ok("rm", "made")
    archive = str(scratch / "ours.tar")
    ours.ok("save", "-o", archive, "made/here:1", "busybox")
    said = dockerd.ok("load", "-i", archive)
    assert "Loaded image: made/here:1" in said and "Loaded image: busybox:latest" in said
    for name in ("made/here:1", "busybox"):
        assert dockerd.ok("image", "inspect", "-f", "{{.Id}}", name) == ours.ok(
            "image", "inspect", "-f", "{{.Id}}", name
        )
        assert _layers(dockerd, name) == _layers(ours, name)
    # The archive says which was made from which.
    steps = ours.ok("history", "-q", "--no-trunc", "made/here:1")
    assert "<missing>" not in steps and dockerd.ok("history", "-q", "--no-trunc", "made/here:1") == steps
    assert dockerd.ok("run", "--rm", "--network", "none", "made/here:1") == "deep"
    theirs = str(scratch / "theirs.tar")
    dockerd.ok("save", "-o", theirs, "made/here:1", "busybox")
    identity = ours.ok("image", "inspect", "-f", "{{.Id}}", "made/here:1")
    ours.ok("rmi", "made/here:1")
    assert "Loaded image: made/here:1" in ours.ok("load", "-i", theirs)
    assert ours.ok("image", "inspect", "-f", "{{.Id}}", "made/here:1") == identity
    assert ours.ok("run", "--rm", "made/here:1") == "deep"
    assert ours.ok("history", "-q", "--no-trunc", "made/here:1") == steps
    ours.ok("rmi", "made/here:1")


def test_dockers_commits_load_here(engine: Engine, dockerd: Client, scratch: Path) -> None:
    """Images of several layers, whose archive holds links in the place of layers that are the same."""
    archive = str(scratch / "base.tar")
    engine.ok("save", "-o", archive, "busybox")
    dockerd.ok("load", "-i", archive)
    for number in ("1", "2"):
        dockerd.ok("run", "--name", "c" + number, "--network", "none", "busybox", "sh", "-c", f"echo {number} > /n")
        dockerd.ok("commit", "c" + number, f"theirs:{number}")
        dockerd.ok("rm", "c" + number)
    dockerd.ok("save", "-o", archive, "theirs:1", "theirs:2", "busybox")
    engine.ok("load", "-q", "-i", archive)
    for number in ("1", "2"):
        assert engine.ok("run", "--rm", f"theirs:{number}", "cat", "/n") == number
        engine.ok("rmi", f"theirs:{number}")


def test_the_same_changes_as_docker(engine: Engine, dockerd: Client, scratch: Path) -> None:
    """diff and export beside Docker's own."""
    archive = str(scratch / "base.tar")
    engine.ok("save", "-o", archive, "busybox")
    dockerd.ok("load", "-i", archive)
    work = (
        "echo x > /etc/new; rm /etc/passwd; mkdir -p /a/b/c; echo x >> /etc/group; chmod 700 /tmp; ln -s x /bin/y; "
        "mv /etc/group /moved; touch /a/b/f; chown 5 /bin"
    )
    ours = Client(engine, "")
    for client in (ours, dockerd):
        client.ok("run", "--name", "work", "--network", "none", "busybox", "sh", "-c", work)
    theirs = dockerd.ok("diff", "work").splitlines()
    assert sorted(ours.ok("diff", "work").splitlines()) == sorted(theirs)
    found = []
    for client in (ours, dockerd):
        client.ok("export", "-o", str(scratch / "all.tar"), "work")
        with tarfile.open(scratch / "all.tar") as tar:
            found.append({m.name: (m.type, m.mode & 0o7777, m.uid, m.size, m.linkname) for m in tar})
        client.ok("rm", "work")
    runtime = ("dev", "proc", "sys", "etc/", ".dockerenv")
    mine, other = ({k: v for k, v in side.items() if not k.startswith(runtime)} for side in found)
    assert mine == other
