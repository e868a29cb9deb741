"""What a container is asked to be: Config, HostConfig, NetworkingConfig. The same types come back from inspect.

Every field that Docker knows is here, so that the engine can refuse by name the ones that it does not carry out.
"""

from msgspec import field

from rundlet.api.base import Empty, Labels, StrSlice, Wire, always, always_map, optional_map


class HealthConfig(Wire, frozen=True):
    """A health check; durations are nanoseconds, 0 means inherited."""

    test: StrSlice = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(Wire, frozen=True):
    """What does not depend on the host."""

    hostname: str = always("")
    domainname: str = always("")
    user: str = always("")
    attach_stdin: bool = always(False)
    attach_stdout: bool = always(False)
    attach_stderr: bool = always(False)
    exposed_ports: dict[str, Empty] = optional_map()
    tty: bool = always(False)
    open_stdin: bool = always(False)
    stdin_once: bool = always(False)
    env: tuple[str, ...] | None = always(None)
    cmd: StrSlice = always(None)
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = always("")
    volumes: dict[str, Empty] | None = always(None)
    working_dir: str = always("")
    entrypoint: StrSlice = always(None)
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] | None = always(None)
    labels: Labels | None = always(None)
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: StrSlice = None


class LogConfig(Wire, frozen=True):
    type: str = always("")
    config: dict[str, str] | None = always(None)


