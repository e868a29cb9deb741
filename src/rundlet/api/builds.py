"""``POST /build`` and its companions.

Rundlet's own additions, for its own command line:

- ``Accept: application/vnd.rundlet.build.v1+json`` asks for the state of each step (:class:`BuildProgress`, as in
  ``--progress=rawjson``) instead of the classic builder's text;
- ``session`` names what the client has lent before under ``/rundlet/builds/{session}/``: secrets, SSH agents, further
  contexts, which ``contexts`` (name to ``input:name``, ``docker-image://…``, a URL) refers to;
- ``signedonly``: images count by their digests only, which the client has taken from signatures (content trust);
- ``context`` is what ``POST /rundlet/contexts/{key}`` answered: the body brings only what changed since the last build.
"""

import msgspec

from rundlet.api.base import Labels, LowerWire, Options, Wire, always
from rundlet.api.filters import Filters
from rundlet.api.images import AuthConfig


class Ulimit(msgspec.Struct, frozen=True):
    """As the query has it; soft and hard limit."""

    name: str = msgspec.field(name="Name", default="")
    soft: int = msgspec.field(name="Soft", default=0)
    hard: int = msgspec.field(name="Hard", default=0)


class Output(msgspec.Struct, frozen=True, rename="pascal"):
    """One ``--output``."""

    type: str = ""
    attrs: dict[str, str] = msgspec.field(default_factory=dict)


class BuildOptions(Options, frozen=True):
    """The query of ``POST /build``. ``auth`` is by registry host. ``recorded`` is said by the engine alone: how the
    result came to be goes with the answer."""

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
    outputs: tuple[Output, ...] = ()
    version: str = ""
    build_id: str = ""
    security: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    isolation: str = ""
    auth: dict[str, AuthConfig] = msgspec.field(default_factory=dict)
    rich: bool = False
    session: str = ""
    contexts: dict[str, str] = msgspec.field(default_factory=dict)
    allow: tuple[str, ...] = ()
    attests: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    check: bool = False
    call: str = ""
    context: str = ""
    signed_only: bool = False
    recorded: bool = False


class ContextEntry(msgspec.Struct, frozen=True, array_like=True):
    """One file of a context: its path there, and what the client's file system says. ``changed`` (ctime, nanoseconds)
    is 0 for a file that has changed just now and may change again unnoticed."""

    name: str
    mode: int
    size: int
    changed: int
    modified: int
    inode: int
    device: int


class ContextListing(msgspec.Struct, frozen=True, rename="pascal"):
    """Body of ``POST /rundlet/contexts/{key}``."""

    entries: tuple[ContextEntry, ...]


class ContextWanted(Wire, frozen=True):
    """The answer: ``token`` is for the query ``context`` of /build, ``wanted`` which entries its body has to bring, by
    number; null for all of them."""

    token: str
    wanted: tuple[int, ...] | None = always(None)


class SecretsLent(msgspec.Struct, frozen=True):
    """Body of ``POST /rundlet/builds/{session}/secrets``: base64 by identifier."""

    secrets: dict[str, str] = msgspec.field(default_factory=dict)


class Vertex(LowerWire, frozen=True):
    """The state of a step; times RFC 3339, empty for not yet."""

    digest: str = always("")
    name: str = always("")
    started: str = ""
    completed: str = ""
    cached: bool = False
    error: str = ""


class VertexStatus(LowerWire, frozen=True):
    """Bytes that go to or come from somewhere for a step."""

    id: str = always("")
    vertex: str = always("")
    name: str = ""
    current: int = 0
    total: int = 0
    timestamp: str = ""
    started: str = ""
    completed: str = ""


class VertexLog(LowerWire, frozen=True):
    """``data`` is base64 of what was written to ``stream`` (1 or 2)."""

    vertex: str = always("")
    stream: int = always(1)
    data: str = always("")
    timestamp: str = ""


class VertexWarning(LowerWire, frozen=True):
    """``short`` is base64, as BuildKit has it."""

    vertex: str = ""
    level: int = always(1)
    short: str = always("")
    detail: tuple[str, ...] = ()
    url: str = ""


class BuildProgress(LowerWire, frozen=True):
    """One line of progress."""

    vertexes: tuple[Vertex, ...] = ()
    statuses: tuple[VertexStatus, ...] = ()
    logs: tuple[VertexLog, ...] = ()
    warnings: tuple[VertexWarning, ...] = ()


class Location(LowerWire, frozen=True):
    """First and last line in the Dockerfile."""

    line: int = always(0)
    end: int = always(0)


class BuildErrorDetail(LowerWire, frozen=True):
    """``Excerpt`` is the Dockerfile's text, for a client that does not have it."""

    code: int = 0
    message: str = always("")
    location: Location | None = msgspec.field(name="Location", default=None)
    excerpt: str = msgspec.field(name="Excerpt", default="")


class BuildFailure(LowerWire, frozen=True):
    """The last line of a build that failed."""

    error_detail: BuildErrorDetail = msgspec.field(name="errorDetail", default=BuildErrorDetail())
    error: str = always("")


class CacheUsage(Wire, frozen=True):
    """One record of ``df``'s build cache. Sizes in bytes; times RFC 3339."""

    id: str = always("", name="ID")
    parents: tuple[str, ...] = ()
    type: str = always("")
    description: str = always("")
    in_use: bool = always(False)
    shared: bool = always(False)
    size: int = always(0)
    created_at: str = always("")
    last_used_at: str | None = always(None)
    usage_count: int = always(0)


class BuildPruneOptions(Options, frozen=True):
    """Sizes in bytes, 0 for none. With none of them everything that is not in use goes; else what has to, so that the
    cache is no larger than ``max_used_space`` and the disk has ``min_free_space``, but ``reserved_space`` always stays.
    """

    filters: Filters = Filters()
    everything: bool = False
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0

    def kept(self, used: int, free: int) -> int:
        """How much of a cache of ``used`` bytes may stay on a disk with ``free`` bytes."""
        if not (self.reserved_space or self.max_used_space or self.min_free_space):
            return 0
        limits = [used - max(self.min_free_space - free, 0)] if self.min_free_space else []
        limits += [self.max_used_space] if self.max_used_space else []
        return max(min(limits, default=0), self.reserved_space)


class BuildPruned(Wire, frozen=True):
    caches_deleted: tuple[str, ...] | None = always(None)
    space_reclaimed: int = always(0)
