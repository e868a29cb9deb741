"""A process's input and output: from its pipes or terminal to the log and to attached clients, and back.

Nothing is lost and memory is bounded: what was read is logged at once; a client that doesn't keep up lets bytes pile up
to ``BACKLOG``, then nothing more is read from the process until it has caught up, or has gone.

A failure that nobody thought of costs whom it is about: a client its connection, a stream its rest. It is reported; the
container lives on.
"""

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Final, Protocol

from rundlet.linux.loop import READ, WRITE, Loop
from rundlet.runtime.shim import failures

CHUNK: Final = 65536
BACKLOG: Final = 1 << 20
_MOST_TERMINAL: Final = 1 << 20  # more than any terminal holds
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
_HEADER: Final = struct.Struct(">BxxxL")  # Docker's framing of attached streams that have no terminal
_NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}


def _held(fd: int) -> int:
    """How many bytes a pipe holds."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    return count


class Log(Protocol):
    def write(self, stream: str, chunk: bytes) -> None: ...


class Client:
    """One attached connection: a stream socket. ``logger``: framed in any case, and told of the end of a life."""

    def __init__(
        self, hub: "Hub", fd: int, wanted: frozenset[int], detach_keys: bytes, *, logger: bool = False
    ) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._logger = logger
        self.wanted = wanted
        self._hub = hub
        self._loop = hub.loop
        self._pending = bytearray()
        self._reading = True
        self._heard_all = False  # the client closed its sending side
        self._ending = False
        self._keys = detach_keys
        self._matched = 0
        self._loop.add(fd, READ, self._ready)

    @property
    def backlog(self) -> int:
        """Bytes that it has not taken yet."""
        return len(self._pending)

    def send(self, stream: int, data: bytes, framed: bool) -> None:
        """Queue and send what goes."""
        if framed or self._logger:
            data = _HEADER.pack(stream, len(data)) + data
        if not self._pending:
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._hub.drop(self)
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._pending += data  # in one piece: a thousand small ones would take more than their bytes
        self._watch()

    def end(self) -> None:
        """No more output will come: close once everything is sent."""
        if self._logger and not self._ending:
            self.send(STDOUT, b"", framed=True)  # may be the end of us: the logger is gone
        self._ending = True
        self._reading = False
        if self._pending:
            self._watch()
        else:
            self._hub.drop(self)  # nothing happens where it was dropped already

    def lost(self) -> bool:
        """Whether this is a logger that ended before the container did."""
        return self._logger and not self._ending

    def pause(self, paused: bool) -> None:
        """Stop or go on reading the client's input."""
        self._reading = not (paused or self._heard_all or self._ending)
        self._watch()

    def close(self) -> None:
        """The hub has forgotten it."""
        self._loop.remove(self.fd)
        os.close(self.fd)
        self.fd = -1

    def _watch(self) -> None:
        if self._loop.has(self.fd):
            self._loop.change(self.fd, (READ if self._reading else 0) | (WRITE if self._pending else 0))

    def _ready(self, events: int) -> None:
        try:
            self._serve(events)
        except Exception as exc:
            failures.report("a client was let go of", exc)
            self._hub.drop(self)

    def _serve(self, events: int) -> None:
        if events & WRITE or (self._pending and not events & READ):
            self._flush()
        elif events & READ and self._reading:
            self._read()
        elif events & ~READ:
            self._hub.drop(self)  # hung up while we were not interested in its input

    def _flush(self) -> None:
        try:
            if self._pending:
                del self._pending[: os.write(self.fd, self._pending)]
        except BlockingIOError:
            pass
        except OSError:
            self._hub.drop(self)
            return
        if not self._pending and self._ending:
            self._hub.drop(self)
            return
        self._watch()
        self._hub.caught_up()

    def _read(self) -> None:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._hub.drop(self)
            return
        if not data and self._logger:
            self._hub.drop(self)
            return
        if not data:
            self._heard_all, self._reading = True, False
            self._watch()
            self._hub.input_ended(self)
            return
        data, detached = self._detach(data)
        if data and STDIN in self.wanted:
            self._hub.feed(data)
        if detached:
            self._hub.detached(self)

    def _detach(self, data: bytes) -> tuple[bytes, bool]:
        """Look for the detach keys; a part of them at the end is held back until it is known what follows."""
        keys = self._keys
        if not keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(passed), True
                continue
            if self._matched:
                passed += keys[: self._matched]
                self._matched = 1 if byte == keys[0] else 0
                if self._matched:
                    continue
            passed.append(byte)
        return bytes(passed), False


