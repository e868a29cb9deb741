"""HTTP_PROXY and its like for engines that are reached over a network."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rundlet.client.endpoint import Endpoint, TlsSettings
from rundlet.client.errors import ClientError, ConnectError
from rundlet.client.proxies import chosen
from rundlet.client.session import Session


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def proxy(*answers: bytes) -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers what comes on one connection with ``answers``; its address, and the heads it was sent."""
    heads: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for answer in answers:
                    heads.append("".join(iter(lambda: lines.readline().decode(), "\r\n")))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", heads
        thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_requests_go_to_the_proxy_with_the_whole_address_and_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(OK, OK) as (address, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:s%20p@{address}")
        session = Session(Endpoint("tcp://engine.example:2375"), version="1.45")
        assert session.get("/info") == {}
        assert session.post("/images/prune") == {}
        session.close()
    first, second = heads
    assert first.startswith("GET http://engine.example:2375/v1.45/info HTTP/1.1\r\nHost: engine.example:2375\r\n")
    assert "Proxy-Authorization: Basic bWU6cyBw\r\n" in first
    assert second.startswith("POST http://engine.example:2375/v1.45/images/prune HTTP/1.1\r\n")


def test_tls_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as (address, heads):
        monkeypatch.setenv("https_proxy", address)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with pytest.raises(ClientError, match=r"the proxy answered 407 to a connection with engine\.example:2376"):
            Endpoint("tcp://engine.example", TlsSettings("", "", "", verify=False)).connect()
    assert heads[0].startswith("CONNECT engine.example:2376 HTTP/1.1\r\n")


def test_streams_go_past_a_proxy_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr("rundlet.util.bypass.bypassed", lambda _host, _port, _rules: False)
    upgraded = b"HTTP/1.1 101 UPGRADED\r\n\r\nhello"
    with proxy(upgraded) as (address, heads):
        stream = Session(Endpoint(f"tcp://{address}")).hijack("/containers/x/attach")
        assert stream.recv() == b"hello"
        stream.close()
    assert heads[0].startswith("POST /containers/x/attach HTTP/1.1\r\n")
    with pytest.raises(ConnectError):
        Session(Endpoint(f"tcp://{address}")).get("/info")


@pytest.mark.parametrize(
    ("rules", "host", "used"),
    [
        ("", "engine.example", True),
        ("", "localhost", False),
        ("", "127.0.0.1", False),
        ("", "::1", False),
        ("*", "engine.example", False),
        ("example", "engine.example", False),
        (".example", "engine.example", False),
        (".engine.example", "engine.example", True),
        ("gine.example", "engine.example", True),
        ("engine.example:2375", "engine.example", False),
        ("engine.example:1", "engine.example", True),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/x", "10.1.2.3", True),
        ("other.example, 10.1.2.3", "10.1.2.3", False),
    ],
)
def test_where_no_proxy_is_used(rules: str, host: str, used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", rules)
    found = chosen("http", host, 2375)
    assert (found is not None) is used
    assert found is None or (found.host, found.port) == ("proxy.example", 3128)
    assert chosen("https", host, 2375) is None


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("socks5://x:1", "scheme socks5:// is not supported"),
        ("http://x:y", "invalid proxy address"),
        ("http://", "invalid proxy address"),
    ],
)
def test_proxies_that_are_none(url: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(ClientError, match=error):
        Endpoint("tcp://engine.example").proxy()


def test_sockets_of_this_machine_know_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://x:y")
    assert Endpoint("unix:///run/x.sock").proxy() is None
    assert Endpoint("ssh://host").proxy() is None
