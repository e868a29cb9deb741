"""The process that delivers to log services: cutting, queueing, encoding, and what happens when a service is away."""

import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from rundlet.runtime.logger import main, syslog
from rundlet.runtime.logger.journald import Journal
from rundlet.runtime.logger.queue import PARTIAL, Block, Queue, Splitter, lines
from rundlet.runtime.logger.syslog import Syslog

NOON = 1_767_355_445_123_456_789  # 2026-01-02T12:04:05.123456789Z


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_blocks_end_where_lines_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"one\ntwo\nthr") == [b"one\ntwo\n"]
    assert splitter.feed(b"ee") == []
    assert splitter.feed(b"\n") == [b"three\n"]
    assert splitter.feed(b"x" * (PARTIAL + 1)) == [b"x" * PARTIAL]
    assert splitter.finish() == [b"x"]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", [(b"a", False), (b"b", False)]),
        (b"\n", [(b"", False)]),
        (b"rest", [(b"rest", False)]),
        (b"x" * PARTIAL, [(b"x" * PARTIAL, True)]),
        (b"x" * PARTIAL + b"\n", [(b"x" * PARTIAL, False)]),
        (b"a\n" + b"x" * (PARTIAL + 3) + b"\n", [(b"a", False), (b"x" * PARTIAL, True), (b"xxx", False)]),
    ],
)
def test_lines_of_a_block(data: bytes, expected: list[tuple[bytes, bool]]) -> None:
    assert lines(data) == expected


def test_a_full_queue_drops_new_lines_where_nobody_may_wait() -> None:
    queue = Queue(10, blocking=False)
    for text in (b"12345\n", b"a\nb\nc\n", b"6\n"):
        queue.put(Block(1, 0, text))
    queue.close()
    assert [block.data for block in iter(queue.get, None)] == [b"12345\n", b"6\n"]
    assert queue.dropped == 3


def test_a_full_queue_makes_a_blocking_writer_wait() -> None:
    queue = Queue(10, blocking=True)
    writer = threading.Thread(target=lambda: [queue.put(Block(1, 0, b"12345678\n")) for _ in range(50)])
    writer.start()
    assert [queue.get() for _ in range(50)] == [Block(1, 0, b"12345678\n")] * 50
    writer.join(60)
    assert queue.dropped == 0


@pytest.mark.parametrize(
    ("format_", "network", "stream", "expected"),
    [
        ("", "udp", 1, "<30>Jan  2 12:04:05 box[7]: hi\n"),
        ("", "udp", 2, "<27>Jan  2 12:04:05 box[7]: hi\n"),
        ("rfc3164", "tcp", 1, "<30>Jan  2 12:04:05 here box[7]: hi\n"),
        ("rfc5424", "tcp", 1, "<30>1 2026-01-02T12:04:05Z here box 7 box - hi\n"),
        ("rfc5424micro", "tcp", 1, "<30>1 2026-01-02T12:04:05.123456Z here box 7 box - hi\n"),
        ("rfc5424", "tcp+tls", 1, "46 <30>1 2026-01-02T12:04:05Z here box 7 box - hi"),
    ],
)
def test_syslog_formats(
    monkeypatch: pytest.MonkeyPatch, format_: str, network: str, stream: int, expected: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    monkeypatch.setattr("os.getpid", lambda: 7)
    service = Syslog({"network": network, "address": "x:1", "facility": 3, "format": format_}, "box")
    assert service.encode(stream, NOON, b"hi").decode() == expected


def test_journal_entries(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.settimeout(60)
        journal = Journal({"socket": str(tmp_path / "journal")}, {"CONTAINER_NAME": "box", "LABEL": "a\nb"})
        journal.send(2, NOON, b"oops", partial=True)
        entry = server.recv(9000)
        journal.send(1, NOON, b"x" * 5_000_000, partial=False)
        data, fds, _, _ = socket.recv_fds(server, 100, 1)
        journal.close()
    assert entry == (
        b"MESSAGE=oops\nPRIORITY=3\nSYSLOG_TIMESTAMP=2026-01-02T12:04:05.123456789Z\nCONTAINER_NAME=box\n"
        b"LABEL\n" + struct.pack("<Q", 3) + b"a\nb\nCONTAINER_PARTIAL_MESSAGE=true\n"
    )
    assert data == b""
    with open(fds[0], "rb") as memory:
        memory.seek(0)
        assert memory.read().startswith(b"MESSAGE=" + b"x" * 5_000_000 + b"\nPRIORITY=6\n")


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def logger(settings: dict[str, Any]) -> tuple[socket.socket, threading.Thread]:
    near, far = socket.socketpair()
    thread = threading.Thread(target=main.run, args=({"id": "x", "blocking": True, "buffer": 100_000} | settings, far))
    thread.start()
    return near, thread


def test_a_life_that_ends_without_a_newline_ends_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    near, thread = logger({"driver": "file", "file": {"path": str(path), "max_size": 0, "max_file": 1}})
    with near:
        near.sendall(frame(1, b"first\nsec") + frame(2, b"err\n") + frame(1, b"ond\nrest") + frame(1, b""))
    thread.join(60)
    found = [(entry["stream"], entry["log"]) for entry in map(json.loads, path.read_text().splitlines())]
    assert found == [("stdout", "first\n"), ("stderr", "err\n"), ("stdout", "second\n"), ("stdout", "rest")]


def test_a_service_that_takes_nothing_holds_nobody_for_ever(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "PATIENCE", 0.1)
    monkeypatch.setattr(syslog, "_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        where = {"network": "tcp", "address": f"127.0.0.1:{server.getsockname()[1]}", "facility": 3, "format": ""}
        near, thread = logger({"driver": "syslog", "syslog": where, "tag": "x"})
        with near:
            near.settimeout(60)
            block = frame(1, b"y" * 99 + b"\n") * 600
            for _ in range(500):  # 30 MB: more than sockets hold
                near.sendall(block)
        thread.join(60)
        assert not thread.is_alive()
    assert "log messages were not delivered" in capfd.readouterr().err


def test_a_service_that_comes_back_gets_what_is_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(main, "PATIENCE", 60)
    path = tmp_path / "syslog"
    where = {"network": "unix", "address": str(path), "facility": 3, "format": ""}
    near, thread = logger({"driver": "syslog", "syslog": where, "tag": "x"})
    with near:
        near.sendall(frame(1, b"waits\n"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            server.settimeout(60)
            assert server.recv(1000).endswith(b": waits\n")
        path.unlink()
        near.sendall(frame(1, b"again\n"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            server.settimeout(60)
            assert server.recv(1000).endswith(b": again\n")
    thread.join(60)


@pytest.mark.parametrize("failure", [RuntimeError("nobody thought of this"), UnicodeError("label too long")])
def test_a_delivery_that_fails_holds_nobody_for_ever(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise failure

    monkeypatch.setattr(main, "PATIENCE", 0.1)
    monkeypatch.setattr(Syslog, "send", fail)
    where = {"network": "tcp", "address": "127.0.0.1:1", "facility": 3, "format": ""}
    near, thread = logger({"driver": "syslog", "syslog": where, "tag": "x"})
    with near:
        near.settimeout(60)
        block = frame(1, b"y" * 99 + b"\n") * 600
        for _ in range(20):  # more than sockets and the queue hold
            near.sendall(block)
    thread.join(60)
    assert not thread.is_alive()
    said = capfd.readouterr().err
    assert "12000 log messages were not delivered" in said or isinstance(failure, RuntimeError)
    assert ("nobody thought of this" in said) is isinstance(failure, RuntimeError)
    assert "log messages were not delivered" in said
