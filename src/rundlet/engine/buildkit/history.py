"""The last builds: ``docker buildx history``.

As in Docker the last fifty of the last two days are kept, and those that were pinned. A build that an ended engine was
at leaves no record.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from typing import Final

import msgspec

from rundlet.api.buildkit import BuildRecord, HistoryEvent, HistoryEventType, HistoryRequest, StatusResponse
from rundlet.engine.buildkit import historyfilters, records
from rundlet.engine.buildkit.historyfilters import nanoseconds
from rundlet.engine.buildkit.progress import timestamp_of
from rundlet.engine.buildkit.records import Recorder
from rundlet.errors import NotFoundError
from rundlet.oci.digest import Digest
from rundlet.storage.tree import remove_path
from rundlet.util.clock import Clock

_COUNT: Final = 50
_AGE_NS: Final = 48 * 3600 * 10**9
_WAITING: Final = 1000
"""Events that wait for a listener; one that doesn't listen any more is told no more."""


class RecordNotFoundError(NotFoundError):
    reason = "build-record-not-found"

    def __init__(self, ref: str) -> None:
        super().__init__(f"no record of a build {ref}")


class History:
    """One per engine."""

    def __init__(self, root: str, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._records: dict[str, BuildRecord] | None = None
        self._active: dict[str, Recorder] = {}
        self._listeners: set[asyncio.Queue[HistoryEvent]] = set()

    # ── a build's life ───────────────────────────────────────────────────────────────────────────────────────

    def begin(self, record: BuildRecord) -> Recorder:
        """The build ``record`` says what was asked of has begun."""
        known = self._known()
        directory = records.directory_of(self._root, record.ref)
        if record.ref in known:
            del known[record.ref]
        remove_path(directory)
        record = msgspec.structs.replace(record, created=timestamp_of(self._clock.now_ns()))
        recorder = self._active[record.ref] = Recorder(directory, record)
        self._tell(HistoryEventType.STARTED, recorder.record)
        return recorder

    def end(self, recorder: Recorder, record: BuildRecord) -> None:
        """It is over: ``record`` has what it came to."""
        del self._active[record.ref]
        record = msgspec.structs.replace(record, completed=timestamp_of(self._clock.now_ns()))
        record = self._known()[record.ref] = recorder.finish(record)
        self._tell(HistoryEventType.COMPLETE, record)
        self._expire()

    def forget(self, recorder: Recorder) -> None:
        """It was no build after all."""
        del self._active[recorder.record.ref]
        self._tell(HistoryEventType.DELETED, recorder.record)
        recorder.discard()

    def _expire(self) -> None:
        known, now = self._known(), self._clock.now_ns()
        kept = 0
        for record in sorted(known.values(), key=_age):
            if record.pinned:
                continue
            kept += 1
            if kept > _COUNT or now - nanoseconds(record.completed) > _AGE_NS:
                self.delete(record.ref)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> int:
        """The time in nanoseconds, by the clock that records are made with."""
        return self._clock.now_ns()

    async def listen(self, request: HistoryRequest) -> AsyncGenerator[HistoryEvent, None]:
        """What there is, and then, unless the request says otherwise, what happens. Raises InvalidParameterError."""
        matches = historyfilters.parse(request.filters)

        def wanted(event: HistoryEvent) -> bool:
            record = event.record
            return record is not None and request.ref in ("", record.ref) and matches(record)

        queue: asyncio.Queue[HistoryEvent] = asyncio.Queue(_WAITING)
        if not request.early_exit:
            self._listeners.add(queue)
        try:
            events = [HistoryEvent(HistoryEventType.STARTED, one.record) for one in self._active.values()]
            if not request.active_only:
                events += [HistoryEvent(HistoryEventType.COMPLETE, record) for record in self._known().values()]
            found = sorted(filter(wanted, events), key=lambda event: _age(event.record or BuildRecord()))
            for event in found[: request.limit or None]:
                yield event
            while queue in self._listeners:
                event = await queue.get()
                if wanted(event):
                    yield event
        finally:
            self._listeners.discard(queue)

    def said(self, ref: str) -> Iterator[StatusResponse] | None:
        """What was said in the past build ``ref``; None if there is no such."""
        if ref not in self._known():
            return None
        return records.messages(records.directory_of(self._root, ref))

    def blob(self, digest: Digest) -> str:
        """The path of what a record refers to; "" if none does."""
        for record in (*self._known().values(), *(one.record for one in self._active.values())):
            path = f"{records.directory_of(self._root, record.ref)}/blobs/{digest.encoded}"
            if os.path.exists(path):
                return path
        return ""

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────

    def pin(self, ref: str, pinned: bool) -> None:
        """Keep a record, or no longer. Raises RecordNotFoundError."""
        record = msgspec.structs.replace(self._record(ref), pinned=pinned)
        self._known()[ref] = record
        records.save(records.directory_of(self._root, ref), record)
        self._tell(HistoryEventType.COMPLETE, record)

    def delete(self, ref: str) -> None:
        """Raises RecordNotFoundError."""
        record = self._record(ref)
        del self._known()[ref]
        remove_path(records.directory_of(self._root, ref))
        self._tell(HistoryEventType.DELETED, record)

    def check(self, ref: str) -> None:
        """Raises RecordNotFoundError."""
        if ref not in self._active:
            self._record(ref)

    def _record(self, ref: str) -> BuildRecord:
        try:
            return self._known()[ref]
        except KeyError:
            raise RecordNotFoundError(ref) from None

    def _known(self) -> dict[str, BuildRecord]:
        if self._records is None:
            self._records = records.load(self._root)
        return self._records

    def _tell(self, kind: HistoryEventType, record: BuildRecord) -> None:
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
            else:
                queue.put_nowait(HistoryEvent(kind, record))


def _age(record: BuildRecord) -> int:
    return -nanoseconds(record.created)
