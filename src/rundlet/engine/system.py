"""The engine about itself: version, info, events, disk use."""

import asyncio
import os
import platform
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable

from rundlet import __version__
from rundlet.api import versions
from rundlet.api.containers import ContainerListOptions
from rundlet.api.events import Event as WireEvent
from rundlet.api.events import EventActor, EventsOptions
from rundlet.api.images import AuthConfig, ImageListOptions
from rundlet.api.system import (
    AddressPool,
    Component,
    DeviceInfo,
    DiskUsage,
    DiskUsageOptions,
    FirewallInfo,
    IndexInfo,
    Info,
    Login,
    PlatformName,
    Plugins,
    RegistryConfig,
    Runtime,
    Version,
)
from rundlet.container.state import Status
from rundlet.engine import cdi, confinement, event_filters, logdrivers, machine
from rundlet.engine.builds.service import BuildService
from rundlet.engine.containers.views import Views
from rundlet.engine.context import Context, Settings
from rundlet.engine.events import Event
from rundlet.engine.images.service import ImageService
from rundlet.engine.volumes import VolumeService
from rundlet.linux import cgroup
from rundlet.linux.cgroup.layout import V2
from rundlet.registry import Credentials, Registry
from rundlet.transport.proxies import masked
from rundlet.util.clock import rfc3339_nano

VERSION = f"{versions.RELEASE}+rundlet{__version__}"
"""What clients compare: Testcontainers, minikube and others refuse engines that are older than the Docker they know."""
AGENT = f"docker/{VERSION} kernel/{machine.kernel()} os/linux arch/{machine.go_architecture()}"
"""What registries compare, in Docker's form."""


