"""BuildKit's messages: its Control service and the bridge for frontends (a session's are in ``buildkit_session``).

Field numbers are the protocol's; fields that nothing here reads are left out, and skipped when they come. Names are
ours where the protocol's are not ``snake_case``.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated

from rundlet.api.protobuf import Message, Timestamp

# ── builds ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Input(Message, frozen=True):
    """An earlier operation's result, by the digest of its bytes."""

    digest: Annotated[str, 1] = ""
    index: Annotated[int, 2] = 0


class SourceOperation(Message, frozen=True):
    """Something that is fetched: ``docker-image://…``, ``git://…``, ``https://…``, ``local://…``."""

    identifier: Annotated[str, 1] = ""
    attributes: Annotated[Mapping[str, str], 2] = {}


class CopyAction(Message, frozen=True):
    """``contents``: of a directory what is in it; ``unpack``: of an archive."""

    source: Annotated[str, 1] = ""
    destination: Annotated[str, 2] = ""
    contents: Annotated[bool, 6] = False
    unpack: Annotated[bool, 7] = False


class FileAction(Message, frozen=True):
    """``second`` is the operation's input that something is copied from."""

    first: Annotated[int, 1] = 0
    second: Annotated[int, 2] = 0
    copy: Annotated[CopyAction | None, 4] = None


class FileOperation(Message, frozen=True):
    actions: Annotated[tuple[FileAction, ...], 2] = ()


class Operation(Message, frozen=True):
    """One of a graph, of the kind of that field which is there; the last one of a graph has ``inputs`` only, and says
    which result is meant."""

    inputs: Annotated[tuple[Input, ...], 1] = ()
    run: Annotated[bytes | None, 2] = None
    source: Annotated[SourceOperation | None, 3] = None
    files: Annotated[FileOperation | None, 4] = None
    build: Annotated[bytes | None, 5] = None
    merge: Annotated[bytes | None, 6] = None
    difference: Annotated[bytes | None, 7] = None


class OperationMetadata(Message, frozen=True):
    description: Annotated[Mapping[str, str], 2] = {}


class Definition(Message, frozen=True):
    """A build graph (LLB): operations, each after those that it needs; what is said of them by their digests."""

    operations: Annotated[tuple[bytes, ...], 1] = ()
    metadata: Annotated[Mapping[str, OperationMetadata], 2] = {}


class CacheEntry(Message, frozen=True):
    type: Annotated[str, 1] = ""
    attributes: Annotated[Mapping[str, str], 2] = {}


class CacheOptions(Message, frozen=True):
    exports: Annotated[tuple[CacheEntry, ...], 4] = ()
    imports: Annotated[tuple[CacheEntry, ...], 5] = ()


class Exporter(Message, frozen=True):
    type: Annotated[str, 1] = ""
    attributes: Annotated[Mapping[str, str], 2] = {}


class SolveRequest(Message, frozen=True):
    """``exporter`` and its attributes are what older clients say instead of ``exporters``."""

    ref: Annotated[str, 1] = ""
    definition: Annotated[Definition | None, 2] = None
    exporter: Annotated[str, 3] = ""
    exporter_attributes: Annotated[Mapping[str, str], 4] = {}
    session: Annotated[str, 5] = ""
    frontend: Annotated[str, 6] = ""
    frontend_attributes: Annotated[Mapping[str, str], 7] = {}
    cache: Annotated[CacheOptions | None, 8] = None
    entitlements: Annotated[tuple[str, ...], 9] = ()
    frontend_inputs: Annotated[Mapping[str, Definition], 10] = {}
    internal: Annotated[bool, 11] = False
    source_policy: Annotated[bytes, 12] = b""
    exporters: Annotated[tuple[Exporter, ...], 13] = ()


class SolveResponse(Message, frozen=True):
    exporter_response: Annotated[Mapping[str, str], 1] = {}


class StatusRequest(Message, frozen=True):
    ref: Annotated[str, 1] = ""


class Vertex(Message, frozen=True):
    """A step and its state."""

    digest: Annotated[str, 1] = ""
    name: Annotated[str, 3] = ""
    cached: Annotated[bool, 4] = False
    started: Annotated[Timestamp | None, 5] = None
    completed: Annotated[Timestamp | None, 6] = None
    error: Annotated[str, 7] = ""


class VertexStatus(Message, frozen=True):
    """Bytes that go somewhere for a step."""

    id: Annotated[str, 1] = ""
    vertex: Annotated[str, 2] = ""
    name: Annotated[str, 3] = ""
    current: Annotated[int, 4] = 0
    total: Annotated[int, 5] = 0
    timestamp: Annotated[Timestamp | None, 6] = None
    started: Annotated[Timestamp | None, 7] = None
    completed: Annotated[Timestamp | None, 8] = None


class VertexLog(Message, frozen=True):
    vertex: Annotated[str, 1] = ""
    timestamp: Annotated[Timestamp | None, 2] = None
    stream: Annotated[int, 3] = 0
    data: Annotated[bytes, 4] = b""


