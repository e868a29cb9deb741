"""``logs``: a container's log as a client wants it — framed or raw, with times, a span of it, followed."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import quote_plus

from rundlet.api.containers import LogsOptions
from rundlet.api.stdcopy import STDERR, STDOUT, frame, header
from rundlet.api.streams import LogStream
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine.containers import documents
from rundlet.engine.context import Context
from rundlet.engine.logdrivers import readable_path
from rundlet.errors import InvalidParameterError
from rundlet.linux import inotify
from rundlet.runtime.logreader import Entry, LogReader
from rundlet.util.clock import rfc3339_nano

FOLLOW_SECONDS = 0.05
"""Between two looks at a log that is quiet."""
_BUSY_SECONDS = 0.002
"""After output: more is likely, and rotated files are there for so long only."""
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_NUMBERS = {name: number for number, name in _NAMES.items()}


class UnreadableLogError(InvalidParameterError):
    """The container's driver keeps no log."""

    reason = "unreadable-log"
    status = 501

    def __init__(self) -> None:
        super().__init__("configured logging driver does not support reading")


class LogService:
    """Streams logs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def logs(self, reference: str, options: LogsOptions) -> LogStream:
        """Raises InvalidParameterError, UnreadableLogError."""
        record = self._context.containers.find(reference)
        if not (options.stdout or options.stderr):
            raise InvalidParameterError("Bad parameters: you must choose at least one stream")
        config = documents.config(record)
        if not self.path(record):
            raise UnreadableLogError
        return LogStream(tty=config.tty, chunks=self.chunks(record, options))

    async def chunks(self, record: Record, options: LogsOptions, end: int | None = None) -> AsyncIterator[bytes]:
        """Encoded pieces, ready to send; ends with the container when followed, else with the log.

        ``end`` gives the byte of the current file to stop at.
        """
        config = documents.config(record)
        format_ = Format(options, tty=config.tty)
        path = self.path(record)
        reader = LogReader(path, options.tail, end, follow=options.follow, still=not options.follow)
        pause = FOLLOW_SECONDS
        watch = _watch_rotation(path, reader) if options.follow else -1
        try:
            while True:
                alive = options.follow and self._alive(record.id)
                pause = min(2 * pause, FOLLOW_SECONDS)
                while entries := await asyncio.to_thread(reader.read):
                    data, done = format_.encode(entries)
                    if data:
                        yield data
                    if done:
                        return
                    pause = _BUSY_SECONDS
                if not alive:
                    return
                if options.until is not None and self._context.clock.now_ns() > options.until:
                    return
                await asyncio.sleep(pause)
        finally:
            if watch >= 0:
                asyncio.get_running_loop().remove_reader(watch)
                os.close(watch)
            reader.close()

    def path(self, record: Record) -> str:
        """The file that the log is read from; "" where the driver keeps none."""
        return readable_path(documents.host(record).log_config, self._context.layout.container(record.id), record.id)

    def _alive(self, container_id: str) -> bool:
        if not self._context.containers.has(container_id):
            return False
        return is_running(self._context.containers.by_id(container_id).state.status)


def _watch_rotation(path: str, reader: LogReader) -> int:
    """Have the reader take hold of new files at once, also while its client takes nothing: a descriptor to close."""
    watch = inotify.init()
    inotify.add_watch(watch, os.path.dirname(path), inotify.IN_CREATE)

    def seen() -> None:
        inotify.read_events(watch)
        reader.look()

    asyncio.get_running_loop().add_reader(watch, seen)
    return watch


class Format:
    """One client's wishes. ``details`` shows the attributes that log options asked for; none: a lone space."""

    def __init__(self, options: LogsOptions, *, tty: bool) -> None:
        self._streams = {name for name, wanted in (("stdout", options.stdout), ("stderr", options.stderr)) if wanted}
        self._tty = tty
        self._timestamps = options.timestamps
        self._details = options.details
        self._since = rfc3339_nano(options.since) if options.since else ""
        self._until = rfc3339_nano(options.until) if options.until else ""

    def encode(self, entries: Sequence[Entry]) -> tuple[bytes, bool]:
        """(bytes to send, whether everything after is later than ``until``)."""
        if not (self._until or self._since or self._details or self._timestamps):
            return self._encode_all(entries), False
        parts: list[bytes] = []
        for entry in entries:
            if self._until and _later(entry.time, self._until):
                return b"".join(parts), True
            if entry.stream not in self._streams or (self._since and _later(self._since, entry.time)):
                continue
            text = entry.log.encode("utf-8", "surrogatepass")
            if self._details:
                text = _details(entry.attributes) + text
            if self._timestamps:
                text = f"{entry.time} ".encode() + text
            parts.append(text if self._tty else frame(_NUMBERS[entry.stream], text))
        return b"".join(parts), False

    def _encode_all(self, entries: Sequence[Entry]) -> bytes:
        """Entries as they are. Each has its own frame: docker-py hands frames on as the lines of the log."""
        if self._tty:
            whole = "".join([entry.log for entry in entries if entry.stream in self._streams])
            return whole.encode("utf-8", "surrogatepass")
        parts: list[bytes] = []
        # Lines are of few lengths: headers are made once each, by stream and length.
        headers: dict[str, dict[int, bytes]] = {name: {} for name in self._streams}
        for entry in entries:
            known = headers.get(entry.stream)
            if known is None:
                continue
            text = entry.log.encode()
            size = len(text)
            head = known.get(size)
            if head is None:
                head = known[size] = header(_NUMBERS[entry.stream], size)
            parts.append(head)
            parts.append(text)
        return b"".join(parts)


def _details(attributes: Mapping[str, str] | None) -> bytes:
    if not attributes:
        return b" "
    return ",".join(f"{quote_plus(key)}={quote_plus(attributes[key])}" for key in sorted(attributes)).encode() + b" "


def _later(left: str, right: str) -> bool:
    """Whether one RFC 3339 time is after another; the fractions may differ in length."""
    if left[:19] != right[:19]:
        return left[:19] > right[:19]
    return left[19:].rstrip("Z").ljust(10, "0") > right[19:].rstrip("Z").ljust(10, "0")
