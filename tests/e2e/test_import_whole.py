"""What an import is sent behind the end of its archive, and what a server says that has none."""

import contextlib
import http.client
import io
import json
import socket
import tarfile
from collections.abc import Iterator

import pytest
from tests.engines import Engine
from tests.webserver import QuietFiles, serving

TAIL = 32 << 20  # bytes: more than any buffer on the way holds


def test_all_that_is_sent_is_taken(engine: Engine) -> None:
    """Who sends must not find the connection closed: ``docker export … | docker import -`` would fail at times."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))

    def body() -> Iterator[bytes]:
        yield archive.getvalue()
        for _ in range(TAIL >> 20):
            yield bytes(1 << 20)

    status, text = posted(engine, "/images/create?fromSrc=-", body())
    said = [json.loads(line) for line in text.splitlines()]
    assert status == 200 and said[-1]["status"].startswith("sha256:")
    engine.ok("rmi", said[-1]["status"])


def test_more_than_one_name_is_told_not_used(engine: Engine) -> None:
    """Docker takes the first name, and says nothing of the others."""
    (engine.directory / "tiny.tar").write_bytes(bytes(10240))
    done = engine.cli("import", str(engine.directory / "tiny.tar"), "more/names", "1.0")
    assert (done.returncode, done.stderr) == (0, "WARNING: an import gets one name: 1.0 is not used\n")
    assert engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "more/names") == "more/names:latest"
    engine.ok("rmi", "more/names")


def posted(engine: Engine, path: str, body: Iterator[bytes] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(engine.socket)
    with contextlib.closing(connection):
        connection.request("POST", path, body, encode_chunked=body is not None)
        answer = connection.getresponse()
        return answer.status, answer.read()


class Refusing(QuietFiles):
    """``/404/…`` is answered with 404."""

    def do_GET(self) -> None:
        self.send_error(int(self.path.split("/")[1]), "No", "not\there")


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with serving(Refusing) as url:
        yield url.removeprefix("http://")


@pytest.mark.parametrize(("said", "status"), [(404, 404), (403, 403), (400, 400), (401, 401), (410, 500), (502, 500)])
def test_a_server_without_the_archive(engine: Engine, refusing: str, said: int, status: int) -> None:
    """With or without a scheme."""
    for source in (f"http://{refusing}/{said}/file.tar", f"{refusing}/{said}/file.tar"):
        found, answer = posted(engine, f"/images/create?fromSrc={source}")
        message = json.loads(answer)["message"]
        assert (found, "\t" in message) == (status, False)
        assert message.startswith(f"failed to GET http://{refusing}/{said}/file.tar with status {said} No: ")
