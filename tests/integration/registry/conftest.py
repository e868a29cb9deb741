"""Debian's docker-registry on a free loopback port with a temporary root, and the rooms of engines."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import need
from tests.integration.registry.room import Room

from rundlet.registry import Registry
from rundlet.registry.retry import Retry
from rundlet.transport import HttpClient

HTPASSWD = "ann:$2b$04$0IqPMse013SgHW6CugLVreE3i1U31eKYNzqPQR36dJ0/bDM/5AOBm\n"
PASSWORD = "correct horse"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(root: Path, auth: str = "") -> tuple[subprocess.Popen[bytes], str]:
    port = _free_port()
    config = root / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            break
        except urllib.error.HTTPError as exc:
            exc.close()
            break
        except OSError:
            time.sleep(0.05)
    return process, f"127.0.0.1:{port}"


def _running(root: Path, auth: str = "") -> Iterator[str]:
    need("docker-registry")
    process, host = _serve(root, auth)
    try:
        yield host
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``127.0.0.1:PORT`` of an open registry."""
    yield from _running(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="session")
def private_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``127.0.0.1:PORT`` of a registry that wants ann's password."""
    root = tmp_path_factory.mktemp("private")
    (root / "htpasswd").write_text(HTPASSWD)
    yield from _running(root, f"auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\n")


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """A client that does not wait between attempts."""

    async def no_sleep(_seconds: float) -> None:
        return None

    http = HttpClient(environment={})
    yield Registry(http, retry=Retry(sleep=no_sleep))
    await http.close()


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = await Room.open(str(tmp_path / "a"))
    yield room
    await room.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Room]:
    """A second engine's rooms."""
    room = await Room.open(str(tmp_path / "b"))
    yield room
    await room.close()