class SystemService:
    """``containers``, ``images`` and ``volumes`` give the lists that ``df`` shows.

    ``trust_policy`` is where the policy for images is, empty when there is none.
    """

    def __init__(
        self,
        context: Context,
        engine_id: str,
        registry: Registry,
        *,
        containers: Views,
        images: ImageService,
        volumes: VolumeService,
        builds: BuildService,
        trust_policy: Callable[[], str],
    ) -> None:
        self._context = context
        self._id = engine_id
        self._registry = registry
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._builds = builds
        self._trust_policy = trust_policy

    async def version(self) -> Version:
        details = {
            "ApiVersion": str(versions.MAXIMUM),
            "MinAPIVersion": str(versions.MINIMUM),
            "Os": "linux",
            "Arch": machine.go_architecture(),
            "KernelVersion": machine.kernel(),
            "PythonVersion": platform.python_version(),
            "GitCommit": "",
            "BuildTime": "",
            "Experimental": str(self.experimental).lower(),
        }
        return Version(
            platform=PlatformName(name="Rundlet Engine"),
            components=(Component(name="Engine", version=__version__, details=details),),
            version=VERSION,
            api_version=str(versions.MAXIMUM),
            min_api_version=str(versions.MINIMUM),
            go_version=f"python{platform.python_version()}",
            os="linux",
            arch=machine.go_architecture(),
            kernel_version=machine.kernel(),
            experimental=self.experimental,
        )

    @property
    def experimental(self) -> bool:
        """What clients are told, who may have features of that kind."""
        return self._context.settings.experimental

    @property
    def builder_version(self) -> str:
        """What clients build by that are told nothing else: 1 is the Dockerfile's own way, 2 BuildKit's protocol."""
        return "2" if self._context.settings.buildkit else "1"

    async def info(self) -> Info:
        context, settings = self._context, self._context.settings
        running, paused = self._alive()
        layout = cgroup.detect()
        have = layout.controllers
        name, release = machine.distribution()
        devices, problems = await asyncio.to_thread(cdi.load, settings.cdi_spec_dirs)
        return Info(
            id=self._id,
            containers=len(context.containers),
            containers_running=running,
            containers_paused=paused,
            containers_stopped=len(context.containers) - running - paused,
            images=len(context.images.images()),
            driver=context.snapshots.driver,
            driver_status=(
                ("Backing Filesystem", _file_system(context.layout.root)),
                *((("Native Overlay Diff", "true"),) if context.snapshots.driver == "overlay2" else ()),
            ),
            plugins=Plugins(
                volume=("local",),
                network=("bridge", "host", "ipvlan", "macvlan", "null"),
                authorization=None,
                log=logdrivers.NAMES,
            ),
            memory_limit="memory" in have,
            swap_limit="memory" in have,
            cpu_cfs_period="cpu" in have,
            cpu_cfs_quota="cpu" in have,
            cpu_shares="cpu" in have,
            cpu_set="cpuset" in have,
            pids_limit="pids" in have,
            ipv4_forwarding=machine.read_flag("/proc/sys/net/ipv4/ip_forward"),
            debug=settings.debug,
            n_fd=machine.open_files(),
            oom_kill_disable="memory" in have and layout.version != V2,
            n_goroutines=len(asyncio.all_tasks()),
            system_time=rfc3339_nano(context.clock.now_ns()),
            cdi_spec_dirs=settings.cdi_spec_dirs,
            logging_driver=settings.log_config.type,
            cgroup_driver=_cgroup_driver(settings, layout),
            cgroup_version="2" if layout.version == V2 else "1",
            kernel_version=machine.kernel(),
            operating_system=name,
            os_version=release,
            architecture=machine.architecture(),
            registry_config=self._registries(),
            n_cpu=machine.cpus(),
            mem_total=machine.memory(),
            docker_root_dir=context.layout.root,
            http_proxy=masked(_from_environment("HTTP_PROXY")),
            https_proxy=masked(_from_environment("HTTPS_PROXY")),
            no_proxy=_from_environment("NO_PROXY"),
            name=socket.gethostname(),
            labels=settings.labels,
            experimental_build=settings.experimental,
            server_version=VERSION,
            runtimes=self._runtimes(),
            default_runtime=settings.default_runtime,
            init_binary="rundlet-init",
            security_options=self._security_options(),
            rootless=settings.chosen or None,
            n_events_listener=context.events.listeners,
            default_address_pools=tuple(AddressPool(base=base, size=size) for base, size in context.network.pools()),
            firewall_backend=FirewallInfo(driver="nftables"),
            discovered_devices=tuple(DeviceInfo(source="cdi", id=device) for device in sorted(devices)),
            warnings=(*self._warnings(have), *(f"CDI: {problem}" for problem in problems)) or None,
        )

    def _alive(self) -> tuple[int, int]:
        """How many containers run, and how many are paused."""
        counts = Counter(record.state.status for record in self._context.containers)
        return counts[Status.RUNNING] + counts[Status.RESTARTING], counts[Status.PAUSED]

    def _runtimes(self) -> dict[str, Runtime]:
        settings = self._context.settings
        found = {
            name: Runtime(path=path, runtime_args=settings.runtime_args.get(name, ()))
            for name, path in settings.runtimes.items()
        }
        return found | {"rundlet": Runtime(path="built in")}

    def _security_options(self) -> tuple[str, ...]:
        settings, policy = self._context.settings, self._trust_policy()
        return (
            *confinement.options(),
            f"name=seccomp,profile={settings.containers.seccomp_name}",
            *(("name=userns",) if settings.maps_users else ()),
            *(("name=rootless",) if settings.rootless else ()),
            "name=cgroupns",
            *(("name=no-new-privileges",) if settings.containers.security.no_new_privileges else ()),
            *((f"name=trust,profile={policy}",) if policy else ()),
        )

    def _registries(self) -> RegistryConfig:
        settings = self._context.settings
        insecure = ["::1/128", "127.0.0.0/8", *(item for item in settings.insecure_registries if "/" in item)]
        hub = IndexInfo(name="docker.io", mirrors=settings.registry_mirrors, secure=True, official=True)
        indexes = {"docker.io": hub}
        for host in settings.insecure_registries:
            if "/" not in host:
                indexes[host] = IndexInfo(name=host)
        return RegistryConfig(
            insecure_registry_cidrs=tuple(insecure), index_configs=indexes, mirrors=settings.registry_mirrors
        )

    def _warnings(self, have: frozenset[str]) -> tuple[str, ...]:
        missing = {
            "memory": "WARNING: No memory limit support",
            "cpu": "WARNING: No cpu cfs quota support",
            "pids": "WARNING: No pids limit support",
            "cpuset": "WARNING: No cpuset support",
        }
        warnings = [text for name, text in missing.items() if name not in have]
        warnings += [f"WARNING: {text}" for text in self._context.settings.lacks]
        warnings += [
            f"WARNING: API is accessible on {address} without encryption and certificates: access to it is root on "
            "this machine"
            for address in self._context.settings.open_hosts
        ]
        return (*warnings, *confinement.warnings(), *self._context.network.warnings())

    async def disk_usage(self, options: DiskUsageOptions) -> DiskUsage:
        kinds = options.kinds or frozenset({"container", "image", "volume", "build-cache"})
        images = containers = volumes = None
        if "image" in kinds:
            images = tuple(self._images.summaries(ImageListOptions(shared_size=True)))
        if "container" in kinds:
            containers = tuple(await self._containers.list(ContainerListOptions(all=True, size=True)))
        if "volume" in kinds:
            volumes = tuple(await asyncio.to_thread(self._volumes.with_usage))
        return DiskUsage(
            layers_size=sum(layer.size for layer in self._context.snapshots.layers()) if "image" in kinds else 0,
            images=images,
            containers=containers,
            volumes=volumes,
            build_cache=tuple(await self._builds.usage()) if "build-cache" in kinds else None,
        )

    async def events(self, options: EventsOptions) -> AsyncIterator[WireEvent]:
        """Subscribed when this returns."""
        bus = self._context.events
        replay = options.since is not None or options.until is not None  # an end alone asks for the past too
        stream = bus.subscribe(since_ns=options.since or 0, until_ns=options.until or 0, replay=replay)

        async def selected() -> AsyncIterator[WireEvent]:
            async for event in stream:
                if event_filters.matches(event, options.filters):
                    yield _wire(event)

        return selected()

    async def login(self, auth: AuthConfig) -> Login:
        credentials = Credentials(auth.username, auth.password, auth.identitytoken)
        token = await self._registry.login(auth.serveraddress or "docker.io", credentials)
        return Login(status="Login Succeeded", identity_token=token)


def _from_environment(name: str) -> str:
    """As connections read it: an empty value counts as absent."""
    return os.environ.get(name) or os.environ.get(name.lower(), "")


def _wire(event: Event) -> WireEvent:
    legacy = event.kind in ("container", "image")
    return WireEvent(
        status=event.action if legacy else "",
        id=event.actor if legacy else "",
        from_=event.attributes.get("image", "") if event.kind == "container" else "",
        type=event.kind,
        action=event.action,
        actor=EventActor(id=event.actor, attributes=event.attributes),
        scope=event.scope,
        time=event.time_ns // 10**9,
        time_nano=event.time_ns,
    )


def _cgroup_driver(settings: Settings, layout: cgroup.Layout) -> str:
    if not layout.controllers:
        return "none"
    return "cgroupfs" if settings.scopes is None else "systemd"


def _file_system(path: str) -> str:
    """The type of the file system that holds ``path``, from mountinfo."""
    best, kind = "", "unknown"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                target = left.split()[4]
                if (path == target or path.startswith(target.rstrip("/") + "/")) and len(target) >= len(best):
                    best, kind = target, right.split()[0]
    except OSError:
        return kind
    return {"ext4": "extfs", "ext3": "extfs"}.get(kind, kind)
