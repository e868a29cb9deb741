"""A registry whose disk is full says so, keeps nothing of what it could not take, and lets room be made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.registry_server.test_protocol import Client
from tools.own_registry import OwnRegistry, own_registry

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

FULL = "no space left on the registry's disk"
BLOCK = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "rundlet-test", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def registry(disk: Path) -> Iterator[OwnRegistry]:
    with own_registry(disk / "root") as running:
        yield running


def fill(disk: Path) -> Path:
    """Takes all the room that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return path


def test_an_upload_that_has_no_room_leaves_none_taken(registry: OwnRegistry) -> None:
    client = Client(registry)
    begun = client("POST", "/v2/big/blobs/uploads/")
    refused = client("PATCH", begun.headers["Location"], bytes(30 * BLOCK))
    assert (refused.status, refused.json["errors"][0]["message"]) == (507, FULL)
    assert client("GET", begun.headers["Location"]).code == "BLOB_UPLOAD_UNKNOWN"
    assert not os.listdir(registry.root / "uploads")
    client.push_manifest("small", "1", b"a layer")


def test_what_is_there_can_be_deleted(registry: OwnRegistry, disk: Path) -> None:
    client = Client(registry)
    layer = os.urandom(4 * BLOCK)
    digest = client.push_manifest("some", "1", layer)
    filler = fill(disk)
    uploads = []
    for _ in range(200):  # until the index has no page left, either
        refused = client("POST", "/v2/more/blobs/uploads/")
        if refused.status != 202:
            break
        uploads.append(refused.headers["Location"])
    assert (refused.status, refused.json["errors"][0]["message"]) == (507, FULL)
    assert len(os.listdir(registry.root / "uploads")) == len(uploads)
    assert client("GET", "/v2/some/tags/list").json["tags"] == ["1"]
    assert client("DELETE", f"/v2/some/manifests/{digest}").status == 202
    client.push_manifest("small", "1", b"a layer")
    filler.unlink()
