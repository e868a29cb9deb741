"""Workers that live for their connections."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.linux.loop import Loop
from rundlet.network.dns import worker as dns
from rundlet.network.proxy import worker as proxy
from rundlet.network.serving.connections import Connections


class Server:
    """Connections whose messages are kept; ``bad`` ones are refused."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.loop = Loop()
        self.ended: list[str] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen()
        self.connections = Connections(self.loop, self.listener, self._heard, self.ended.append, most_fds=2)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def _heard(self, data: bytes, fds: list[int], connection: socket.socket, held: str | None) -> str | None:
        if data == b"bad":
            raise ValueError(data)
        for fd in fds:
            os.close(fd)
        connection.send(f"{held} {len(fds)}".encode())
        return data.decode()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(30)
        client.connect(self.path)
        return client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "s")
    yield server
    server.thread.join(30)
    server.listener.close()
    assert not server.thread.is_alive()  # it ends by itself soon after its last connection


def test_messages_and_ends(server: Server) -> None:
    reading, writing = os.pipe()
    with server.connect() as one, server.connect() as other:
        one.send(b"a")
        assert one.recv(100) == b"None 0"
        socket.send_fds(one, [b"b"], [reading, writing])
        assert one.recv(100) == b"a 2"
        other.send(b"c")
        assert other.recv(100) == b"None 0"
        one.send(b"b")  # answered when the message before has been dealt with
        assert one.recv(100) == b"b 0"
        assert sorted(server.connections.held()) == ["b", "c"]
    os.close(reading)
    os.close(writing)
    server.thread.join(30)
    assert sorted(server.ended) == ["b", "c"]


def test_a_bad_message_ends_its_connection_only(server: Server) -> None:
    reading, writing = os.pipe()
    with server.connect() as good:
        good.send(b"a")
        assert good.recv(100) == b"None 0"
        with server.connect() as bad:
            socket.send_fds(bad, [b"bad"], [writing])
            assert bad.recv(100) == b""
        os.close(writing)
        assert os.read(reading, 1) == b""  # its copy is closed, too
        good.send(b"b")
        assert good.recv(100) == b"a 0"
    os.close(reading)


NONSENSE = (b"{", b"[]", b"1", b'"id"', b"{}", b'{"id": 1}', b'{"id": "a/b"}', b'{"id": "a", "address": 1, "ports": 7}')


@pytest.mark.parametrize("main", [dns._Resolver, proxy._Proxy], ids=["resolver", "proxy"])
def test_nonsense_does_not_end_a_worker(main: type[dns._Resolver | proxy._Proxy], tmp_path: Path) -> None:
    loop = Loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        if main is dns._Resolver:
            dns._Resolver(loop, None, None, listener)  # type: ignore[arg-type]
        else:
            proxy._Proxy(loop, listener)
        thread = threading.Thread(target=loop.run)
        thread.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as engine:
            engine.connect(str(tmp_path / "s"))
            engine.send(b'{"engine": true}')
            for text in NONSENSE:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                    client.settimeout(30)
                    client.connect(str(tmp_path / "s"))
                    client.send(text)
                    if not (main is proxy._Proxy and text == b"{}"):  # nothing that the proxy knows, and no harm
                        assert client.recv(100) == b""
            assert thread.is_alive()
        thread.join(30)
        assert not thread.is_alive()
