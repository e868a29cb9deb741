"""Raw bytes that are no proper HTTP: refused, never a 500, never silence, and the next client is served."""

import json
import os
import socket
from collections.abc import Iterator

import pytest
from tests.engines import Engine, wait_for

PATIENCE = 60.0
CREATE = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def before(engine: Engine) -> Iterator[int]:
    """How many descriptors the engine has; afterwards it has no more, and still answers."""
    count = _descriptors(engine)
    yield count
    wait_for(lambda: _descriptors(engine) <= count + 1, 30, hint="no connection stays open")
    assert _answer(engine, LAST).endswith(b"OK")
    log = engine.log.read_text()
    assert "unexpected error" not in log and "Traceback" not in log


def _descriptors(engine: Engine) -> int:
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


def _connected(engine: Engine) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(engine.socket)
    return connection


def _answer(engine: Engine, data: bytes, *, end: bool = False) -> bytes:
    """All that is said to ``data``, and to the end of the sending side when that comes too."""
    with _connected(engine) as connection:
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # refused before all of it was sent
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def _statuses(answer: bytes) -> list[int]:
    return [int(piece.split(b" ", 1)[0]) for piece in answer.split(b"HTTP/1.1 ")[1:]]


BODY = b'{"Image": "busybox", "Cmd": ["true"]}'
REFUSED = {
    "bad chunk size": CREATE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "negative chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "huge chunk size": CREATE + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk without its end": CREATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    "two lengths": CREATE + b"Content-Length: 20\r\nContent-Length: 3\r\n\r\n" + BODY,
    "length and chunks": CREATE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "length is no number": CREATE + b"Content-Length: abc\r\n\r\n" + BODY,
    "negative length": CREATE + b"Content-Length: -1\r\n\r\n" + BODY,
    "length with a sign": CREATE + b"Content-Length: +20\r\n\r\n" + BODY,
    "chunked twice": CREATE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"GET /_ping HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "space before the colon": CREATE + b"Content-Length : 20\r\n\r\n" + BODY,
    "line feed in a name": b"GET /_ping HTTP/1.1\r\nHo\nst: x\r\n\r\n",
    "null in a value": b"GET /_ping HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
    "no version": b"GET /_ping\r\nHost: x\r\n\r\n",
    "another version": b"GET /_ping HTTP/7.1\r\nHost: x\r\n\r\n",
    "method of blanks": b"   /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=[name.replace(" ", "-") for name in REFUSED])
def test_what_is_no_http(engine: Engine, before: int, data: bytes) -> None:
    """One refusal, and the rest of what came is never taken for another request."""
    answer = _answer(engine, data + LAST)
    assert all(status == 400 for status in _statuses(answer)), answer
    assert b"aiohttp" not in answer
    assert not answer.endswith(b"OK")
    assert not engine.ok("ps", "-aq")


HALVES = {
    "nothing": b"",
    "half a line": b"GET /_pi",
    "half the headers": b"GET /_ping HTTP/1.1\r\nHos",
    "half a body": CREATE + b"Content-Length: 200\r\n\r\n" + BODY,
    "half a chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "half an archive": b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + bytes(600),
    "half a build": b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + bytes(100),
}


@pytest.mark.parametrize("data", HALVES.values(), ids=[name.replace(" ", "-") for name in HALVES])
def test_half_requests(engine: Engine, before: int, data: bytes) -> None:
    """Both ways to leave: the sending side only, and altogether."""
    assert all(status < 500 for status in _statuses(_answer(engine, data, end=True)))
    with _connected(engine) as connection:
        connection.sendall(data)
    assert not engine.ok("ps", "-aq")


def test_a_body_that_is_too_large(engine: Engine, before: int) -> None:
    """JSON is read up to 8 MiB, however its length is told; the engine never holds more."""
    piece = b" " * (1 << 20)
    for head in (b"Content-Length: 104857600\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with _connected(engine) as connection:
            connection.sendall(CREATE + head)
            try:
                for _ in range(100):
                    connection.sendall(b"100000\r\n" + piece + b"\r\n" if b"chunked" in head else piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused on the way
            try:
                answer = connection.recv(65536)
            except ConnectionResetError:
                answer = b""
            assert _statuses(answer) in ([413], [])


def test_a_body_that_comes_slowly(engine: Engine, before: int) -> None:
    """A byte at a time, while others are served."""
    with _connected(engine) as connection:
        connection.sendall(CREATE + b"Content-Length: %d\r\n\r\n" % len(BODY))
        for byte in BODY[:-1]:
            connection.sendall(bytes([byte]))
            assert _answer(engine, LAST).endswith(b"OK")
        connection.sendall(BODY[-1:] + LAST)
        answer = _rest(connection)
    assert _statuses(answer) == [201, 200]
    created = next(line for line in answer.splitlines() if line.startswith(b"{"))
    engine.ok("rm", json.loads(created)["Id"])


def test_requests_one_after_the_other_without_waiting(engine: Engine, before: int) -> None:
    answer = _answer(engine, PING * 20 + b"GET /nonsense HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert _statuses(answer) == [200] * 20 + [404, 200]
