"""What an import is sent behind the end of its archive."""

import http.client
import io
import json
import socket
import tarfile
from collections.abc import Iterator

from tests.engines import Engine

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

    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(engine.socket)
    try:
        connection.request("POST", "/images/create?fromSrc=-", body(), encode_chunked=True)
        answer = connection.getresponse()
        said = [json.loads(line) for line in answer.read().splitlines()]
    finally:
        connection.close()
    assert answer.status == 200 and said[-1]["status"].startswith("sha256:")
    engine.ok("rmi", said[-1]["status"])
