"""HTTP/1.1 over a socket pair."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.client.endpoint import Endpoint
from rundlet.client.errors import ApiError, ClientError, ConnectError
from rundlet.client.filebody import FileBody
from rundlet.client.http import Connection
from rundlet.client.session import Session


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours, "host"), theirs


def test_a_body_by_length_leaves_the_connection_idle(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    connection.send("GET", "/x", {"A": "b"}, None)
    assert peer.recv(4096) == b"GET /x HTTP/1.1\r\nHost: host\r\nUser-Agent: Rundlet-Client\r\nA: b\r\n\r\n"
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1, 2]\n")
    assert connection.receive().json() == [1, 2]
    assert connection.idle


def test_a_closed_connection_is_not_used_again(pair: tuple[Connection, socket.socket]) -> None:
    connection, _peer = pair
    session = Session(Endpoint("unix:///nowhere/rundlet.sock"))
    session.release(connection)
    connection.close()
    assert not connection.idle
    with pytest.raises(ConnectError):
        session.connect()


def test_chunks_and_trailers(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    peer.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\nrest"
    )
    assert connection.receive().read() == b"abcde"
    assert connection.buffer == b"rest"


def test_a_body_is_sent_in_chunks(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    connection.send("POST", "/x", {}, iter([b"abc", b"", b"d"]))
    peer.settimeout(60)
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += peer.recv(4096)
    assert data.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")


def test_values_of_a_stream_may_be_cut_anywhere(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    body = '{"a":"ä"}\n{"b":[1,2]}{"c":3}\r\n'.encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert list(connection.receive().json_stream()) == [{"a": "ä"}, {"b": [1, 2]}, {"c": 3}]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_broken_answer_is_an_error(pair: tuple[Connection, socket.socket], answer: bytes) -> None:
    connection, peer = pair
    peer.sendall(answer)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ClientError):
        connection.receive().read()


def test_a_hijacked_stream_starts_with_what_was_read_ahead(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    peer.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\nearly")
    stream = connection.receive().hijack()
    assert stream.framed
    assert stream.pending()
    assert stream.recv() == b"early"
    stream.send(b"in")
    stream.close_write()
    assert peer.recv(10) == b"in"
    assert peer.recv(10) == b""
    peer.sendall(b"late")
    peer.shutdown(socket.SHUT_WR)
    assert stream.recv() == b"late"
    assert stream.recv() == b""


def test_error_statuses_carry_the_engines_sentence(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    peer.sendall(b'HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n{"message": "no such"}')
    with pytest.raises(ApiError, match="Error response from daemon: no such") as caught:
        Session(Endpoint("unix:///x")).answer(connection)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("url", "scheme", "address", "port"),
    [
        ("unix:///run/x.sock", "unix", "/run/x.sock", 0),
        ("tcp://1.2.3.4:99", "tcp", "1.2.3.4", 99),
        ("tcp://host", "tcp", "host", 2375),
        ("tcp://[::1]:5", "tcp", "::1", 5),
        ("1.2.3.4:5", "tcp", "1.2.3.4", 5),
        ("ssh://host", "ssh", "host", 0),
        ("ssh://user@host:2222/run/x.sock", "ssh", "host", 2222),
    ],
)
def test_endpoints(url: str, scheme: str, address: str, port: int) -> None:
    endpoint = Endpoint(url)
    assert (endpoint.scheme, endpoint.address, endpoint.port) == (scheme, address, port)


@pytest.mark.parametrize(
    "url",
    [
        "foo://x",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://u:p@x",
        "ssh://x:y",
        "npipe:////./x",
        "tcp://x:abc",
        "unix:///" + "a" * 120,
    ],
)
def test_endpoints_that_are_none(url: str) -> None:
    with pytest.raises(ClientError):
        Endpoint(url)


def test_nothing_listens(tmp_path: object) -> None:
    with pytest.raises(ConnectError, match="Cannot connect to the Docker daemon at unix://"):
        Session(Endpoint(f"unix://{tmp_path}/none")).get("/version")


def test_the_engine_is_started_once_when_nothing_listens(tmp_path: object) -> None:
    path = f"{tmp_path}/s"
    started: list[socket.socket] = []

    def start() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        started.append(listener)

    session = Session(Endpoint(f"unix://{path}"), start=start)
    session.connect().close()
    session.connect().close()
    assert len(started) == 1
    started[0].close()
    with pytest.raises(ConnectError):
        session.connect()


def _received(peer: socket.socket) -> "tuple[threading.Thread, list[bytes]]":
    """A thread that reads all that comes to ``peer``."""
    parts: list[bytes] = []

    def read() -> None:
        while data := peer.recv(1 << 16):
            parts.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, parts


def _send_file(pair: tuple[Connection, socket.socket], path: Path, start: int = 0) -> bytes:
    connection, peer = pair
    thread, parts = _received(peer)
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, start, os.SEEK_SET)
    try:
        connection.send("POST", "/x", {}, FileBody(fd))
    finally:
        connection.socket.shutdown(socket.SHUT_WR)
        thread.join()
    with pytest.raises(OSError):
        os.fstat(fd)
    return b"".join(parts)


def test_a_file_is_sent_with_its_length(pair: tuple[Connection, socket.socket], tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    head, _, body = _send_file(pair, tmp_path / "file", start=10).partition(b"\r\n\r\n")
    assert b"Content-Length: 2999990" in head.split(b"\r\n")
    assert body == content[10:]


def test_a_file_whose_length_is_not_known_is_sent_in_chunks(pair: tuple[Connection, socket.socket]) -> None:
    head, _, body = _send_file(pair, Path("/proc/self/comm")).partition(b"\r\n\r\n")
    comm = Path("/proc/self/comm").read_bytes()
    assert b"Transfer-Encoding: chunked" in head.split(b"\r\n")
    assert body == b"%x\r\n%b\r\n0\r\n\r\n" % (len(comm), comm)


def test_a_file_goes_through_tls_piece_by_piece(tmp_path: Path) -> None:
    class Wrapped:
        """As an SSLSocket: its descriptor must not be written to directly."""

        def __init__(self) -> None:
            self.sent = b""

        def pending(self) -> int:
            return 0

        def sendall(self, data: bytes, /) -> None:
            self.sent += data

    (tmp_path / "file").write_bytes(b"abc" * 200_000)
    wrapped = Wrapped()
    FileBody(os.open(tmp_path / "file", os.O_RDONLY)).send_to(wrapped)  # type: ignore[arg-type]
    assert wrapped.sent == b"abc" * 200_000


def test_a_file_that_became_shorter_is_no_whole_body(pair: tuple[Connection, socket.socket], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    body = FileBody(os.open(tmp_path / "file", os.O_RDONLY))
    os.truncate(tmp_path / "file", 10)
    with pytest.raises(ClientError, match="shorter"):
        pair[0].send("POST", "/x", {}, body)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_long_body_is_poured_through_one_buffer(pair: tuple[Connection, socket.socket], chunked: bool) -> None:
    connection, peer = pair
    content = os.urandom(2_500_000)
    if chunked:
        pieces = [content[start : start + 600_000] for start in range(0, len(content), 600_000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    else:
        body, head = content, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    sender = threading.Thread(target=peer.sendall, args=(head + body + b"rest",))
    sender.start()
    got = bytearray()
    connection.receive().pour(got.extend)
    assert got == content
    assert connection.idle
    while connection.buffer != b"rest":
        assert connection.fill()
    sender.join()


def test_a_body_that_is_poured_and_ends_early_is_an_error(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ClientError, match="unexpected EOF"):
        connection.receive().pour(lambda piece: None)
