"""Docker's json-file logs: the encoding and the writer. Standard library only (the shim runs it).

One line of output is one line of JSON, ``{"log":"text\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}``
(with ``"attrs"`` before the time where log options ask for attributes).
Lines longer than 16 KiB are cut into pieces, all but the last without ``\\n``. Characters are escaped as Docker's
writer does: ``<``, ``>``, ``&``, U+2028 and U+2029 too, and every byte that is no UTF-8 becomes ``\\ufffd``.

Most output is plain text: a chunk of it is encoded by a few passes of C code over the whole (a byte-wise loop would be
fifty times slower), and only bytes that need it are looked at.
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from typing import Final

from rundlet.runtime import logcompress

PARTIAL: Final = 16384
_TRIES: Final = 1000
_MOMENT: Final = 0.001  # seconds

_ESCAPES: Final[dict[int, bytes]] = {
    number: f"\\u{number:04x}".encode() for number in (*range(0x20), ord("<"), ord(">"), ord("&"))
} | {ord("\\"): b"\\\\", ord('"'): b'\\"', ord("\r"): b"\\r"}
_NEWLINE: Final = 0x0A
# Bytes that may stand as they are inside a chunk of lines.
_PLAIN: Final = bytes(number for number in range(0x80) if number not in _ESCAPES or number == _NEWLINE)
_SEPARATORS: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def timestamp(ns: int) -> bytes:
    """Nanoseconds since the epoch as Go's RFC3339Nano in UTC: trailing zeros of the fraction are left out."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f"{fraction:09d}".rstrip("0")
    return (f"{stamp}.{digits}Z" if digits else f"{stamp}Z").encode()


def escape(text: bytes) -> bytes:
    """The inside of a JSON string for ``text``; newlines are left alone."""
    odd = text.translate(None, _PLAIN)
    if not odd:
        return text
    present = set(odd)
    if 0x5C in present:
        text = text.replace(b"\\", b"\\\\")
    for number in present:
        if number < 0x80 and number != 0x5C:
            text = text.replace(bytes((number,)), _ESCAPES[number])
    if max(present) < 0x80:
        return text
    try:
        text.decode()
    except UnicodeDecodeError:
        text = _replace_invalid(text)
    if 0xE2 in present:
        for raw, escaped in _SEPARATORS:
            text = text.replace(raw, escaped)
    return text


def _replace_invalid(text: bytes) -> bytes:
    """One ``\\ufffd`` for each byte that is not part of a valid sequence, as Go's decoder sees them."""
    decoded = text.decode("utf-8", "surrogateescape")
    invalid = {ord(character): "\\ufffd" for character in set(decoded) if 0xDC80 <= ord(character) <= 0xDCFF}
    return decoded.translate(invalid).encode()


class Encoder:
    """Cuts one stream ("stdout", "stderr") into lines and encodes them."""

    __slots__ = ("_cut_at", "_end", "_partial", "_time")

    def __init__(self, stream: str, attributes: bytes = b"") -> None:
        """``attributes``: a JSON object that every entry carries; empty: none."""
        extra = b'"attrs":' + attributes + b"," if attributes else b""
        self._end = b'","stream":"' + stream.encode() + b'",' + extra + b'"time":"'
        self._partial = b""
        self._time = b""  # of the first piece of a line in pieces: all pieces of a line have the same
        self._cut_at = 0

    def encode(self, chunk: bytes, now: bytes) -> bytes:
        """All entries that ``chunk`` completes; ``now`` is a :func:`timestamp`."""
        data = self._partial + chunk if self._partial else chunk
        complete = data.rfind(b"\n") + 1
        rest = data[complete:]
        output = []
        if complete:
            output.append(self._lines(data[:complete], now))
        while len(rest) >= PARTIAL:
            output.append(self._piece(rest[:PARTIAL], now))
            rest = rest[PARTIAL:]
        self._partial = rest
        return b"".join(output)

    def finish(self, now: bytes) -> bytes:
        """What was left without a newline when the stream ended."""
        rest, self._partial = self._partial, b""
        return self._piece(rest, now) if rest else b""

    def _lines(self, lines: bytes, now: bytes) -> bytes:
        """``lines`` ends with a newline."""
        output = []
        if self._time:
            # The end of a line in pieces has the time of its beginning.
            first = lines.index(b"\n") + 1
            output.append(self._long(lines[:first], self._time))
            self._time = b""
            lines = lines[first:]
            if not lines:
                return output[0]
        if len(lines) <= PARTIAL:
            output.append(self._plain(lines, now))
            return b"".join(output)
        start = 0
        while start < len(lines):
            # As many whole lines as fit in one piece at once; a line that doesn't fit alone is cut.
            end = lines.rfind(b"\n", start, start + PARTIAL) + 1
            if end > start:
                output.append(self._plain(lines[start:end], now))
            else:
                end = lines.index(b"\n", start) + 1
                output.append(self._long(lines[start:end], now))
            start = end
        return b"".join(output)

    def _plain(self, lines: bytes, now: bytes) -> bytes:
        """Lines of which none is longer than a piece."""
        end = self._end + now + b'"}\n'
        body = escape(lines[:-1]).replace(b"\n", b"\\n" + end + b'{"log":"')
        return b'{"log":"' + body + b"\\n" + end

    def _long(self, line: bytes, now: bytes) -> bytes:
        """One line, with its newline, in pieces."""
        output = []
        start = 0
        while len(line) - 1 - start >= PARTIAL:
            output.append(self._entry(line[start : start + PARTIAL], now, b""))
            start += PARTIAL
        output.append(self._entry(line[start:-1], now, b"\\n"))
        return b"".join(output)

    def _piece(self, piece: bytes, now: bytes) -> bytes:
        self._time = self._time or now
        return self._entry(piece, self._time, b"")

    def _entry(self, text: bytes, now: bytes, newline: bytes) -> bytes:
        return b'{"log":"' + escape(text) + newline + self._end + now + b'"}\n'


