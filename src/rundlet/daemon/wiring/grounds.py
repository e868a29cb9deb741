"""What the rooms stand on: database, stores, networks, registries, the trust policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from rundlet.builder import cache as build_cache
from rundlet.builder import urls as build_urls
from rundlet.container.store import ContainerStore
from rundlet.daemon import drivers, networks, recovery, registries
from rundlet.daemon.config import Config
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.engine.system import AGENT
from rundlet.image import admission as image_admission
from rundlet.image import store as image_store
from rundlet.image import uses as image_uses
from rundlet.image.admission import Admission
from rundlet.image.store import ImageStore
from rundlet.network import service as network_service
from rundlet.network.service import NetworkService
from rundlet.registry import Credentials, HostsConfig, Registry
from rundlet.registry.retry import Retry
from rundlet.runtime.launch import Launcher
from rundlet.storage import snapshot
from rundlet.storage.content import ContentStore
from rundlet.storage.snapshot import CopyingSnapshotter, OverlaySnapshotter, Snapshotter
from rundlet.storage.tree import remove_path
from rundlet.transport import HttpClient
from rundlet.trust.policy import DEFAULT_PATH, PolicyFile
from rundlet.util.clock import Clock, SystemClock
from rundlet.util.database import Database
from rundlet.util.layout import Layout
from rundlet.volume import store as volume_store
from rundlet.volume.store import VolumeStore


@dataclass(frozen=True, slots=True)
class Grounds:
    """What every room stands on: the state on disk, the network, and the ways out of the machine."""

    config: Config
    layout: Layout
    launcher: Launcher
    clock: Clock
    database: Database
    containers: ContainerStore
    unfinished: Sequence[str]
    """Containers that a killed engine had not finished making."""
    content: ContentStore
    snapshots: Snapshotter
    images: ImageStore
    volumes: VolumeStore
    network: NetworkService
    http: HttpClient
    registry: Registry
    trust_policy: PolicyFile
    admission: Admission


def schemas() -> list[Sequence[str]]:
    """Every room's tables."""
    return [
        snapshot.SCHEMA,
        image_admission.SCHEMA,
        image_store.SCHEMA,
        image_uses.SCHEMA,
        build_cache.SCHEMA,
        build_urls.SCHEMA,
        network_service.SCHEMA,
        volume_store.SCHEMA,
    ]


def lay(config: Config, layout: Layout, launcher: Launcher, outside: KeeperLink | None) -> Grounds:
    """Raises NewerStateError, NewerRecordError, InvalidMirrorError, PolicyError, OSError."""
    clock = SystemClock()
    database = Database.open(layout.database, schemas(), shared_memory=not drivers.on_a_network(layout.root))
    containers, unfinished = recovery.load(layout)
    content = ContentStore(layout.content, clock)
    http = HttpClient(outside=outside, agent=AGENT)
    registry = _registry(config, http)
    trust_policy = _trust_policy(config)
    return Grounds(
        config=config,
        layout=layout,
        launcher=launcher,
        clock=clock,
        database=database,
        containers=containers,
        unfinished=unfinished,
        content=content,
        snapshots=_snapshots(config, layout, database, clock),
        images=ImageStore(database, content, clock),
        volumes=VolumeStore(layout.volumes, database, clock, remove_path),
        network=_network(config, layout, database, clock, outside),
        http=http,
        registry=registry,
        trust_policy=trust_policy,
        admission=Admission(trust_policy, registry, http, layout.trust, database, clock),
    )


def _snapshots(config: Config, layout: Layout, database: Database, clock: Clock) -> Snapshotter:
    chosen = CopyingSnapshotter if drivers.choose(layout, config.storage_driver) == drivers.VFS else OverlaySnapshotter
    return chosen(layout.snapshots, database, clock, layer_limit=config.max_layer_size or None)


def _network(
    config: Config, layout: Layout, database: Database, clock: Clock, outside: KeeperLink | None
) -> NetworkService:
    return NetworkService(
        database,
        clock,
        layout.instance,
        networks.options(config.network),
        names=layout.names,
        proxy=outside is not None or networks.proxied(config.network),
        outside=outside.new_socket if outside is not None else None,
    )


def _registry(config: Config, http: HttpClient) -> Registry:
    return Registry(
        http, hosts(config), retry=Retry(attempts=config.moving.attempts), mirror_credentials=logins(config)
    )


def hosts(config: Config) -> HostsConfig:
    """Raises InvalidMirrorError."""
    found = HostsConfig(
        insecure=config.insecure_registries, mirrors=config.registry_mirrors, registry_mirrors=config.mirrors
    )
    found.check()
    return found


def logins(config: Config) -> dict[str, Credentials]:
    """By mirror. Raises RegistriesError."""
    named = config.mirror_logins.items()
    return {host: Credentials(user, registries.password(path)) for host, (user, path) in named}


def _trust_policy(config: Config) -> PolicyFile:
    policy = PolicyFile(config.trust_policy or DEFAULT_PATH, required=bool(config.trust_policy))
    policy.current()  # an engine with a policy that can't be read does not start
    return policy
