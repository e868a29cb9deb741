"""The only place where the parts are joined."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from rundlet.api.container_config import LogConfig
from rundlet.api.images import SaveOptions
from rundlet.builder import cache as build_cache
from rundlet.builder.cachemounts import CacheMounts
from rundlet.builder.layers import LayerMaker
from rundlet.container.store import ContainerStore
from rundlet.daemon import cgroups, drivers, networks, recovery, registries
from rundlet.daemon.config import NATIVE_RUNTIME, Config, found_runtimes
from rundlet.daemon.errors import ConfigError
from rundlet.daemon.recovery import Recovery
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.engine import logdrivers
from rundlet.engine.buildkit.gate import BuildKitGate
from rundlet.engine.builds.runner import ContainerRunner
from rundlet.engine.builds.service import BuildService
from rundlet.engine.builds.work import BuildRooms
from rundlet.engine.containers import usermaps
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
from rundlet.engine.containers.live import Registry as LiveRegistry
from rundlet.engine.containers.logs import LogService
from rundlet.engine.containers.networking import Networking
from rundlet.engine.containers.service import ContainerService
from rundlet.engine.containers.startup import Starter
from rundlet.engine.containers.stats import StatsService
from rundlet.engine.containers.top import TopService
from rundlet.engine.containers.update import Updater
from rundlet.engine.containers.usermaps import UserMaps
from rundlet.engine.containers.views import Views
from rundlet.engine.context import Context, Settings
from rundlet.engine.distribution import DistributionService
from rundlet.engine.events import EventBus
from rundlet.engine.images.policy import PolicyKeeper
from rundlet.engine.images.service import ImageRooms, ImageService
from rundlet.engine.networks import NetworkRouterService
from rundlet.engine.proxy import ProxyKeeper
from rundlet.engine.resolver import ResolverKeeper
from rundlet.engine.seccomp import SeccompCache
from rundlet.engine.system import SystemService
from rundlet.engine.usage import ImageUsage
from rundlet.engine.volumes import VolumeService
from rundlet.errors import RundletError
from rundlet.image import admission as image_admission
from rundlet.image import store as image_store
from rundlet.image import uses as image_uses
from rundlet.image.admission import Admission
from rundlet.image.commit import Committer
from rundlet.image.garbage import Garbage
from rundlet.image.import_ import Importer
from rundlet.image.layers import LayerImporter
from rundlet.image.leases import Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller
from rundlet.image.push import Pusher
from rundlet.image.removal import Remover
from rundlet.image.save import Saver
from rundlet.image.store import ImageStore
from rundlet.image.unpack import Unpacker
from rundlet.image.uses import Uses
from rundlet.network import service as network_service
from rundlet.network import sources
from rundlet.network.service import NetworkService
from rundlet.registry import Credentials, HostsConfig, Registry
from rundlet.registry.retry import Retry
from rundlet.runtime.launch import Launcher
from rundlet.server.app import Backends
from rundlet.storage import snapshot
from rundlet.storage.content import ContentStore
from rundlet.storage.snapshot import CopyingSnapshotter, OverlaySnapshotter
from rundlet.transport import HttpClient
from rundlet.trust.policy import DEFAULT_PATH, PolicyFile
from rundlet.util import fs, ids
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database
from rundlet.util.layout import Layout
from rundlet.util.tasks import TaskGroup
from rundlet.volume import store as volume_store
from rundlet.volume.mounting import VolumeMounts
from rundlet.volume.store import VolumeStore

# Later directories win: what is generated at boot describes the machine as it is now.
_CDI_SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")


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


def schemas() -> list[Sequence[str]]:
    """Every room's tables."""
    return [
        snapshot.SCHEMA,
        image_admission.SCHEMA,
        image_store.SCHEMA,
        image_uses.SCHEMA,
        build_cache.SCHEMA,
        network_service.SCHEMA,
        volume_store.SCHEMA,
    ]


