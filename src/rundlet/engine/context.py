"""What the engine's services share: the rooms below, joined by the wiring. Data only."""

from dataclasses import dataclass, field

from rundlet.api.container_config import LogConfig
from rundlet.container.store import ContainerStore
from rundlet.engine.containers.defaults import ContainerDefaults
from rundlet.engine.containers.live import Registry
from rundlet.engine.events import EventBus
from rundlet.image.admission import Admission
from rundlet.image.store import ImageStore
from rundlet.network.etc_files import ResolverOptions
from rundlet.network.service import NetworkService
from rundlet.runtime.launch import Launcher
from rundlet.storage.snapshot import Snapshotter
from rundlet.util.clock import Clock
from rundlet.util.layout import Layout
from rundlet.volume.mounting import VolumeMounts
from rundlet.volume.store import VolumeStore


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """systemd, of the machine or of a user: where it answers, its control group ("": the root), the default slice."""

    sockets: tuple[str, ...]
    base: str
    slice: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration the services need. ``runtimes`` maps names to paths; the native one is not in it."""

    default_runtime: str
    runtimes: dict[str, str]
    registry_mirrors: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    debug: bool
    log_config: LogConfig
    cdi_spec_dirs: tuple[str, ...]
    dns: ResolverOptions = field(default_factory=ResolverOptions)
    containers: ContainerDefaults = field(default_factory=ContainerDefaults)
    runtime_args: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What is put before a runtime's own arguments, by its name."""
    buildkit: bool = False
    """Clients are told to build by BuildKit's protocol."""
    experimental: bool = False
    """Clients are told that the engine is."""
    labels: tuple[str, ...] = ()
    """The engine's own, for ``info``."""
    open_hosts: tuple[str, ...] = ()
    """TCP addresses where everyone who reaches them is let in."""
    rootless: bool = False
    """It is an ordinary user's engine, in a user namespace of its own."""
    chosen: tuple[tuple[str, str], ...] = ()
    """What such an engine lives by: names and values for people."""
    lacks: tuple[str, ...] = ()
    """What such an engine has to do without, one line each."""
    maps_users: bool = False
    """Containers have users of their own unless they ask for the machine's."""
    scopes: ServiceManager | None = None
    """Who makes the control groups of containers with systemd's driver."""


@dataclass(slots=True)
class Current:
    """The settings that hold now: a reload puts others in their place."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class Context:
    layout: Layout
    current: Current
    clock: Clock
    events: EventBus
    containers: ContainerStore
    live: Registry
    images: ImageStore
    admission: Admission
    snapshots: Snapshotter
    volumes: VolumeStore
    mounted: VolumeMounts
    network: NetworkService
    launcher: Launcher

    @property
    def settings(self) -> Settings:
        """To be read when they are needed, and not kept."""
        return self.current.settings
