"""The logger's main: takes a container's output from its shim and delivers it, whether an engine runs or not.

Two threads: this one reads the shim's stream (Docker's frames), the other delivers. A service that is away is waited
for ``PATIENCE`` seconds, then what comes is dropped and counted until it is back: a container never waits for ever. The
end of the stream is the end of the container.
"""

import json
import os
import socket
import struct
import sys
import time
from typing import Any, Final, Protocol

from rundlet.linux import libc
from rundlet.runtime.logfile import LogWriter
from rundlet.runtime.logger.journald import Journal
from rundlet.runtime.logger.queue import Block, Queue, Splitter, lines
from rundlet.runtime.logger.syslog import Syslog
from rundlet.runtime.shim import failures

PATIENCE: Final = 5.0
_PAUSE: Final = 0.2
_AGAIN: Final = 1.0  # seconds between attempts once patience is at its end
_CHUNK: Final = 65536
_HEADER: Final = struct.Struct(">BxxxL")
_NAMES: Final = {1: "stdout", 2: "stderr"}
_importers: Final[list[list[Any]]] = []


class Service(Protocol):
    def send(self, stream: int, time_ns: int, message: bytes, *, partial: bool) -> None: ...

    def close(self) -> None: ...


def remember_importers() -> None:
    """In the launcher, before it shuts the door to imports: a logger never changes its root, so it may open it again

    (``ssl``, ``threading``, and what looking up a host's name needs, are not worth having in every shim).
    """
    _importers.extend([list(sys.path), list(sys.meta_path), list(sys.path_hooks)])


def main(fds: list[int]) -> int:
    """``fds``: a memory file with the settings (JSON), the stream from the shim."""
    if _importers:
        sys.path[:], sys.meta_path[:], sys.path_hooks[:] = _importers
    with open(fds[0], "rb", closefd=False) as file:
        file.seek(0)
        settings: dict[str, Any] = json.load(file)
    os.setsid()
    libc.set_name("rundlet-log")
    run(settings, socket.socket(fileno=os.dup(fds[1])))
    return 0


def run(settings: dict[str, Any], stream: socket.socket) -> None:
    """Until the stream's end, and everything is delivered or given up."""
    import threading

    queue = Queue(settings["buffer"], blocking=settings["blocking"])
    delivery = _delivery(settings)
    thread = threading.Thread(target=_deliver, args=(delivery, queue))
    thread.start()
    try:
        _read(stream, queue)
    finally:
        stream.close()
        queue.close()
        thread.join()
        lost = queue.dropped + delivery.dropped
        if lost:
            os.write(2, f"container {settings['id']}: {lost} log messages were not delivered\n".encode())


def _deliver(delivery: "FileDelivery | ServiceDelivery", queue: Queue) -> None:
    """Also where it fails in a way that nobody thought of, the container must not wait for it for ever."""
    try:
        delivery.run(queue)
    except Exception as exc:
        failures.report("a log is not delivered any more", exc)
        queue.give_up()


def _read(stream: socket.socket, queue: Queue) -> None:
    splitters = {number: Splitter() for number in _NAMES}
    data = b""
    while received := stream.recv(_CHUNK):
        data += received
        now = time.time_ns()
        while len(data) >= _HEADER.size:
            number, length = _HEADER.unpack_from(data)
            end = _HEADER.size + length
            if len(data) < end:
                break
            parts = splitters[number].feed(data[_HEADER.size : end])
            if not length:  # one life of the container ended
                _finish(splitters, queue)
            for part in parts:
                queue.put(Block(number, now, part))
            data = data[end:]
    _finish(splitters, queue)


def _finish(splitters: dict[int, Splitter], queue: Queue) -> None:
    for number, splitter in splitters.items():
        for part in splitter.finish():
            queue.put(Block(number, time.time_ns(), part))


def _delivery(settings: dict[str, Any]) -> "FileDelivery | ServiceDelivery":
    driver = settings["driver"]
    if driver == "file":
        return FileDelivery(settings["file"])
    if driver == "syslog":
        return ServiceDelivery(Syslog(settings["syslog"], settings["tag"]))
    return ServiceDelivery(Journal(settings["journald"], settings["fields"]))


class FileDelivery:
    """To a log file: for a container that must not wait for the disk either."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._writer = LogWriter(**settings)

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    def run(self, queue: Queue) -> None:
        while (block := queue.get()) is not None:
            self._writer.write(_NAMES[block.stream], block.data)
        self._writer.finish()
        self._writer.close()


class ServiceDelivery:
    """To a service that may be away for a while."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._away_since = 0.0
        self._next_try = 0.0
        self.dropped = 0

    def run(self, queue: Queue) -> None:
        while (block := queue.get()) is not None:
            for message, partial in lines(block.data):
                # Docker leaves empty lines out, too.
                if message and not self._deliver(block, message, partial=partial):
                    self.dropped += 1
        self._service.close()

    def _deliver(self, block: Block, message: bytes, *, partial: bool) -> bool:
        while True:
            now = time.monotonic()
            if self._away_since and now - self._away_since > PATIENCE and now < self._next_try:
                return False
            try:
                self._service.send(block.stream, block.time_ns, message, partial=partial)
            except (OSError, ValueError):  # ValueError: a name that is none (UnicodeError), an address without a port
                now = time.monotonic()
                self._away_since = self._away_since or now
                if now - self._away_since > PATIENCE:
                    self._next_try = now + _AGAIN
                    return False
                time.sleep(_PAUSE)
                continue
            self._away_since = 0.0
            return True
