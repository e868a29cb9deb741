"""save and load through every command line."""

import json
import tarfile
from pathlib import Path

from tests.e2e.conftest import Client


def test_an_image_survives_the_round_trip(client: Client, scratch: Path) -> None:
    identity = client.ok("inspect", "-f", "{{.Id}}", "busybox")
    client.ok("tag", "busybox", "round/trip:1")
    archive = scratch / "image.tar"
    client.ok("save", "-o", str(archive), "round/trip:1")
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
    nonsense = scratch / "nonsense.tar"
    nonsense.write_bytes(b"not a tar at all" * 100)
    done = client("load", "-i", str(nonsense))
    assert done.returncode == 1
    assert "archive" in done.stderr
