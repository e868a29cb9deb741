"""The one worker that BuildKit's clients see: what it is, what it can do, and its cache."""

import hashlib
import re
import socket
from collections.abc import Sequence
from typing import Final

import rundlet
from rundlet.api.buildkit import (
    Capability,
    InfoResponse,
    Platform,
    Pong,
    PruneRequest,
    UsageRecord,
    UsageRequest,
    UsageResponse,
    Version,
    Worker,
    WorkersResponse,
)
from rundlet.api.builds import BuildPruneOptions, CacheUsage
from rundlet.api.filters import BUILD_PRUNE, Filters
from rundlet.api.protobuf import decode, encode
from rundlet.engine.buildkit.progress import timestamp
from rundlet.engine.builds.service import BuildService
from rundlet.engine.context import Context
from rundlet.errors import NotSupportedError
from rundlet.oci.platform import Platform as OciPlatform
from rundlet.transport.http2.grpc import ServerCall

_FRONTEND: Final = (
    "solve.base",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "proto.refarray",
    "importcaches",
    "frontend.inputs",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.evaluate",
    "gateway.warnings",
    "reference.output",
    "readfile",
    "statfile",
)
_LLB: Final = (
    "source.image",
    "source.local",
    "source.git",
    "source.git.checksum",
    "source.git.fullurl",
    "source.git.keepgitdir",
    "source.git.skipsubmodules",
    "source.git.subdir",
    "source.http",
    "file.base",
    "constraints",
    "meta.description",
    "platform",
    "exporter.multiple",
    "exporter.image.attestations",
)
_SNAPSHOTTER: Final = "org.mobyproject.buildkit.worker.snapshotter"
"""buildx takes it as the sign that archives, several platforms, pushing and caches elsewhere are possible."""
_GATEWAY: Final = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
"""What clients put in the place of ``host-gateway`` in ``--add-host``."""
_NS: Final = 1_000_000_000
_TERM: Final = re.compile(r"(!?)([A-Za-z]+)(?:(==|!=|~=|=)(.*))?")
_FLAGS: Final = frozenset({"inuse", "shared", "private", "mutable", "immutable"})
_TRUTHS: Final = {
    ("", ""): True,
    **{(equals, str(value).lower()): value for equals in ("=", "==") for value in (True, False)},
}
_FIELDS: Final = frozenset({"id", "type", "description"})


_RELEASE: Final = "0.25.2"
"""Of BuildKit's releases the one whose protocol this is: clients ask older ones for less."""


class WorkerService:
    """Methods of the services Control and LLBBridge."""

    def __init__(self, context: Context, builds: BuildService) -> None:
        self._context = context
        self._builds = builds
        instance = context.layout.instance.encode()
        self._id = hashlib.sha256(instance).hexdigest()[:25]
        self._version = Version("rundlet", f"v{_RELEASE}+rundlet.{rundlet.__version__}", "")

    async def list(self, call: ServerCall) -> None:
        await call.request()
        await call.send(encode(WorkersResponse((self._worker(),))))

    async def info(self, call: ServerCall) -> None:
        await call.request()
        await call.send(encode(InfoResponse(self._version)))

    async def ping(self, call: ServerCall) -> None:
        """What frontends can use."""
        await call.request()
        pong = Pong(
            tuple(Capability(name, True) for name in _FRONTEND),
            tuple(Capability(name, True) for name in _LLB),
            (self._worker(),),
        )
        await call.send(encode(pong))

    async def usage(self, call: ServerCall) -> None:
        alternatives = [_terms(text) for text in decode(UsageRequest, await call.request()).filter if text]
        found = [_record(item) for item in await self._builds.usage()]
        records = [one for one in found if not alternatives or any(_holds(terms, one) for terms in alternatives)]
        await call.send(encode(UsageResponse(tuple(records))))

    async def prune(self, call: ServerCall) -> None:
        """Says what is gone, record by record."""
        request = decode(PruneRequest, await call.request())
        before = {item.id: item for item in await self._builds.usage()}
        options = BuildPruneOptions(
            filters=_filters(request),
            everything=request.all,
            reserved_space=request.reserved_space,
            max_used_space=request.max_used_space,
            min_free_space=request.min_free_space,
        )
        pruned = await self._builds.prune(options)
        for name in pruned.caches_deleted or ():
            await call.send(encode(_record(before[name]) if name in before else UsageRecord(name)))

    def _worker(self) -> Worker:
        host = OciPlatform.host()
        gateways = self._context.network.host_gateways()
        return Worker(
            self._id,
            {
                "org.mobyproject.buildkit.worker.executor": "rundlet",
                "org.mobyproject.buildkit.worker.hostname": socket.gethostname(),
                _SNAPSHOTTER: self._context.snapshots.driver,
                **({_GATEWAY: gateways[0]} if gateways else {}),
            },
            (Platform(host.architecture, host.os, host.variant),),
            self._version,
        )


def _terms(text: str) -> list[tuple[str, str, str]]:
    """``type==regular,!inuse`` as (field, operator, value), the operator "" for a field that is to be true. Raises
    NotSupportedError."""
    found = []
    for word in text.split(","):
        match = _TERM.fullmatch(word)
        if match is None:
            raise NotSupportedError(f"the filter {word} of the build cache")
        name, operator, value = match[2].lower(), match[3] or "", (match[4] or "").strip('"')
        if name in _FLAGS and (operator, value) in _TRUTHS:
            found.append((name, "!" if (match[1] == "!") == _TRUTHS[operator, value] else "", ""))
        elif name in _FIELDS and operator and not match[1]:
            found.append((name, operator, value))
        else:
            raise NotSupportedError(f"the filter {word} of the build cache")
    return found


def _holds(terms: Sequence[tuple[str, str, str]], record: UsageRecord) -> bool:
    flags = {"inuse": record.in_use, "shared": record.shared, "private": not record.shared}
    flags |= {"mutable": record.mutable, "immutable": not record.mutable}
    fields = {"id": record.id, "type": record.record_type, "description": record.description}
    for name, operator, value in terms:
        if name in flags:
            if flags[name] == (operator == "!"):
                return False
        elif (value in fields[name] if operator == "~=" else fields[name] == value) == (operator == "!="):
            return False
    return True


def _filters(request: PruneRequest) -> Filters:
    values: dict[str, Sequence[str]] = {}
    for text in filter(None, request.filter):
        key, _, value = text.replace("==", "=").partition("=")
        if key not in BUILD_PRUNE:
            raise NotSupportedError(f"the filter {text} of the build cache")
        values[key] = (*values.get(key, ()), value)
    if request.keep_duration:
        values["until"] = (f"{request.keep_duration // _NS}s",)
    return Filters({key: tuple(found) for key, found in values.items()})


def _record(item: CacheUsage) -> UsageRecord:
    return UsageRecord(
        id=item.id,
        in_use=item.in_use,
        size=item.size,
        created=timestamp(item.created_at),
        last_used=timestamp(item.last_used_at or ""),
        usage_count=item.usage_count,
        description=item.description,
        record_type=item.type,
        shared=item.shared,
        parents=item.parents,
    )