class SourceInfo(Message, frozen=True):
    filename: Annotated[str, 1] = ""
    data: Annotated[bytes, 2] = b""
    language: Annotated[str, 4] = ""


class Position(Message, frozen=True):
    line: Annotated[int, 1] = 0
    character: Annotated[int, 2] = 0


class Range(Message, frozen=True):
    start: Annotated[Position | None, 1] = None
    end: Annotated[Position | None, 2] = None


class VertexWarning(Message, frozen=True):
    vertex: Annotated[str, 1] = ""
    level: Annotated[int, 2] = 0
    short: Annotated[bytes, 3] = b""
    detail: Annotated[tuple[bytes, ...], 4] = ()
    url: Annotated[str, 5] = ""
    info: Annotated[SourceInfo | None, 6] = None
    ranges: Annotated[tuple[Range, ...], 7] = ()


class StatusResponse(Message, frozen=True):
    vertexes: Annotated[tuple[Vertex, ...], 1] = ()
    statuses: Annotated[tuple[VertexStatus, ...], 2] = ()
    logs: Annotated[tuple[VertexLog, ...], 3] = ()
    warnings: Annotated[tuple[VertexWarning, ...], 4] = ()


# ── the worker and its cache ─────────────────────────────────────────────────────────────────────────────────────


class Platform(Message, frozen=True):
    architecture: Annotated[str, 1] = ""
    os: Annotated[str, 2] = ""
    variant: Annotated[str, 3] = ""


class Version(Message, frozen=True):
    package: Annotated[str, 1] = ""
    version: Annotated[str, 2] = ""
    revision: Annotated[str, 3] = ""


class Worker(Message, frozen=True):
    id: Annotated[str, 1] = ""
    labels: Annotated[Mapping[str, str], 2] = {}
    platforms: Annotated[tuple[Platform, ...], 3] = ()
    version: Annotated[Version | None, 5] = None


class WorkersResponse(Message, frozen=True):
    record: Annotated[tuple[Worker, ...], 1] = ()


class InfoResponse(Message, frozen=True):
    version: Annotated[Version | None, 1] = None


class UsageRecord(Message, frozen=True):
    """Sizes in bytes."""

    id: Annotated[str, 1] = ""
    mutable: Annotated[bool, 2] = False
    in_use: Annotated[bool, 3] = False
    size: Annotated[int, 4] = 0
    created: Annotated[Timestamp | None, 6] = None
    last_used: Annotated[Timestamp | None, 7] = None
    usage_count: Annotated[int, 8] = 0
    description: Annotated[str, 9] = ""
    record_type: Annotated[str, 10] = ""
    shared: Annotated[bool, 11] = False
    parents: Annotated[tuple[str, ...], 12] = ()


class UsageRequest(Message, frozen=True):
    filter: Annotated[tuple[str, ...], 1] = ()


class UsageResponse(Message, frozen=True):
    record: Annotated[tuple[UsageRecord, ...], 1] = ()


class PruneRequest(Message, frozen=True):
    """``keep_duration`` in nanoseconds, spaces in bytes."""

    filter: Annotated[tuple[str, ...], 1] = ()
    all: Annotated[bool, 2] = False
    keep_duration: Annotated[int, 3] = 0
    reserved_space: Annotated[int, 4] = 0
    max_used_space: Annotated[int, 5] = 0
    min_free_space: Annotated[int, 6] = 0


# ── past builds ──────────────────────────────────────────────────────────────────────────────────────────────────


class Any(Message, frozen=True):
    type_url: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


class Status(Message, frozen=True):
    """``google.rpc.Status``, also in the trailers of a call that failed."""

    code: Annotated[int, 1] = 0
    message: Annotated[str, 2] = ""
    details: Annotated[tuple[Any, ...], 3] = ()


class BlobDescriptor(Message, frozen=True):
    """Content that the same connection's content service has."""

    media_type: Annotated[str, 1] = ""
    digest: Annotated[str, 2] = ""
    size: Annotated[int, 3] = 0
    annotations: Annotated[Mapping[str, str], 5] = {}


class ResultInfo(Message, frozen=True):
    """Of one platform: what is stated of it, and what each output came to."""

    deprecated: Annotated[BlobDescriptor | None, 1] = None
    attestations: Annotated[tuple[BlobDescriptor, ...], 2] = ()
    results: Annotated[Mapping[int, BlobDescriptor], 3] = {}


class BuildRecord(Message, frozen=True):
    """A build, under way or past. ``results`` are by platform where there are several, else it is ``result``."""

    ref: Annotated[str, 1] = ""
    frontend: Annotated[str, 2] = ""
    attributes: Annotated[Mapping[str, str], 3] = {}
    exporters: Annotated[tuple[Exporter, ...], 4] = ()
    error: Annotated[Status | None, 5] = None
    created: Annotated[Timestamp | None, 6] = None
    completed: Annotated[Timestamp | None, 7] = None
    logs: Annotated[BlobDescriptor | None, 8] = None
    response: Annotated[Mapping[str, str], 9] = {}
    result: Annotated[ResultInfo | None, 10] = None
    results: Annotated[Mapping[str, ResultInfo], 11] = {}
    generation: Annotated[int, 12] = 0
    pinned: Annotated[bool, 14] = False
    cached_steps: Annotated[int, 15] = 0
    total_steps: Annotated[int, 16] = 0
    completed_steps: Annotated[int, 17] = 0
    external_error: Annotated[BlobDescriptor | None, 18] = None
    warnings: Annotated[int, 19] = 0


