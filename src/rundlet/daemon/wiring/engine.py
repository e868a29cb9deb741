"""The whole engine, room by room."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rundlet.daemon.config import Config
from rundlet.daemon.recovery import Recovery
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.daemon.wiring.builds import Builds
from rundlet.daemon.wiring.builds import join as join_builds
from rundlet.daemon.wiring.changes import Changes, tell_of_limits
from rundlet.daemon.wiring.containers import Containers
from rundlet.daemon.wiring.containers import join as join_containers
from rundlet.daemon.wiring.grounds import Grounds, lay
from rundlet.daemon.wiring.images import Images
from rundlet.daemon.wiring.images import join as join_images
from rundlet.daemon.wiring.settings import settings
from rundlet.engine.buildkit.gate import BuildKitGate
from rundlet.engine.builds.collecting import CacheCollector
from rundlet.engine.builds.service import BuildService
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.live import Registry as LiveRegistry
from rundlet.engine.context import Context, Current
from rundlet.engine.distribution import DistributionService
from rundlet.engine.events import EventBus
from rundlet.engine.images.policy import PolicyKeeper
from rundlet.engine.metrics import Metrics
from rundlet.engine.networks import NetworkRouterService
from rundlet.engine.proxy import ProxyKeeper
from rundlet.engine.resolver import ResolverKeeper
from rundlet.engine.system import SystemService
from rundlet.engine.volumes import VolumeService
from rundlet.image.garbage import Garbage
from rundlet.image.leases import Leases
from rundlet.image.unpack import Unpacker
from rundlet.runtime.launch import Launcher
from rundlet.server.app import Backends
from rundlet.storage.content import ContentStore
from rundlet.transport import HttpClient
from rundlet.util import fs, ids
from rundlet.util.database import Database
from rundlet.util.layout import Layout
from rundlet.util.tasks import TaskGroup
from rundlet.volume.mounting import VolumeMounts


@dataclass(frozen=True, slots=True)
class Engine:
    """All parts, joined and not yet started."""

    context: Context
    backends: Backends
    recovery: Recovery
    lifecycle: Lifecycle
    unfinished: Sequence[str]
    tasks: TaskGroup
    database: Database
    http: HttpClient
    garbage: Garbage
    content: ContentStore
    unpacker: Unpacker
    policy: PolicyKeeper | None
    resolver: ResolverKeeper
    proxy: ProxyKeeper
    builds: BuildService
    buildkit: BuildKitGate
    changes: Changes
    collector: CacheCollector | None
    metrics: Metrics


def build(config: Config, layout: Layout, launcher: Launcher, outside: KeeperLink | None = None) -> Engine:
    """``outside``: the machine's network, for an engine in a network of its own.

    Raises ConfigError, NewerStateError, NewerRecordError, InvalidMirrorError, PolicyError, OSError."""
    grounds = lay(config, layout, launcher, outside)
    context = _context(grounds, outside)
    leases = Leases()
    tasks = TaskGroup()
    containers = join_containers(context, grounds, leases, tasks, outside=outside is not None)
    images = join_images(context, grounds, leases)
    builds = join_builds(context, grounds, images, containers, leases, tasks)
    tell_of_limits(config)
    return Engine(
        context=context,
        backends=_backends(context, grounds, containers, images, builds),
        recovery=Recovery(context, containers.lifecycle),
        lifecycle=containers.lifecycle,
        unfinished=grounds.unfinished,
        tasks=tasks,
        database=grounds.database,
        http=grounds.http,
        garbage=images.garbage,
        content=grounds.content,
        unpacker=images.unpacker,
        policy=images.policy,
        resolver=containers.resolver,
        proxy=containers.proxy,
        builds=builds.service,
        buildkit=builds.buildkit,
        changes=Changes(context, grounds.registry, images.layers, images.rooms.pusher, outside),
        collector=builds.collector,
        metrics=Metrics(context, engine_id(layout), containers.health),
    )


def _context(grounds: Grounds, outside: KeeperLink | None) -> Context:
    return Context(
        layout=grounds.layout,
        current=Current(settings(grounds.config, outside)),
        clock=grounds.clock,
        events=EventBus(grounds.clock),
        containers=grounds.containers,
        live=LiveRegistry(),
        images=grounds.images,
        admission=grounds.admission,
        snapshots=grounds.snapshots,
        volumes=grounds.volumes,
        mounted=VolumeMounts(grounds.volumes),
        network=grounds.network,
        launcher=grounds.launcher,
    )


def _backends(context: Context, grounds: Grounds, containers: Containers, images: Images, builds: Builds) -> Backends:
    """Who answers each router of the Engine API."""
    volumes = VolumeService(context)
    system = SystemService(
        context,
        engine_id(grounds.layout),
        grounds.registry,
        containers=containers.views,
        images=images.service,
        volumes=volumes,
        builds=builds.service,
        trust_policy=lambda: grounds.trust_policy.path if grounds.trust_policy.in_force() else "",
    )
    return Backends(
        containers=containers.service,
        exec=containers.execs,
        images=images.service,
        networks=NetworkRouterService(context, containers.connector),
        volumes=volumes,
        system=system,
        distribution=DistributionService(grounds.registry),
        builds=builds.service,
        buildkit=builds.buildkit,
    )


def engine_id(layout: Layout) -> str:
    """This root's own name, made once."""
    path = f"{layout.root}/engine-id"
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        made = ids.new_id()
        fs.write_atomic(path, made.encode() + b"\n", mode=0o644)
        return made


def make_directories(layout: Layout) -> None:
    """Raises OSError."""
    for path, mode in layout.directories():
        os.makedirs(path, mode, exist_ok=True)
        os.chmod(path, mode)
