"""``POST /build`` and its companions.

Rundlet's own additions, for its own command line:

- ``progress=rundlet`` asks for :class:`BuildMessage` lines instead of Docker's text;
- ``POST /build/contexts`` stores an archive and answers ``{"Id": "…"}``; ``contexts`` (JSON: name → ``upload:ID``,
  ``docker-image://…``, or a URL) then names it, as ``main`` for the context itself, and the build's body is empty;
- ``secrets`` and ``ssh`` travel in the headers ``X-Rundlet-Secrets`` and ``X-Rundlet-SSH``: base64 of a JSON object, a
  secret's bytes in base64 by identifier, an agent's socket on the engine's machine by identifier.
"""

from typing import Any

import msgspec

from rundlet.api.base import Labels, LowerWire, Options, Wire, always
from rundlet.api.images import AuthConfig


class Ulimit(msgspec.Struct, frozen=True):
    """As the query has it; soft and hard limit."""

    name: str = msgspec.field(name="Name", default="")
    soft: int = msgspec.field(name="Soft", default=0)
    hard: int = msgspec.field(name="Hard", default=0)


class BuildOptions(Options, frozen=True):
    """The query of ``POST /build``. ``auth`` is by registry host."""

    dockerfile: str = ""
    tags: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    remote: str = ""
    quiet: bool = False
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cpu_period: int = 0
    cpu_quota: int = 0
    build_args: dict[str, str | None] = msgspec.field(default_factory=dict)
    shm_size: int = 0
    squash: bool = False
    labels: Labels = msgspec.field(default_factory=dict)
    network_mode: str = ""
    platform: str = ""
    target: str = ""
    outputs: str = ""
    version: str = ""
    build_id: str = ""
    security: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    auth: dict[str, AuthConfig] = msgspec.field(default_factory=dict)
    progress: str = ""
    contexts: dict[str, str] = msgspec.field(default_factory=dict)
    secrets: dict[str, str] = msgspec.field(default_factory=dict)
    ssh: dict[str, str] = msgspec.field(default_factory=dict)
    allow: tuple[str, ...] = ()
    attest: tuple[str, ...] = ()


class ContextStored(Wire, frozen=True):
    id: str = always("")


class BuildVertex(LowerWire, frozen=True):
    """One step. ``name`` is ``[stage 2/5] RUN make``; ``line`` and ``end`` are lines of the Dockerfile."""

    id: int = always(0)
    name: str = always("")
    stage: str = ""
    step: int = 0
    steps: int = 0
    line: int = 0
    end: int = 0


class BuildLog(LowerWire, frozen=True):
    """``stream`` is 1 or 2, or 0 for what the builder itself says."""

    id: int = always(0)
    stream: int = always(1)
    data: str = always("")


class BuildTransfer(LowerWire, frozen=True):
    """The state of one layer that is pulled for a step."""

    id: int = always(0)
    name: str = ""
    status: str = ""
    current: int = 0
    total: int = 0


class BuildStarted(LowerWire, frozen=True):
    id: int = always(0)
    time_ns: int = 0


class BuildFinished(LowerWire, frozen=True):
    """``image`` is what the step led to, ``error`` why it failed."""

    id: int = always(0)
    time_ns: int = 0
    cached: bool = False
    image: str = ""
    error: str = ""


class BuildResult(LowerWire, frozen=True):
    """The end. ``metadata`` is what ``--metadata-file`` is to hold."""

    image: str = always("")
    names: tuple[str, ...] = ()
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class BuildFailure(LowerWire, frozen=True):
    """Why a build failed; ``line`` and ``end`` are where, 0 when that is nowhere."""

    message: str = always("")
    code: int = always(0)
    line: int = 0
    end: int = 0


class BuildMessage(LowerWire, frozen=True):
    """One line of ``progress=rundlet``; exactly one of the fields is there."""

    vertexes: tuple[BuildVertex, ...] = ()
    started: BuildStarted | None = None
    log: BuildLog | None = None
    transfer: BuildTransfer | None = None
    finished: BuildFinished | None = None
    warning: str = ""
    result: BuildResult | None = None
    failure: BuildFailure | None = None


class CacheUsage(Wire, frozen=True):
    """One record of ``df``'s build cache. Sizes in bytes; times RFC 3339."""

    id: str = always("", name="ID")
    parent: str = ""
    type: str = always("")
    description: str = always("")
    in_use: bool = always(False)
    shared: bool = always(False)
    size: int = always(0)
    created_at: str = always("")
    last_used_at: str | None = always(None)
    usage_count: int = always(0)


class BuildPruneOptions(Options, frozen=True):
    """``keep`` bytes stay; ``all`` also takes what images still use."""

    all: bool = False
    keep: int = 0
    filters: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class BuildPruned(Wire, frozen=True):
    caches_deleted: tuple[str, ...] | None = always(None)
    space_reclaimed: int = always(0)