class HistoryRequest(Message, frozen=True):
    """``early_exit``: only what there is now."""

    active_only: Annotated[bool, 1] = False
    ref: Annotated[str, 2] = ""
    early_exit: Annotated[bool, 3] = False
    filters: Annotated[tuple[str, ...], 4] = ()
    limit: Annotated[int, 5] = 0


class HistoryEventType(IntEnum):
    STARTED = 0
    COMPLETE = 1
    DELETED = 2


class HistoryEvent(Message, frozen=True):
    type: Annotated[int, 1] = 0
    record: Annotated[BuildRecord | None, 2] = None


class HistoryUpdate(Message, frozen=True):
    """``finalize``: nothing more is waited for before the record is whole."""

    ref: Annotated[str, 1] = ""
    pinned: Annotated[bool, 2] = False
    delete: Annotated[bool, 3] = False
    finalize: Annotated[bool, 4] = False


# ── content, by containerd's service ─────────────────────────────────────────────────────────────────────────────


class ContentInfo(Message, frozen=True):
    digest: Annotated[str, 1] = ""
    size: Annotated[int, 2] = 0
    created: Annotated[Timestamp | None, 3] = None
    updated: Annotated[Timestamp | None, 4] = None


class ContentInfoRequest(Message, frozen=True):
    digest: Annotated[str, 1] = ""


class ContentInfoResponse(Message, frozen=True):
    info: Annotated[ContentInfo | None, 1] = None


class ContentReadRequest(Message, frozen=True):
    """``size`` 0: to the end."""

    digest: Annotated[str, 1] = ""
    offset: Annotated[int, 2] = 0
    size: Annotated[int, 3] = 0


class ContentReadResponse(Message, frozen=True):
    offset: Annotated[int, 1] = 0
    data: Annotated[bytes, 2] = b""


class ContentWrite(IntEnum):
    STAT = 0
    WRITE = 1
    COMMIT = 2


class ContentWriteRequest(Message, frozen=True):
    """``ref`` names what is being written; ``total`` and ``expected`` are what it is to come to."""

    action: Annotated[int, 1] = 0
    ref: Annotated[str, 2] = ""
    total: Annotated[int, 3] = 0
    expected: Annotated[str, 4] = ""
    offset: Annotated[int, 5] = 0
    data: Annotated[bytes, 6] = b""


class ContentWriteResponse(Message, frozen=True):
    action: Annotated[int, 1] = 0
    offset: Annotated[int, 4] = 0
    total: Annotated[int, 5] = 0
    digest: Annotated[str, 6] = ""


# ── the bridge for frontends ─────────────────────────────────────────────────────────────────────────────────────


class Capability(Message, frozen=True):
    id: Annotated[str, 1] = ""
    enabled: Annotated[bool, 2] = False


class Pong(Message, frozen=True):
    frontend_capabilities: Annotated[tuple[Capability, ...], 1] = ()
    llb_capabilities: Annotated[tuple[Capability, ...], 2] = ()
    workers: Annotated[tuple[Worker, ...], 3] = ()


class Ref(Message, frozen=True):
    id: Annotated[str, 1] = ""
    definition: Annotated[Definition | None, 2] = None


class RefMap(Message, frozen=True):
    refs: Annotated[Mapping[str, Ref], 1] = {}


class Result(Message, frozen=True):
    ref: Annotated[Ref | None, 3] = None
    refs: Annotated[RefMap | None, 4] = None
    metadata: Annotated[Mapping[str, bytes], 10] = {}


class FileRange(Message, frozen=True):
    """``length`` 0: to the end."""

    offset: Annotated[int, 1] = 0
    length: Annotated[int, 2] = 0


class ReadFileRequest(Message, frozen=True):
    ref: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""
    range: Annotated[FileRange | None, 3] = None


class ReadFileResponse(Message, frozen=True):
    data: Annotated[bytes, 1] = b""


class FrontendRequest(Message, frozen=True):
    """The bridge's Solve."""

    definition: Annotated[Definition | None, 1] = None
    frontend: Annotated[str, 2] = ""
    attributes: Annotated[Mapping[str, str], 3] = {}
    cache_imports: Annotated[tuple[CacheEntry, ...], 12] = ()
    inputs: Annotated[Mapping[str, Definition], 13] = {}


class FrontendResponse(Message, frozen=True):
    ref: Annotated[str, 1] = ""
    result: Annotated[Result | None, 3] = None


class ReturnRequest(Message, frozen=True):
    result: Annotated[Result | None, 1] = None
    error: Annotated[Status | None, 2] = None


class Empty(Message, frozen=True):
    """No fields, or none that matter here."""