class Hub:
    """The streams of one process. ``ended`` is called when all its output has been read and handed on to the log."""

    def __init__(
        self,
        loop: Loop,
        log: Log | None,
        *,
        tty: bool,
        stdin_once: bool,
        on_detach: Callable[[], None] | None = None,
        on_logger_gone: Callable[[], None] | None = None,
    ) -> None:
        self.loop = loop
        self.tty = tty
        self._log = log
        self._stdin_once = stdin_once
        self._on_detach = on_detach
        self._on_logger_gone = on_logger_gone
        self._outputs: dict[int, int] = {}  # descriptor → stream
        self._clients: list[Client] = []
        self._paused = False
        self._input = -1
        self._queue = b""  # input that the process has not taken yet
        self._close_input = False
        self.on_output_end: Callable[[], None] | None = None
        self.on_clients_gone: Callable[[], None] | None = None

    def outputs(self, stdout: int, stderr: int = -1) -> None:
        """Read from these descriptors (the terminal's master: as stdout)."""
        for fd, stream in ((stdout, STDOUT), (stderr, STDERR)):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs[fd] = stream
                self.loop.add(fd, 0 if self._paused else READ, self._reader(fd))

    def input(self, fd: int) -> None:
        """Write clients' input to this descriptor."""
        os.set_blocking(fd, False)
        self._input = fd
        self.loop.add(fd, 0, self._input_ready)
        if self._queue:
            self._drain_input()
        elif self._close_input:
            self._shut_input()

    def attach(self, fd: int, wanted: frozenset[int], detach_keys: bytes = b"") -> None:
        """A client's stream socket, which the hub owns from now on."""
        self._adopt(fd, wanted, detach_keys if self.tty else b"")

    def log_to(self, fd: int) -> None:
        """A logger's stream socket, which the hub owns from now on."""
        self._adopt(fd, frozenset((STDOUT, STDERR)), logger=True)

    def _adopt(self, fd: int, wanted: frozenset[int], keys: bytes = b"", *, logger: bool = False) -> None:
        try:
            client = Client(self, fd, wanted, keys, logger=logger)
        except BaseException:
            os.close(fd)  # else whoever is at the other end would wait for ever
            raise
        self._clients.append(client)
        if self._queue:
            client.pause(True)

    def feed(self, data: bytes) -> None:
        """Input from a client."""
        if self._close_input:
            return
        self._queue += data
        self._drain_input()
        if self._queue:
            for client in self._clients:
                client.pause(True)

    def input_ended(self, client: Client) -> None:
        """A client closed its sending side. Docker: with stdin_once that closes stdin, else it ends the attachment."""
        if STDIN not in client.wanted:
            return
        if self._stdin_once and not self.tty:
            self._close_input = True
            if not self._queue:
                self._shut_input()
        else:
            client.end()

    def detached(self, client: Client) -> None:
        client.end()
        if self._on_detach:
            self._on_detach()

    def drop(self, client: Client) -> None:
        """Forget a client that is done or gone."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        client.close()
        if client.lost() and self._on_logger_gone:
            self._on_logger_gone()
        self.caught_up()
        if not self._clients and self.on_clients_gone:
            self.on_clients_gone()

    def caught_up(self) -> None:
        """Go on reading the process if no client is behind any more."""
        if self._paused and all(client.backlog < BACKLOG for client in self._clients):
            self._paused = False
            for fd in self._outputs:
                if self.loop.has(fd):
                    self.loop.change(fd, READ)
                else:  # hung up meanwhile
                    self.loop.add(fd, READ, self._reader(fd))

    def drain(self) -> None:
        """The process is dead: read what is left, whatever clients do, and end.

        What is left is what is in the pipe now: children that an exec left behind may write on, for ever, and faster
        than any client reads.
        """
        for fd in list(self._outputs):
            left = _MOST_TERMINAL if self.tty else _held(fd)
            while left > 0 and (count := self._read(fd)):
                left -= count
            if not left and fd in self._outputs:
                self._read(fd)  # the end of the file, where that is what comes next

    def open(self) -> bool:
        """Whether output may still come."""
        return bool(self._outputs)

    def busy(self) -> bool:
        """Whether clients are still owed output."""
        return bool(self._clients)

    def close(self) -> None:
        """No more input or output; clients are let go once they have got everything."""
        for fd in list(self._outputs):
            self._end_output(fd)
        self._shut_input()
        for client in list(self._clients):
            client.end()

    def _reader(self, fd: int) -> Callable[[int], None]:
        return lambda _events: self._turn(fd)

    def _turn(self, fd: int) -> None:
        if not self._paused:
            self._read(fd)
        elif fd in self._outputs:
            self.loop.remove(fd)  # hung up: epoll reports that in any case, caught_up and drain read what is left

    def _read(self, fd: int) -> int:
        """One chunk; its length, 0 when there is none (now, or ever)."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if exc.errno != errno.EIO:  # EIO: the last process let go of the terminal
                failures.report("output can't be read any more", exc)
            data = b""
        if not data:
            self._end_output(fd)
            return 0
        stream = self._outputs[fd]
        if self._log is not None:
            self._log.write(_NAMES[stream], data)
        for client in list(self._clients):
            if stream in client.wanted:
                self._pass_on(client, stream, data)
        if not self._paused and any(client.backlog >= BACKLOG for client in self._clients):
            self._paused = True
            for other in self._outputs:
                if self.loop.has(other):
                    self.loop.change(other, 0)
        return len(data)

    def _pass_on(self, client: Client, stream: int, data: bytes) -> None:
        try:
            client.send(stream, data, not self.tty)
        except Exception as exc:
            failures.report("a client was let go of", exc)
            self.drop(client)

    def _end_output(self, fd: int) -> None:
        if self._outputs.pop(fd, None) is not None:
            self.loop.remove(fd)
            os.close(fd)
            if not self._outputs and self.on_output_end:
                self.on_output_end()

    def _input_ready(self, events: int) -> None:
        if events & WRITE:
            self._drain_input()
        else:
            self._shut_input()  # the process closed its end

    def _drain_input(self) -> None:
        if self._input < 0:
            return
        try:
            while self._queue:
                self._queue = self._queue[os.write(self._input, self._queue) :]
        except BlockingIOError:
            self.loop.change(self._input, WRITE)
            return
        except OSError:
            self._shut_input()
            return
        self.loop.change(self._input, 0)
        for client in self._clients:
            client.pause(False)
        if self._close_input:
            self._shut_input()

    def _shut_input(self) -> None:
        self._queue = b""
        if self._input >= 0:
            self._close_input = True
            self.loop.remove(self._input)
            os.close(self._input)
            self._input = -1
            for client in self._clients:
                client.pause(False)  # what it says has no taker any more, but its own end must be seen