def build(config: Config, layout: Layout, launcher: Launcher, outside: KeeperLink | None = None) -> Engine:
    """``outside``: the machine's network, for an engine in a network of its own.

    Raises NewerStateError, NewerRecordError, InvalidMirrorError, OSError."""
    clock = SystemClock()
    database = Database.open(layout.database, schemas(), shared_memory=not drivers.on_a_network(layout.root))
    containers, unfinished = recovery.load(layout)
    content = ContentStore(layout.content, clock)
    chosen = CopyingSnapshotter if drivers.choose(layout, config.storage_driver) == drivers.VFS else OverlaySnapshotter
    snapshots = chosen(layout.snapshots, database, clock, layer_limit=config.max_layer_size or None)
    images = ImageStore(database, content, clock)
    volumes = VolumeStore(layout.volumes, database, clock)
    network = NetworkService(
        database,
        clock,
        layout.instance,
        networks.options(config.network),
        names=layout.names,
        proxy=outside is not None or networks.proxied(config.network),
        outside=outside.new_socket if outside is not None else None,
    )
    hosts = HostsConfig(
        insecure=config.insecure_registries, mirrors=config.registry_mirrors, registry_mirrors=config.mirrors
    )
    hosts.check()
    http = HttpClient(outside=outside)
    logins = config.mirror_logins.items()
    registry = Registry(
        http,
        hosts,
        retry=Retry(attempts=config.moving.attempts),
        mirror_credentials={host: Credentials(user, registries.password(path)) for host, (user, path) in logins},
    )
    trust_policy = PolicyFile(config.trust_policy or DEFAULT_PATH, required=bool(config.trust_policy))
    trust_policy.current()  # an engine with a policy that can't be read does not start
    admission = Admission(trust_policy, registry, http, layout.trust, database, clock)
    leases = Leases()
    context = Context(
        layout=layout,
        settings=_settings(config, outside),
        clock=clock,
        events=EventBus(clock),
        containers=containers,
        live=LiveRegistry(),
        images=images,
        admission=admission,
        snapshots=snapshots,
        volumes=volumes,
        mounted=VolumeMounts(volumes),
        network=network,
        launcher=launcher,
    )
    tasks = TaskGroup()
    garbage = Garbage(database, content, snapshots, leases)
    bundles = BundleMaker(context, SeccompCache(layout.cache))
    execs = ExecService(context, bundles)
    etc = EtcFiles(context)
    networking = Networking(context, etc)
    resolver = ResolverKeeper(launcher, network.resolver_socket)
    keeps_sources = outside is not None and sources.keep(layout.instance)
    proxy = ProxyKeeper(launcher, network.proxy_socket, sources=keeps_sources)
    connector = Connector(context, networking, etc, resolver, proxy)
    resolver.on_started = connector.reconnect_names
    proxy.on_started = connector.reconnect_ports
    starter = Starter(context, bundles, networking, etc, execs, resolver, proxy)
    lifecycle = Lifecycle(context, starter, HealthMonitor(context, execs), tasks)
    views = Views(context, networking, execs)
    logs = LogService(context)
    files = ContainerFiles(context)
    creator = Creator(context, _user_maps(config, layout, containers))
    container_service = ContainerService(
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
        commit=CommitService(context, lifecycle, Committer(images, snapshots, launcher, leases, clock)),
    )
    layers = LayerImporter(content, snapshots, launcher, config.moving.downloads)
    puller = Puller(images, snapshots, layers, registry, leases, garbage, admission)
    pusher = Pusher(images, registry, leases, config.moving.uploads)
    remover = Remover(images, garbage, ImageUsage(containers))
    loader = Loader(images, snapshots, layers, leases, garbage)
    image_service = ImageService(
        context,
        ImageRooms(
            puller=puller,
            pusher=pusher,
            importer=Importer(images, snapshots, launcher, leases, clock),
            remover=remover,
            saver=Saver(images, leases),
            loader=loader,
            http=http,
            registry=registry,
        ),
    )
    policy = PolicyKeeper(context, image_service, leases, Uses(database, clock), config.gc) if config.gc else None
    build_service = BuildService(
        context,
        BuildRooms(
            cache=build_cache.BuildCache(database, images, clock),
            mounts=CacheMounts(layout.build_mounts),
            layers=LayerMaker(content, snapshots, launcher),
            runner=ContainerRunner(context, creator, lifecycle, tasks),
            puller=puller,
            pusher=pusher,
            remover=remover,
            loader=loader,
            leases=leases,
            http=http,
        ),
    )

    async def save(names: tuple[str, ...]) -> AsyncIterator[bytes]:
        return await image_service.save(SaveOptions(names=names))

    buildkit = BuildKitGate(context, build_service, http, save)
    volume_service = VolumeService(context)
    system = SystemService(
        context,
        engine_id(layout),
        registry,
        containers=views,
        images=image_service,
        volumes=volume_service,
        builds=build_service,
        trust_policy=lambda: trust_policy.path if trust_policy.in_force() else "",
    )
    backends = Backends(
        containers=container_service,
        exec=execs,
        images=image_service,
        networks=NetworkRouterService(context, connector),
        volumes=volume_service,
        system=system,
        distribution=DistributionService(registry),
        builds=build_service,
        buildkit=buildkit,
    )
    return Engine(
        context,
        backends,
        Recovery(context, lifecycle),
        lifecycle,
        unfinished,
        tasks,
        database,
        http,
        garbage,
        content,
        Unpacker(images, layers, leases),
        policy,
        resolver,
        proxy,
        build_service,
        buildkit,
    )


def _user_maps(config: Config, layout: Layout, containers: ContainerStore) -> UserMaps:
    try:
        usermaps.check(config.default_userns)
        shared = usermaps.shared_by(config.userns_remap) if config.userns_remap else None
    except RundletError as error:
        raise ConfigError(f"default-userns: {error}") from error
    except ValueError as error:
        raise ConfigError(f"userns-remap: {error}") from error
    return UserMaps(lambda: containers, layout.instance, config.default_userns, shared)


def _settings(config: Config, outside: KeeperLink | None) -> Settings:
    runtimes = {**found_runtimes(), **config.runtimes}
    if config.default_runtime not in ("", NATIVE_RUNTIME, *runtimes):
        raise ConfigError(f"specified default runtime '{config.default_runtime}' does not exist")
    log_config = LogConfig(type=config.log_driver, config=config.log_opts)
    try:
        logdrivers.check(log_config)
    except RundletError as error:
        raise ConfigError(f"failed to set log opts: {error}") from error
    return Settings(
        default_runtime=config.default_runtime or NATIVE_RUNTIME,
        runtimes=runtimes,
        registry_mirrors=config.registry_mirrors,
        insecure_registries=config.insecure_registries,
        debug=config.debug,
        dns=networks.resolver(config.network),
        open_hosts=tuple(host for host in config.hosts if host.startswith("tcp://") and not config.tlsverify),
        log_config=log_config,
        cdi_spec_dirs=config.cdi_spec_dirs or _CDI_SPEC_DIRS,
        rootless=config.rootless >= 0,
        chosen=() if outside is None else outside.chosen(),
        lacks=() if outside is None else outside.lacks(),
        containers=config.containers,
        runtime_args=config.runtime_args,
        labels=config.labels,
        buildkit=config.buildkit,
        maps_users=bool(config.userns_remap) or config.default_userns not in ("", usermaps.HOST),
        scopes=cgroups.service_manager(config.exec_opts, config.rootless, outside.cgroup if outside else ""),
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
