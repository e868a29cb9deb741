"""HTTPS to trust servers: tokens, proxies, limits, certificates. Servers of the test's own on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import select
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.trust_site import certificates

from rundlet.cli.context import Context
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import parse
from rundlet.cli.trust.https import Place
from rundlet.cli.trust.remote import Remote, server_for
from rundlet.trust.errors import ServerError, TooLargeError, UploadRefusedError
from rundlet.trust.updater import Request

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]


class Server:
    """``answer`` decides; ``seen`` has what came: method, path, Authorization."""

    def __init__(self, directory: Path) -> None:
        self.authority, certificate, key = certificates(directory)
        self.seen: list[tuple[str, str, str]] = []
        self.answer: Answer = lambda _request: (404, {}, b"{}")
        self.body = b""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                server.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
                status, headers, data = server.answer(self)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(data)

            do_GET = do_POST = _any

            def log_message(self, *_words: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join(60)
        self._http.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "server")
    yield running
    running.close()


@pytest.fixture
def config(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOCKER_CONTENT_TRUST_SERVER", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    known = tmp_path / "config/tls" / server.address
    known.mkdir(parents=True)
    shutil.copy(server.authority, known / "ca.crt")
    login = {"auths": {server.address: {"auth": base64.b64encode(b"user:secret").decode()}}}
    (tmp_path / "config/config.json").write_text(json.dumps(login))
    return tmp_path / "config"


_opened: list[Remote] = []


@pytest.fixture(autouse=True)
def _close_remotes() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def remote(server: Server, config: Path, actions: str = "pull") -> Remote:
    context = Context("rundlet", {"config": str(config), "host": [], "context": ""})
    made = Remote(context, parse(f"{server.address}/team/app:1"), actions)
    _opened.append(made)
    return made


def test_files_and_what_is_not_there(server: Server, config: Path) -> None:
    server.answer = lambda request: (200, {}, b"data") if "root" in request.path else (404, {}, b"{}" * 500)
    found = remote(server, config)
    assert found.file("root", 4) == b"data"
    assert found.file("targets/releases", 4) is None
    prefix = f"/v2/{server.address}/team/app/_trust/tuf/"
    assert [path for _, path, _ in server.seen] == [f"{prefix}root.json", f"{prefix}targets/releases.json"]


FOLLOWING = Request("timestamp", 1 << 20)


def asked(server: Server) -> list[str]:
    return [path.rpartition("/")[2] for _, path, _ in server.seen]


def test_what_follows_is_asked_for_in_the_same_breath(server: Server, config: Path) -> None:
    server.answer = lambda request: (200, {}, b"now") if "timestamp" in request.path else (404, {}, b"{}")
    found = remote(server, config)

    assert found.file("2.root", 100, FOLLOWING) is None
    assert asked(server) == ["2.root.json", "timestamp.json"]
    assert found.file("timestamp", 100) == b"now"
    assert asked(server) == ["2.root.json", "timestamp.json"]
    assert found.file("timestamp", 100) == b"now"  # kept for one call only
    assert len(server.seen) == 3


def test_what_came_ahead_is_forgotten_when_something_else_is_wanted(server: Server, config: Path) -> None:
    server.answer = lambda request: (200, {}, request.path.rpartition("/")[2].encode())
    found = remote(server, config)

    assert found.file("2.root", 100, FOLLOWING) == b"2.root.json"
    assert found.file("3.root", 100) == b"3.root.json"
    assert found.file("timestamp", 100) == b"timestamp.json"
    assert asked(server) == ["2.root.json", "timestamp.json", "3.root.json", "timestamp.json"]


def test_a_server_that_ends_the_connection_after_an_answer(server: Server, config: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        request.close_connection = True
        return (200 if "timestamp" in request.path else 404), {"Connection": "close"}, b"now"

    server.answer = answer
    found = remote(server, config)

    assert found.file("2.root", 100, FOLLOWING) is None
    assert found.file("timestamp", 100) == b"now"
    assert asked(server) == ["2.root.json", "timestamp.json"]


def test_an_answer_that_failed_is_asked_for_again(server: Server, config: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if "timestamp" not in request.path:
            return 404, {}, b"{}"
        return (503, {}, b"") if len(server.seen) == 2 else (200, {}, b"now")

    server.answer = answer
    found = remote(server, config)

    assert found.file("2.root", 100, FOLLOWING) is None
    assert found.file("timestamp", 100) == b"now"
    assert asked(server) == ["2.root.json", "timestamp.json", "timestamp.json"]


def test_a_challenge_answers_both_requests(server: Server, config: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if not request.headers.get("Authorization"):
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"{}"
        return (200, {}, b"now") if "timestamp" in request.path else (404, {}, b"{}")

    server.answer = answer
    found = remote(server, config)

    assert found.file("2.root", 100, FOLLOWING) is None
    assert found.file("timestamp", 100) == b"now"
    assert asked(server) == ["2.root.json", "timestamp.json", "2.root.json", "timestamp.json"]


def test_a_token_is_fetched_with_the_login(server: Server, config: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if request.path.startswith("/token?"):
            return 200, {}, b'{"token": "T"}'
        if request.headers.get("Authorization") == "Bearer T":
            return 200, {}, b"data"
        realm = f'Bearer realm="https://{server.address}/token",service="notary",scope="x"'
        return 401, {"WWW-Authenticate": realm}, b"{}"

    server.answer = answer
    found = remote(server, config, "push,pull")
    assert found.file("root", 100) == b"data"
    assert found.file("root", 100) == b"data"
    paths = [path.partition("?")[0] for _, path, _ in server.seen]
    file = f"/v2/{server.address}/team/app/_trust/tuf/root.json"
    assert paths == [file, "/token", file, file]
    assert server.seen[1][2] == "Basic " + base64.b64encode(b"user:secret").decode()
    assert "scope=repository%3A127.0.0.1" in server.seen[1][1]
    assert server.seen[1][1].endswith("push%2Cpull&client_id=rundlet")


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        ('Bearer realm="http://127.0.0.1/token"', "which is no https URL"),
        ('Bearer service="x"', "which is no https URL"),
        ("Negotiate", "you are not authorized"),
        ('Basic realm="x"', "you are not authorized"),
    ],
)
def test_challenges_that_lead_nowhere(server: Server, config: Path, challenge: str, words: str) -> None:
    server.answer = lambda _request: (401, {"WWW-Authenticate": challenge}, b"{}")
    with pytest.raises(ServerError, match=words):
        remote(server, config).file("root", 100)


def test_endless_data(server: Server, config: Path) -> None:
    """Announced or not, no more is read than there may be."""
    server.answer = lambda _request: (200, {}, b"x" * (1 << 20) + b"yz")
    with pytest.raises(TooLargeError):
        remote(server, config).file("timestamp", 1 << 20)
    server.answer = lambda _request: (200, {"Content-Length": str(1 << 50)}, b"x" * (3 << 20))
    with pytest.raises(TooLargeError):
        remote(server, config).file("timestamp", 1 << 20)


@pytest.mark.parametrize("length", ["-5", "x", "99"])
def test_answers_that_are_none(server: Server, config: Path, length: str) -> None:
    server.answer = lambda _request: (200, {"Content-Length": length, "Connection": "close"}, b"short")
    with pytest.raises(ServerError):
        remote(server, config).file("root", 100)


def test_statuses(server: Server, config: Path) -> None:
    server.answer = lambda _request: (503, {}, b"{}")
    with pytest.raises(ServerError, match="answered 503 for root"):
        remote(server, config).file("root", 100)
    detail = {"Name": "ErrBadTargets", "Error": {"Msg": "expired"}}
    refusal = {"errors": [{"code": "INVALID_UPDATE", "message": "Update sent is invalid.", "detail": detail}]}
    server.answer = lambda _request: (400, {}, json.dumps(refusal).encode())
    with pytest.raises(UploadRefusedError, match=r"^Update sent is invalid: expired$"):
        remote(server, config).upload({"root": b"r", "targets/releases": b"t"})
    assert b'filename="targets/releases"\r\n' in server.body
    server.answer = lambda _request: (500, {}, b"<html>")
    with pytest.raises(UploadRefusedError, match="answered 500"):
        remote(server, config).upload({})


def test_a_kept_connection_that_the_server_has_closed(server: Server, config: Path) -> None:
    server.answer = lambda _request: (200, {}, b"data")
    found = remote(server, config)
    assert found.file("root", 100) == b"data"
    assert found._connection is not None
    found._connection.socket.shutdown(socket.SHUT_RDWR)
    assert found.file("root", 100) == b"data"


def test_certificates(server: Server, config: Path) -> None:
    known = config / "tls" / server.address / "ca.crt"
    good = known.read_bytes()
    other, _, _ = certificates(config.parent / "other")
    shutil.copy(other, known)
    with pytest.raises(ServerError, match=r"tls: .*goes to <config>/tls/<host>/ca.crt"):
        remote(server, config).file("root", 100)
    known.write_bytes(b"rubbish")
    with pytest.raises(CommandError, match=f"can't use {known}"):
        remote(server, config).file("root", 100)
    known.write_bytes(good)
    server.answer = lambda _request: (200, {}, b"data")
    found = remote(server, config)
    assert found.file("root", 100) == b"data"


# ── proxies ──────────────────────────────────────────────────────────────────────────────────────────────────


class Proxy:
    """One that takes CONNECT to anything and leads to ``address``; ``heads`` are the requests."""

    def __init__(self, address: str, status: bytes = b"200 yes") -> None:
        self.heads: list[str] = []
        self._target = address
        self._status = status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://me:p%40ss@127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head.decode())
        client.sendall(b"HTTP/1.1 " + self._status + b"\r\n\r\n")
        host, _, port = self._target.rpartition(":")
        with contextlib.suppress(OSError), client, socket.create_connection((host, int(port))) as far:
            while True:
                for source in select.select([client, far], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    (far if source is client else client).sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _beyond(server: Server, config: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """``localhost.example`` is only to be reached through the proxy, and is not in the certificate."""
    monkeypatch.setenv("DOCKER_CONTENT_TRUST_SERVER", "https://trust.invalid:444")
    known = config / "tls/trust.invalid:444"
    known.mkdir()
    shutil.copy(server.authority, known / "ca.crt")
    return "trust.invalid:444"


def test_through_a_proxy(server: Server, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the certificate, which is for another name: the proxy sees TLS and nothing else."""
    name = _beyond(server, config, monkeypatch)
    proxy = Proxy(server.address)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try:
        with pytest.raises(ServerError, match="tls: "):
            remote(server, config).file("root", 100)
    finally:
        proxy.close()
    assert proxy.heads[0].startswith(f"CONNECT {name} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss").decode() in proxy.heads[0]