class LogWriter:
    """A json-file with rotation. A full disk drops entries, and counts them: it never stops the container."""

    __slots__ = (
        "_attributes",
        "_before",
        "_compress",
        "_encoders",
        "_fd",
        "_max_file",
        "_max_size",
        "_path",
        "_shifted",
        "_size",
        "_working",
        "dropped",
    )

    def __init__(
        self,
        path: str,
        max_size: int = 0,
        max_file: int = 1,
        *,
        compress: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """``max_size`` in bytes, 0: no rotation; ``max_file`` counts the current one. Raises: OSError.

        ``compress`` rotated files, beside the writing. ``attributes`` are added to every entry.
        """
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._compress = compress and self._max_file > 1
        self._attributes = json.dumps(attributes, separators=(",", ":")).encode() if attributes else b""
        self._encoders: dict[str, Encoder] = {}
        self._working = -1  # ends when the last rotated file is compressed
        self.dropped = 0
        self._fd = -1
        self._before = -1  # where one file only is kept: the one that it replaced
        self._size = 0
        self._shifted = True
        self._open(0)

    @property
    def size(self) -> int:
        """Bytes in the current file."""
        return self._size

    def write(self, stream: str, chunk: bytes) -> None:
        """Log a chunk of output as it was read."""
        encoder = self._encoders.get(stream)
        if encoder is None:
            encoder = self._encoders[stream] = Encoder(stream, self._attributes)
        entries = encoder.encode(chunk, timestamp(time.time_ns()))
        if entries:
            self._append(entries)

    def finish(self) -> None:
        """The streams ended: log what had no newline."""
        now = timestamp(time.time_ns())
        for encoder in self._encoders.values():
            entries = encoder.finish(now)
            if entries:
                self._append(entries)

    def close(self) -> None:
        self._close_file()
        self._forget_before()
        self._await_compression()

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _forget_before(self) -> None:
        if self._before >= 0:
            os.close(self._before)
            self._before = -1

    def _append(self, entries: bytes) -> None:
        if not self._max_size:
            self._put(entries)
            return
        start = 0
        while start < len(entries):
            # As Docker: a file is full once it has reached its size, and is then rotated before the next entry.
            if self._size >= self._max_size:
                self._rotate()
            end = entries.find(b"\n", start + max(0, self._max_size - self._size - 1)) + 1 or len(entries)
            self._put(entries[start:end])
            start = end

    def _put(self, entries: bytes) -> None:
        if self._fd < 0:
            self.dropped += entries.count(b"\n")
            return
        done = 0
        try:
            while done < len(entries):
                done += os.write(self._fd, entries[done:] if done else entries)
        except OSError:
            done = self._give_up(entries, done)
        self._size += done

    def _give_up(self, entries: bytes, done: int) -> int:
        """The disk is full: keep whole lines only, count the others. Returns how many bytes were kept."""
        kept = entries.rfind(b"\n", 0, done) + 1
        if done > kept:
            try:
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - (done - kept))
            except OSError:
                kept = done
        self.dropped += entries.count(b"\n", kept)
        return kept

    def _rotate(self) -> None:
        try:
            if self._fd >= 0:
                self._await_compression()
                self._close_file()
                self._await_readers()
                self._shifted = False
            if not self._shifted:  # also where that failed the last time: the file is full, and must not be emptied
                self._shift()
                self._shifted = True
            self._open(os.O_TRUNC)
            if self._compress:
                self._working = logcompress.compress_aside(f"{self._path}.1")
        except OSError:
            pass  # the next entries are dropped and counted; the next rotation tries again
        self._size = self._size if self._fd >= 0 else self._max_size

    def _await_readers(self) -> None:
        """A file that is to be dropped is locked by who follows the log and has not seen what came after it.

        A second at most, and once for who is stopped altogether: the lock of a file that has no name holds nobody.
        """
        try:
            fd = self._last()
        except FileNotFoundError:
            return
        try:
            for _ in range(_TRIES):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_MOMENT)
                else:
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    return
        finally:
            os.close(fd)

    def _last(self) -> int:
        """The file that readers must not be at any more, lest they miss the next one. Raises: FileNotFoundError."""
        if self._max_file > 1:
            return os.open(f"{self._path}.{self._max_file - 1}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if self._before < 0:
            raise FileNotFoundError
        return os.dup(self._before)

    def _shift(self) -> None:
        """Every older file gets the next number, compressed or not; the oldest is replaced.

        A single file makes room for another rather than being emptied: who reads it has it to its end.
        """
        if self._max_file == 1:
            self._replace()
        for number in range(self._max_file - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            newer = f"{self._path}.{number}"
            for suffix, other in (("", logcompress.SUFFIX), (logcompress.SUFFIX, "")):
                try:
                    os.rename(older + suffix, newer + suffix)
                except FileNotFoundError:
                    continue
                _remove(newer + other)

    def _replace(self) -> None:
        self._forget_before()
        try:
            self._before = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return  # somebody else removed it
        _remove(self._path)

    def _await_compression(self) -> None:
        """Names may move only when nobody works on them; this also keeps a flood of output from piling up work."""
        if self._working >= 0:
            os.read(self._working, 1)
            os.close(self._working)
            self._working = -1

    def _open(self, flags: int) -> None:
        flags |= os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
