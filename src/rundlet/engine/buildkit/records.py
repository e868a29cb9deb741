"""A build's record on disk: what was asked, what was said (the status log), what it came to.

A directory for each build: ``record``, ``status``, ``blobs/<digest>``. The status log is BuildKit's: each message after
its length in four bytes, the lowest first.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from rundlet.api.buildkit import BlobDescriptor, BuildRecord, StatusResponse, VertexLog
from rundlet.api.protobuf import MessageError, decode, encode
from rundlet.storage.tree import remove_path
from rundlet.util.fs import write_atomic

STATUS_TYPE: Final = "application/vnd.buildkit.status.v0"
_LENGTH: Final = struct.Struct("<I")
_LOG_LIMIT: Final = 2 << 20
"""Bytes that are kept of what one step writes."""
_CHUNK: Final = 1 << 20


def directory_of(root: str, ref: str) -> str:
    """Where the build ``ref`` is kept: references are what clients make up."""
    return f"{root}/{hashlib.sha256(ref.encode()).hexdigest()[:32]}"


class Recorder:
    """Writes the record of one build. Blocks, for moments."""

    def __init__(self, directory: str, record: BuildRecord) -> None:
        self.directory = directory
        self.record = record
        self._steps: dict[str, tuple[bool, bool]] = {}
        self._written: dict[str, int] = {}
        self._digest = hashlib.sha256()
        os.makedirs(f"{directory}/blobs", mode=0o700)
        self._status: BinaryIO | None = open(f"{directory}/status", "ab")  # noqa: SIM115 closed by finish

    def write(self, message: StatusResponse) -> None:
        """Something was said."""
        for vertex in message.vertexes:
            self._steps[vertex.digest] = (vertex.completed is not None and not vertex.error, vertex.cached)
        done = [cached for completed, cached in self._steps.values() if completed]
        self.record = msgspec.structs.replace(
            self.record,
            total_steps=len(self._steps),
            completed_steps=len(done),
            cached_steps=sum(done),
            warnings=self.record.warnings + len(message.warnings),
        )
        kept = tuple(log for log in message.logs if self._has_room(log))
        data = encode(msgspec.structs.replace(message, logs=kept))
        if self._status is not None and data:
            data = _LENGTH.pack(len(data)) + data
            self._status.write(data)
            self._digest.update(data)  # reading it all again at the end would hold everybody up

    def _has_room(self, log: VertexLog) -> bool:
        before = self._written.get(log.vertex, 0)
        self._written[log.vertex] = before + len(log.data)
        return before < _LOG_LIMIT

    def said(self) -> Iterator[StatusResponse]:
        """Everything so far."""
        if self._status is not None:
            self._status.flush()
        return messages(self.directory)

    def blob(self, media_type: str, data: bytes, **annotations: str) -> BlobDescriptor:
        """Keep ``data`` with the record."""
        digest = hashlib.sha256(data).hexdigest()
        write_atomic(f"{self.directory}/blobs/{digest}", data, durable=False)
        return BlobDescriptor(media_type, f"sha256:{digest}", len(data), annotations)

    def finish(self, record: BuildRecord) -> BuildRecord:
        """The build is over; ``record`` with what was counted, as it is kept."""
        assert self._status is not None
        self._status.close()
        self._status = None
        log = f"{self.directory}/status"
        digest = self._digest.hexdigest()
        size = os.path.getsize(log)
        os.link(log, f"{self.directory}/blobs/{digest}")
        mine = self.record
        self.record = msgspec.structs.replace(
            record,
            logs=BlobDescriptor(STATUS_TYPE, f"sha256:{digest}", size),
            total_steps=mine.total_steps,
            completed_steps=mine.completed_steps,
            cached_steps=mine.cached_steps,
            warnings=mine.warnings,
        )
        save(self.directory, self.record)
        return self.record

    def discard(self) -> None:
        """There was nothing worth a record."""
        if self._status is not None:
            self._status.close()
            self._status = None
        remove_path(self.directory)


def save(directory: str, record: BuildRecord) -> None:
    write_atomic(f"{directory}/record", encode(record), durable=False)


def load(root: str) -> dict[str, BuildRecord]:
    """All records by reference. What a killed engine left half done goes. Blocks."""
    found: dict[str, BuildRecord] = {}
    for name in os.listdir(root):
        directory = f"{root}/{name}"
        try:
            with open(f"{directory}/record", "rb") as file:
                record = decode(BuildRecord, file.read())
        except (OSError, MessageError):
            remove_path(directory)
            continue
        found[record.ref] = record
    return found


def messages(directory: str) -> Iterator[StatusResponse]:
    """What was said in the build that is kept in ``directory``. Blocks."""
    with open(f"{directory}/status", "rb") as file:
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            data = file.read(_LENGTH.unpack(head)[0])
            try:
                yield decode(StatusResponse, data)
            except MessageError:
                # The end of a file that was cut off.
                return