def test_a_proxy_that_refuses(server: Server, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _beyond(server, config, monkeypatch)
    proxy = Proxy(server.address, b"407 no")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try:
        with pytest.raises(ServerError, match="the proxy answered 407"):
            remote(server, config).file("root", 100)
    finally:
        proxy.close()


def test_loopback_needs_no_proxy(server: Server, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    server.answer = lambda _request: (200, {}, b"data")
    found = remote(server, config)
    assert found.file("root", 100) == b"data"


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [("a.example", "a.example", 443), ("a:5000", "a", 5000), ("[::1]:5000", "::1", 5000), ("[::1]", "::1", 443)],
)
def test_places(name: str, host: str, port: int) -> None:
    place = Place(name)
    assert (place.host, place.port) == (host, port)


def test_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONTENT_TRUST_SERVER", raising=False)
    assert server_for(parse("debian")) == "https://notary.docker.io"
    assert server_for(parse("quay.io/x/y")) == "https://quay.io"
    monkeypatch.setenv("DOCKER_CONTENT_TRUST_SERVER", "https://t.example/prefix/")
    assert server_for(parse("debian")) == "https://t.example/prefix"
    for bad in ("http://t.example", "t.example", "https://", "https:///x"):
        monkeypatch.setenv("DOCKER_CONTENT_TRUST_SERVER", bad)
        with pytest.raises(CommandError, match="valid https URL required for trust server, got"):
            server_for(parse("debian"))