class RestartPolicy(Wire, frozen=True):
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` (with a count)."""

    name: str = always("")
    maximum_retry_count: int = always(0)


class PortBinding(Wire, frozen=True):
    """A host address and port (a number, a range ``8000-8010``, or empty for any)."""

    host_ip: str = always("")
    host_port: str = always("")


PortMap = dict[str, tuple[PortBinding, ...] | None]
"""``"80/tcp"`` → bindings; None for an exposed port that is not published."""


class DriverConfig(Wire, frozen=True):
    name: str = ""
    options: dict[str, str] = optional_map()


class BindOptions(Wire, frozen=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    id_map: bool = False
    """Ours: the owners of the files are shown as the container's users."""
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeOptions(Wire, frozen=True):
    no_copy: bool = False
    labels: Labels = optional_map()
    subpath: str = ""
    driver_config: DriverConfig | None = None


class ImageOptions(Wire, frozen=True):
    subpath: str = ""


class TmpfsOptions(Wire, frozen=True):
    """Size in bytes, mode as a number (0o1777 = 1023)."""

    size_bytes: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] = ()


class Mount(Wire, frozen=True):
    """One ``--mount``: type bind, volume, tmpfs, image, npipe or cluster."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: Empty | None = None


class WeightDevice(Wire, frozen=True):
    path: str = always("")
    weight: int = always(0)


class ThrottleDevice(Wire, frozen=True):
    """A device path and a rate: bytes or operations per second."""

    path: str = always("")
    rate: int = always(0)


class DeviceMapping(Wire, frozen=True):
    path_on_host: str = always("")
    path_in_container: str = always("")
    cgroup_permissions: str = always("")


class DeviceRequest(Wire, frozen=True):
    """``--gpus`` and CDI devices."""

    driver: str = always("")
    count: int = always(0)
    device_ids: tuple[str, ...] | None = always(None, name="DeviceIDs")
    capabilities: tuple[tuple[str, ...], ...] | None = always(None)
    options: dict[str, str] | None = always(None)


class Ulimit(Wire, frozen=True):
    name: str = always("")
    hard: int = always(0)
    soft: int = always(0)


class Resources(Wire, frozen=True):
    """Limits. Bytes, microseconds (CPU periods and quotas), billionths of a CPU (``nano_cpus``)."""

    cpu_shares: int = always(0)
    memory: int = always(0)
    nano_cpus: int = always(0)
    cgroup_parent: str = always("")
    blkio_weight: int = always(0)
    blkio_weight_device: tuple[WeightDevice, ...] | None = always(None)
    blkio_device_read_bps: tuple[ThrottleDevice, ...] | None = always(None)
    blkio_device_write_bps: tuple[ThrottleDevice, ...] | None = always(None)
    blkio_device_read_iops: tuple[ThrottleDevice, ...] | None = always(None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: tuple[ThrottleDevice, ...] | None = always(None, name="BlkioDeviceWriteIOps")
    cpu_period: int = always(0)
    cpu_quota: int = always(0)
    cpu_realtime_period: int = always(0)
    cpu_realtime_runtime: int = always(0)
    cpuset_cpus: str = always("")
    cpuset_mems: str = always("")
    devices: tuple[DeviceMapping, ...] | None = always(None)
    device_cgroup_rules: tuple[str, ...] | None = always(None)
    device_requests: tuple[DeviceRequest, ...] | None = always(None)
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(name="KernelMemoryTCP", default=0)
    memory_reservation: int = always(0)
    memory_swap: int = always(0)
    memory_swappiness: int | None = always(None)
    oom_kill_disable: bool | None = always(None)
    pids_limit: int | None = always(None)
    ulimits: tuple[Ulimit, ...] | None = always(None)
    cpu_count: int = always(0)
    cpu_percent: int = always(0)
    io_maximum_iops: int = always(0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = always(0, name="IOMaximumBandwidth")


class HostConfig(Resources, frozen=True):
    """What depends on the host."""

    binds: tuple[str, ...] | None = always(None)
    container_id_file: str = always("", name="ContainerIDFile")
    log_config: LogConfig = always(LogConfig())
    network_mode: str = always("")
    port_bindings: PortMap | None = always(None)
    restart_policy: RestartPolicy = always(RestartPolicy())
    auto_remove: bool = always(False)
    volume_driver: str = always("")
    volumes_from: tuple[str, ...] | None = always(None)
    console_size: tuple[int, ...] = always((0, 0))
    annotations: dict[str, str] = optional_map()
    cap_add: StrSlice = always(None)
    cap_drop: StrSlice = always(None)
    cgroupns_mode: str = always("")
    dns: tuple[str, ...] | None = always(None)
    dns_options: tuple[str, ...] | None = always(None)
    dns_search: tuple[str, ...] | None = always(None)
    extra_hosts: tuple[str, ...] | None = always(None)
    group_add: tuple[str, ...] | None = always(None)
    ipc_mode: str = always("")
    cgroup: str = always("")
    links: tuple[str, ...] | None = always(None)
    oom_score_adj: int = always(0)
    pid_mode: str = always("")
    privileged: bool = always(False)
    publish_all_ports: bool = always(False)
    readonly_rootfs: bool = always(False)
    security_opt: tuple[str, ...] | None = always(None)
    storage_opt: dict[str, str] = optional_map()
    tmpfs: dict[str, str] = optional_map()
    uts_mode: str = always("", name="UTSMode")
    userns_mode: str = always("")
    shm_size: int = always(0)
    sysctls: dict[str, str] = optional_map()
    runtime: str = ""
    isolation: str = always("")
    mounts: tuple[Mount, ...] = ()
    masked_paths: tuple[str, ...] | None = always(None)
    readonly_paths: tuple[str, ...] | None = always(None)
    init: bool | None = None
    restart_unhealthy: bool = False
    """Ours: start the container again when its health check says that it is unhealthy."""
    rootfs: str = ""
    """Ours: a directory of this machine whose copy-on-write view is the root. An image is what was committed of one."""


class EndpointIPAMConfig(Wire, frozen=True):
    """Addresses that the user chose."""

    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: tuple[str, ...] = field(name="LinkLocalIPs", default=())


class EndpointSettings(Wire, frozen=True):
    """A container's place on one network: what was asked, and what it got."""

    ipam_config: EndpointIPAMConfig | None = always(None, name="IPAMConfig")
    links: tuple[str, ...] | None = always(None)
    aliases: tuple[str, ...] | None = always(None)
    mac_address: str = always("")
    driver_opts: dict[str, str] | None = always(None)
    gw_priority: int = always(0)
    network_id: str = always("", name="NetworkID")
    endpoint_id: str = always("", name="EndpointID")
    gateway: str = always("")
    ip_address: str = always("", name="IPAddress")
    ip_prefix_len: int = always(0, name="IPPrefixLen")
    ipv6_gateway: str = always("", name="IPv6Gateway")
    global_ipv6_address: str = always("", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = always(0, name="GlobalIPv6PrefixLen")
    dns_names: tuple[str, ...] | None = always(None, name="DNSNames")


class NetworkingConfig(Wire, frozen=True):
    endpoints_config: dict[str, EndpointSettings] = always_map()
