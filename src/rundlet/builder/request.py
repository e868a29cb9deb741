"""What a build is asked to do."""

from collections.abc import Mapping

import msgspec

from rundlet.builder.dockerfile.ast import Dockerfile
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference


class Limits(msgspec.Struct, frozen=True):
    """What each RUN may use: bytes, microseconds, Docker's CPU shares; 0 and "" for no limit."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size: int = 0
    cgroup_parent: str = ""
    ulimits: tuple[tuple[str, int, int], ...] = ()


class BuildRequest(msgspec.Struct, frozen=True):
    """One build of one platform. ``arguments`` are ``--build-arg`` (None: the name alone, no value).

    ``contexts`` are other sources by name: what the engine knows them by. ``secrets`` and ``ssh`` are by identifier;
    a secret's bytes, an agent's socket on this machine. ``buildkit``: where BuildKit and Docker's classic builder
    differ, BuildKit is right.
    """

    dockerfile: Dockerfile
    tags: tuple[Reference, ...] = ()
    target: str = ""
    arguments: Mapping[str, str | None] = {}
    labels: Mapping[str, str] = {}
    platform: Platform = msgspec.field(default_factory=Platform.host)
    platform_given: bool = False
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    pull: bool = False
    squash: bool = False
    network: str = ""
    extra_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    security: tuple[str, ...] = ()
    keep_containers: bool = False
    keep_failed: bool = True
    secrets: Mapping[str, bytes] = {}
    ssh: Mapping[str, str] = {}
    contexts: Mapping[str, str] = {}
    cache_from: tuple[str, ...] = ()
    insecure_allowed: bool = False
    host_network_allowed: bool = True
    epoch: int | None = None
    signed_only: bool = False
    buildkit: bool = False
