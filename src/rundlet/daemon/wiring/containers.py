"""Containers: who makes, starts, watches and shows them, and connects them to networks."""

from dataclasses import dataclass

from rundlet.daemon.wiring.grounds import Grounds
from rundlet.daemon.wiring.settings import user_maps
from rundlet.engine.containers.archive import ArchiveService
from rundlet.engine.containers.attach import AttachService
from rundlet.engine.containers.bundle import BundleMaker
from rundlet.engine.containers.changes import ChangesService
from rundlet.engine.containers.commit import CommitService
from rundlet.engine.containers.connections import Connector
from rundlet.engine.containers.create import Creator
from rundlet.engine.containers.etc import EtcFiles
from rundlet.engine.containers.execs import ExecService
from rundlet.engine.containers.files import ContainerFiles
from rundlet.engine.containers.health import HealthMonitor
from rundlet.engine.containers.lifecycle import Lifecycle
from rundlet.engine.containers.logs import LogService
from rundlet.engine.containers.networking import Networking
from rundlet.engine.containers.service import ContainerService
from rundlet.engine.containers.startup import Starter
from rundlet.engine.containers.stats import StatsService
from rundlet.engine.containers.top import TopService
from rundlet.engine.containers.update import Updater
from rundlet.engine.containers.views import Views
from rundlet.engine.context import Context
from rundlet.engine.proxy import ProxyKeeper
from rundlet.engine.resolver import ResolverKeeper
from rundlet.engine.seccomp import SeccompCache
from rundlet.image.commit import Committer
from rundlet.image.leases import Leases
from rundlet.network import sources
from rundlet.util.tasks import TaskGroup


@dataclass(frozen=True, slots=True)
class Containers:
    """The services of containers, as far as other rooms need them."""

    service: ContainerService
    creator: Creator
    lifecycle: Lifecycle
    views: Views
    execs: ExecService
    connector: Connector
    resolver: ResolverKeeper
    proxy: ProxyKeeper
    health: HealthMonitor


def join(context: Context, grounds: Grounds, leases: Leases, tasks: TaskGroup, *, outside: bool) -> Containers:
    """``outside``: the machine's network is another than the engine's own. Raises ConfigError."""
    bundles = BundleMaker(context, SeccompCache(grounds.layout.cache))
    execs = ExecService(context, bundles)
    etc = EtcFiles(context)
    networking = Networking(context, etc)
    resolver = ResolverKeeper(grounds.launcher, grounds.network.resolver_socket)
    keeps_sources = outside and sources.keep(grounds.layout.instance)
    proxy = ProxyKeeper(grounds.launcher, grounds.network.proxy_socket, sources=keeps_sources)
    connector = Connector(context, networking, etc, resolver, proxy)
    resolver.on_started = connector.reconnect_names
    proxy.on_started = connector.reconnect_ports
    starter = Starter(context, bundles, networking, etc, execs, resolver, proxy)
    health = HealthMonitor(context, execs)
    lifecycle = Lifecycle(context, starter, health, tasks)
    views = Views(context, networking, execs)
    creator = Creator(context, user_maps(grounds.config, grounds.layout, grounds.containers))
    committer = Committer(grounds.images, grounds.snapshots, grounds.launcher, leases, grounds.clock)
    logs = LogService(context)
    files = ContainerFiles(context)
    service = ContainerService(
        context,
        creator=creator,
        lifecycle=lifecycle,
        views=views,
        logs=logs,
        attach=AttachService(context, logs),
        stats=StatsService(context),
        top=TopService(context),
        updater=Updater(context),
        archive=ArchiveService(context, files),
        changes=ChangesService(context, files),
        commit=CommitService(context, lifecycle, committer),
        files=files,
    )
    return Containers(service, creator, lifecycle, views, execs, connector, resolver, proxy, health)
