"""A systemd that answers at a socket: what it was asked, and answers as a test wants them."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rundlet.linux.dbus import Variant, marshal, unmarshal

JOB = "/org/freedesktop/systemd1/job/1"


class Call(NamedTuple):
    member: str
    body: tuple[Any, ...]
    serial: int


class Answer(NamedTuple):
    """``error`` is D-Bus's name of one; ``after`` are the results of jobs that end then, ``before`` those before."""

    signature: str = ""
    body: tuple[Any, ...] = ()
    error: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class ServiceManager:
    """Serves one connection after the other until it is closed."""

    def __init__(self, path: Path, answer: Callable[[Call], Answer]) -> None:
        self.path = str(path)
        self.calls: list[Call] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                try:
                    self._converse(stream)
                except (ConnectionError, EOFError):
                    continue

    def _converse(self, stream: Any) -> None:
        if [stream.readline() for _ in range(3)] != [b"\0AUTH EXTERNAL\r\n", b"DATA\r\n", b"BEGIN\r\n"]:
            return
        stream.write(b"DATA\r\nOK 0123456789abcdef\r\n")
        stream.flush()
        while True:
            call = _read(stream)
            self.calls.append(call)
            answer = self._answer(call)
            for result in answer.before:
                stream.write(_signal(result))
            stream.write(_reply(call, answer))
            for result in answer.after:
                stream.write(_signal(result))
            stream.flush()


def _read(stream: Any) -> Call:
    head = stream.read(16)
    if len(head) < 16:
        raise EOFError
    size, serial, fields = (int.from_bytes(head[place : place + 4], "little") for place in (4, 8, 12))
    head += stream.read(fields + -fields % 8)
    found = {number: variant.value for number, variant in unmarshal("yyyyuua(yv)", head)[6]}
    return Call(found[3], unmarshal(found.get(8, ""), stream.read(size)), serial)


def _message(kind: int, fields: list[tuple[int, Variant]], signature: str, body: tuple[Any, ...]) -> bytes:
    if signature:
        fields = [*fields, (8, Variant("g", signature))]
    data = marshal(signature, body)
    head = marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, len(data), 99, fields))
    return head + bytes(-len(head) % 8) + data


def _reply(call: Call, answer: Answer) -> bytes:
    fields = [(5, Variant("u", call.serial))]
    if answer.error:
        return _message(3, [*fields, (4, Variant("s", answer.error))], "s", (f"{call.member} did not work",))
    return _message(2, fields, answer.signature, answer.body)


def _signal(result: str) -> bytes:
    fields = [(1, Variant("o", "/x")), (2, Variant("s", "a.B")), (3, Variant("s", "JobRemoved"))]
    return _message(4, fields, "uoss", (1, JOB, "x.scope", result))
