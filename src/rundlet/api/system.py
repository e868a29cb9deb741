"""The engine about itself: version, info, disk use, login."""

from typing import Literal

from msgspec import field

from rundlet.api.base import LowerWire, Options, Wire, always, always_map, optional_map
from rundlet.api.builds import CacheUsage
from rundlet.api.containers import ContainerSummary
from rundlet.api.images import ImageSummary
from rundlet.api.volumes import Volume

DiskUsageKind = Literal["container", "image", "volume", "build-cache"]


class PlatformName(Wire, frozen=True):
    name: str = always("")


class Component(Wire, frozen=True):
    name: str = always("")
    version: str = always("")
    details: dict[str, str] = optional_map()


class Version(Wire, frozen=True):
    platform: PlatformName = always(PlatformName())
    components: tuple[Component, ...] = ()
    version: str = always("")
    api_version: str = always("")
    min_api_version: str = always("", name="MinAPIVersion")
    git_commit: str = always("")
    go_version: str = always("")
    os: str = always("")
    arch: str = always("")
    kernel_version: str = ""
    experimental: bool = False
    build_time: str = ""


class Plugins(Wire, frozen=True):
    volume: tuple[str, ...] | None = always(None)
    network: tuple[str, ...] | None = always(None)
    authorization: tuple[str, ...] | None = always(None)
    log: tuple[str, ...] | None = always(None)


class IndexInfo(Wire, frozen=True):
    name: str = always("")
    mirrors: tuple[str, ...] = always(())
    secure: bool = always(False)
    official: bool = always(False)


class RegistryConfig(Wire, frozen=True):
    insecure_registry_cidrs: tuple[str, ...] = always((), name="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo] = always_map()
    mirrors: tuple[str, ...] | None = always(None)


class Runtime(LowerWire, frozen=True):
    path: str = ""
    runtime_args: tuple[str, ...] = field(name="runtimeArgs", default=())
    status: dict[str, str] = optional_map()


class Commit(Wire, frozen=True):
    id: str = always("", name="ID")


class SwarmInfo(Wire, frozen=True):
    """Rundlet is never part of a swarm."""

    node_id: str = always("", name="NodeID")
    node_addr: str = always("")
    local_node_state: str = always("inactive")
    control_available: bool = always(False)
    error: str = always("")
    remote_managers: tuple[str, ...] | None = always(None)


class AddressPool(Wire, frozen=True):
    base: str = always("")
    size: int = always(0)


class FirewallInfo(Wire, frozen=True):
    driver: str = always("")
    info: tuple[tuple[str, str], ...] = ()


class DeviceInfo(Wire, frozen=True):
    """A device that containers can ask for by ``id``; ``source`` is who knows it."""

    source: str = always("")
    id: str = always("", name="ID")


class Info(Wire, frozen=True):
    """Answer of ``GET /info``; ``mem_total`` in bytes."""

    id: str = always("", name="ID")
    containers: int = always(0)
    containers_running: int = always(0)
    containers_paused: int = always(0)
    containers_stopped: int = always(0)
    images: int = always(0)
    driver: str = always("")
    driver_status: tuple[tuple[str, str], ...] | None = always(None)
    plugins: Plugins = always(Plugins())
    memory_limit: bool = always(False)
    swap_limit: bool = always(False)
    cpu_cfs_period: bool = always(False)
    cpu_cfs_quota: bool = always(False)
    cpu_shares: bool = always(False, name="CPUShares")
    cpu_set: bool = always(False, name="CPUSet")
    pids_limit: bool = always(False)
    ipv4_forwarding: bool = always(False, name="IPv4Forwarding")
    debug: bool = always(False)
    n_fd: int = always(0, name="NFd")
    oom_kill_disable: bool = always(False)
    n_goroutines: int = always(0, name="NGoroutines")
    system_time: str = always("")
    logging_driver: str = always("json-file")
    cgroup_driver: str = always("")
    cgroup_version: str = ""
    n_events_listener: int = always(0, name="NEventsListener")
    kernel_version: str = always("")
    operating_system: str = always("")
    os_version: str = always("", name="OSVersion")
    os_type: str = always("linux", name="OSType")
    architecture: str = always("")
    index_server_address: str = always("https://index.docker.io/v1/")
    registry_config: RegistryConfig | None = always(None)
    n_cpu: int = always(0, name="NCPU")
    mem_total: int = always(0)
    generic_resources: None = always(None)
    docker_root_dir: str = always("")
    http_proxy: str = always("")
    https_proxy: str = always("")
    no_proxy: str = always("")
    name: str = always("")
    labels: tuple[str, ...] = always(())
    experimental_build: bool = always(False)
    server_version: str = always("")
    runtimes: dict[str, Runtime] = always_map()
    default_runtime: str = always("")
    swarm: SwarmInfo = always(SwarmInfo())
    live_restore_enabled: bool = always(True)
    isolation: str = always("")
    init_binary: str = always("")
    containerd_commit: Commit = always(Commit())
    runc_commit: Commit = always(Commit())
    init_commit: Commit = always(Commit())
    security_options: tuple[str, ...] = always(())
    product_license: str = ""
    default_address_pools: tuple[AddressPool, ...] = ()
    firewall_backend: FirewallInfo | None = None
    rootless: tuple[tuple[str, str], ...] | None = None
    """Ours, of an ordinary user's engine: what it lives by on this machine."""
    cdi_spec_dirs: tuple[str, ...] | None = always(None, name="CDISpecDirs")
    discovered_devices: tuple[DeviceInfo, ...] = ()
    warnings: tuple[str, ...] | None = always(None)


class DiskUsage(Wire, frozen=True):
    """Answer of ``GET /system/df``; a kind that was not asked for is null."""

    layers_size: int = always(0)
    images: tuple[ImageSummary, ...] | None = always(None)
    containers: tuple[ContainerSummary, ...] | None = always(None)
    volumes: tuple[Volume, ...] | None = always(None)
    build_cache: tuple[CacheUsage, ...] | None = always(None)


class DiskUsageOptions(Options, frozen=True):
    """Empty ``kinds``: all of them."""

    kinds: frozenset[DiskUsageKind] = frozenset()


class Login(Wire, frozen=True):
    """Answer of ``POST /auth``."""

    status: str = always("")
    identity_token: str = always("")
