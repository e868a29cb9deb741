"""Joining the user's terminal or pipes to a container's streams, in one thread, by poll."""

from __future__ import annotations

import os
import select
from struct import unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rundlet.cli.signals import SignalPipe
    from rundlet.client.http import Hijacked

FRAME_HEADER = 8
READ_SIZE = 65536
SYSTEM_ERROR = 3
ESCAPE_KEYS = b"\x10\x11"


class StreamError(Exception):
    """The engine reported a failure within the stream."""


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, waiting where ``fd`` does not block."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


class Demultiplexer:
    """Splits Docker's framed stream: 1 byte stream number, 3 zero bytes, 4 bytes length (big endian), payload."""

    def __init__(self) -> None:
        self._buffer = b""
        self._stream = 1
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, piece) for all that is there: frames of one stream in a row are one piece; a payload is passed on
        before its frame is complete. A log has a frame for each line, so this loop is short.

        Raises StreamError for a frame that carries the engine's error or that is none.
        """
        data = self._buffer + data if self._buffer else data
        size, offset, left, stream = len(data), 0, self._left, self._stream
        pieces: list[bytes] = []
        while True:
            if left:
                end = offset + left
                if end > size:
                    pieces.append(data[offset:])
                    left, offset = end - size, size
                    break
                pieces.append(data[offset:end])
                offset = end
            if size - offset < FRAME_HEADER:
                left = 0
                break
            found, left = unpack_from(">BxxxL", data, offset)
            if found != stream:
                if pieces:
                    yield stream, b"".join(pieces)
                    pieces = []
                if found >= SYSTEM_ERROR and not self._complete_error(data, offset, found, left):
                    left = 0
                    break
                stream = found
            offset += FRAME_HEADER
        self._buffer, self._left, self._stream = data[offset:], left, stream
        if pieces:
            yield stream, b"".join(pieces)

    def _complete_error(self, data: bytes, offset: int, stream: int, length: int) -> bool:
        """Raise the error at ``offset``; False: the rest of its text is still to come."""
        if stream > SYSTEM_ERROR:
            raise StreamError(f"Unrecognized input header: {stream}")
        message = data[offset + FRAME_HEADER : offset + FRAME_HEADER + length]
        if len(message) < length:
            return False
        raise StreamError(f"error from daemon in stream: {message.decode('utf-8', 'replace')}")


def output_writer(*, framed: bool) -> Callable[[bytes], None]:
    """What writes a container's output to descriptors 1 and 2."""
    if not framed:
        return lambda data: write_all(1, data)
    demultiplexer = Demultiplexer()

    def write(data: bytes) -> None:
        for stream, piece in demultiplexer.feed(data):
            write_all(2 if stream == 2 else 1, piece)

    return write


class DetachKeys:
    """Watches what the user types for the sequence that detaches; the engine watches too, and this one knows why the
    stream ended."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> None:
        for byte in data:
            if self._sequence and byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    self.detached = True
                    self._matched = 0
            else:
                self._matched = 1 if self._sequence and byte == self._sequence[0] else 0


def pump(
    stream: Hijacked,
    *,
    framed: bool,
    stdin: bool,
    keys: DetachKeys | None = None,
    signals: SignalPipe | None = None,
    on_signal: Callable[[int], None] | None = None,
) -> None:
    """Copy until the container's output ends: descriptor 0 to it (half-closing at the end of input), it to 1 and 2.

    Signals that come meanwhile are given to ``on_signal``. Raises StreamError.
    """
    write = output_writer(framed=framed)
    # Input that the container doesn't take yet. Who waits for that can't read meanwhile what it says, and the container
    # may wait for just this: `run -i IMAGE cat` with much to copy.
    held = memoryview(b"")
    poll = select.poll()
    remote = stream.fileno()
    poll.register(remote, select.POLLIN)
    if stdin:
        poll.register(0, select.POLLIN)
    if signals is not None:
        poll.register(signals.fileno(), select.POLLIN)
    while True:
        ready = [(remote, select.POLLIN)] if stream.pending() else poll.poll()
        for fd, event in ready:
            if fd == remote and event & select.POLLOUT:
                left = _send(stream, held)
                held = left or held[:0]
                if not held:
                    poll.modify(remote, select.POLLIN)
                if not held and left is not None:
                    poll.register(0, select.POLLIN)
            if fd == remote:
                if event == select.POLLOUT:
                    continue
                data = stream.recv()
                if not data:
                    return
                write(data)
            elif fd == 0:
                taken = _take_input(stream, keys)
                if taken is None:
                    poll.unregister(0)
                    continue
                left = _send(stream, taken)
                held = left or held[:0]
                if held or left is None:
                    poll.unregister(0)
                if held:
                    poll.modify(remote, select.POLLIN | select.POLLOUT)
            elif signals is not None and on_signal is not None:
                for number in signals.read():
                    on_signal(number)


def _take_input(stream: Hijacked, keys: DetachKeys | None) -> memoryview | None:
    """One read of descriptor 0; None when no more can come, which the container is told."""
    try:
        data = os.read(0, READ_SIZE)
    except BlockingIOError:
        return memoryview(b"")
    except OSError:
        data = b""
    if not data:
        stream.close_write()
        return None
    if keys is not None:
        keys.feed(data)
    return memoryview(data)


def _send(stream: Hijacked, data: memoryview) -> memoryview | None:
    """What is left of ``data`` when all has been sent that can be now; None when nobody takes it any more."""
    try:
        return data[stream.send_some(data) :]
    except OSError:
        return None


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as bytes; ``DEL`` is the key that sends 127. Raises ValueError."""
    out = bytearray()
    for key in text.split(","):
        if len(key) == 1:
            out += key.encode()
        elif key == "DEL":
            out.append(0x7F)
        elif key.startswith("ctrl-") and len(key) == 6 and key[5].lower() in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            out.append(ord(key[5].upper()) & 0x1F)
        else:
            raise ValueError(f"Unknown character: '{key}'")
    return bytes(out)
