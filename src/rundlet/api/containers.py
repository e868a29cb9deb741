"""Containers: answers of create, list, inspect, top, changes, wait, update, prune, and what requests ask."""

from typing import Literal

from msgspec import field

from rundlet.api.base import ZERO_TIME, Labels, LowerWire, Options, Wire, always, always_map, optional_map
from rundlet.api.container_config import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
    NetworkingConfig,
    PortMap,
    Resources,
    RestartPolicy,
)
from rundlet.api.descriptor import Descriptor
from rundlet.api.filters import Filters

WaitCondition = Literal["not-running", "next-exit", "removed"]


class ContainerCreate(ContainerConfig, frozen=True):
    """Body of ``POST /containers/create``: the configuration, flat, and its two companions."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class ContainerCreateOptions(Options, frozen=True):
    """``name`` without a leading slash, or empty; ``platform`` as ``os/arch[/variant]``, or empty.

    ``shallow_readonly``: a read-only bind leaves what is mounted below it writable, as for clients before 1.44.
    ``host_cgroups``: on cgroup v1 the host's cgroup namespace is the default, as for clients before 1.41.
    """

    name: str = ""
    platform: str = ""
    shallow_readonly: bool = False
    host_cgroups: bool = False


class ContainerCreated(Wire, frozen=True):
    id: str = always("")
    warnings: tuple[str, ...] = always(())


class ContainerUpdate(Resources, frozen=True):
    """Body of ``POST /containers/{id}/update``. Zero values mean: leave as it is."""

    restart_policy: RestartPolicy = always(RestartPolicy())
    restart_unhealthy: bool | None = None
    init: bool | None = None


class ContainerUpdated(Wire, frozen=True):
    warnings: tuple[str, ...] | None = always(None)


class HealthResult(Wire, frozen=True):
    start: str = always(ZERO_TIME)
    end: str = always(ZERO_TIME)
    exit_code: int = always(0)
    output: str = always("")


class Health(Wire, frozen=True):
    status: str = always("")
    failing_streak: int = always(0)
    log: tuple[HealthResult, ...] | None = always(None)


class ContainerState(Wire, frozen=True):
    """``status``: created, running, paused, restarting, removing, exited or dead. Times are RFC 3339."""

    status: str = always("")
    running: bool = always(False)
    paused: bool = always(False)
    restarting: bool = always(False)
    oom_killed: bool = always(False, name="OOMKilled")
    dead: bool = always(False)
    pid: int = always(0)
    exit_code: int = always(0)
    error: str = always("")
    started_at: str = always(ZERO_TIME)
    finished_at: str = always(ZERO_TIME)
    health: Health | None = None


class GraphDriver(Wire, frozen=True):
    data: dict[str, str] | None = always(None)
    name: str = always("")


class MountPoint(Wire, frozen=True):
    """A mount as it is in the container."""

    type: str = ""
    name: str = ""
    source: str = always("")
    destination: str = always("")
    driver: str = ""
    mode: str = always("")
    rw: bool = always(False, name="RW")
    propagation: str = always("")


class Address(Wire, frozen=True):
    addr: str = always("")
    prefix_len: int = always(0)


class NetworkSettings(Wire, frozen=True):
    """The flat fields repeat those of the default bridge; older clients read them."""

    bridge: str = always("")
    sandbox_id: str = always("", name="SandboxID")
    sandbox_key: str = always("")
    ports: PortMap = always_map()
    hairpin_mode: bool = always(False)
    link_local_ipv6_address: str = always("", name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: int = always(0, name="LinkLocalIPv6PrefixLen")
    secondary_ip_addresses: tuple[Address, ...] | None = always(None, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: tuple[Address, ...] | None = always(None, name="SecondaryIPv6Addresses")
    endpoint_id: str = always("", name="EndpointID")
    gateway: str = always("")
    global_ipv6_address: str = always("", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = always(0, name="GlobalIPv6PrefixLen")
    ip_address: str = always("", name="IPAddress")
    ip_prefix_len: int = always(0, name="IPPrefixLen")
    ipv6_gateway: str = always("", name="IPv6Gateway")
    mac_address: str = always("")
    networks: dict[str, EndpointSettings] = always_map()


class ContainerInspect(Wire, frozen=True):
    """Answer of ``GET /containers/{id}/json``."""

    id: str = always("")
    created: str = always(ZERO_TIME)
    path: str = always("")
    args: tuple[str, ...] = always(())
    state: ContainerState = always(ContainerState())
    image: str = always("")
    resolv_conf_path: str = always("")
    hostname_path: str = always("")
    hosts_path: str = always("")
    log_path: str = always("")
    name: str = always("")
    restart_count: int = always(0)
    driver: str = always("")
    platform: str = always("")
    mount_label: str = always("")
    process_label: str = always("")
    app_armor_profile: str = always("")
    exec_ids: tuple[str, ...] | None = always(None, name="ExecIDs")
    host_config: HostConfig = always(HostConfig())
    graph_driver: GraphDriver = always(GraphDriver())
    size_rw: int | None = None
    size_root_fs: int | None = None
    mounts: tuple[MountPoint, ...] = always(())
    config: ContainerConfig = always(ContainerConfig())
    network_settings: NetworkSettings = always(NetworkSettings())
    image_manifest_descriptor: Descriptor | None = None


class Port(Wire, frozen=True):
    """One line of the PORTS column; ``public_port`` 0 means exposed, not published."""

    ip: str = field(name="IP", default="")
    private_port: int = always(0)
    public_port: int = 0
    type: str = always("tcp")


class SummaryHostConfig(Wire, frozen=True):
    network_mode: str = ""
    annotations: dict[str, str] = optional_map()


class SummaryNetworkSettings(Wire, frozen=True):
    networks: dict[str, EndpointSettings] = always_map()


class ContainerSummary(Wire, frozen=True):
    """One entry of ``GET /containers/json``; ``created`` in seconds."""

    id: str = always("")
    names: tuple[str, ...] = always(())
    image: str = always("")
    image_id: str = always("", name="ImageID")
    image_manifest_descriptor: Descriptor | None = None
    command: str = always("")
    created: int = always(0)
    ports: tuple[Port, ...] = always(())
    size_rw: int = 0
    size_root_fs: int = 0
    labels: Labels = always_map()
    state: str = always("")
    status: str = always("")
    host_config: SummaryHostConfig = always(SummaryHostConfig())
    network_settings: SummaryNetworkSettings = always(SummaryNetworkSettings())
    mounts: tuple[MountPoint, ...] = always(())


class ContainerListOptions(Options, frozen=True):
    """``limit`` 0 means all; ``all`` includes the stopped (a limit or a status filter does as well)."""

    all: bool = False
    limit: int = 0
    size: bool = False
    filters: Filters = Filters()


class ContainerInspectOptions(Options, frozen=True):
    size: bool = False


class ContainerTop(Wire, frozen=True):
    titles: tuple[str, ...] = always(())
    processes: tuple[tuple[str, ...], ...] = always(())


class FilesystemChange(Wire, frozen=True):
    """``kind``: 0 modified, 1 added, 2 deleted."""

    path: str = always("")
    kind: int = always(0)


class WaitError(Wire, frozen=True):
    message: str = ""


class WaitResult(Wire, frozen=True):
    """``error`` says what did not come to pass: the container could not be removed, or not be waited for (-1)."""

    status_code: int = always(0)
    error: WaitError | None = None


class ContainersPruned(Wire, frozen=True):
    containers_deleted: tuple[str, ...] | None = always(None)
    space_reclaimed: int = always(0)


class LogsOptions(Options, frozen=True):
    """``tail`` None means all; ``since`` and ``until`` are nanoseconds since the epoch, None for no bound."""

    follow: bool = False
    stdout: bool = False
    stderr: bool = False
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
    since: int | None = None
    until: int | None = None


class AttachOptions(Options, frozen=True):
    """``stream`` False with ``logs`` True replays the log only."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: str = ""


class StartOptions(Options, frozen=True):
    """Checkpoints are refused by the engine by name."""

    checkpoint: str = ""
    checkpoint_dir: str = ""


class StopOptions(Options, frozen=True):
    """``signal`` empty: the container's own; ``timeout`` in seconds, None: the container's own, -1: for ever."""

    signal: str = ""
    timeout: int | None = None


class RemoveOptions(Options, frozen=True):
    force: bool = False
    volumes: bool = False
    link: bool = False


class ArchivePutOptions(Options, frozen=True):
    no_overwrite_dir_non_dir: bool = False
    copy_uid_gid: bool = False


class PathStat(LowerWire, frozen=True):
    """A path in a container (header ``X-Docker-Container-Path-Stat``). ``mode`` is Go's ``os.FileMode``."""

    name: str = always("")
    size: int = always(0)
    mode: int = always(0)
    mtime: str = always("")
    link_target: str = always("", name="linkTarget")


class CommitOptions(Options, frozen=True):
    """``config`` changes the image's configuration; ``changes`` are Dockerfile instructions."""

    container: str = ""
    repo: str = ""
    tag: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
    config: ContainerConfig | None = None
