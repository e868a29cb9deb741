"""Containers as the API's answers: lists and inspect."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import msgspec

from rundlet.api.container_config import HostConfig
from rundlet.api.containers import (
    ContainerInspect,
    ContainerInspectOptions,
    ContainerListOptions,
    ContainerSummary,
    GraphDriver,
    MountPoint,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from rundlet.container.record import MountPoint as StoredMount
from rundlet.container.record import Record
from rundlet.container.state import Status, is_running
from rundlet.engine import confinement
from rundlet.engine.containers import documents, hostroot, status
from rundlet.engine.containers.execs import ExecService
from rundlet.engine.containers.filters import Selection
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.networking import Networking
from rundlet.engine.containers.security import apparmor_profile
from rundlet.engine.context import Context
from rundlet.engine.logdrivers import written_path
from rundlet.errors import InvalidParameterError, NoSuchImageError
from rundlet.network.networks import Network
from rundlet.oci.digest import Digest
from rundlet.util.clock import rfc3339_nano


class Views:
    """Reads only."""

    def __init__(self, context: Context, networking: Networking, execs: ExecService) -> None:
        self._context = context
        self._networking = networking
        self._execs = execs
        self._links = Links(context.containers, context.network)

    # -- list -------------------------------------------------------------------------------------------------------

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        """Newest first. Raises InvalidFilterError."""
        records = self.selected(options)
        linked = self._links.names()
        image_name, network = cache(self._image_name), cache(self._networking.find)

        def summaries() -> list[ContainerSummary]:
            return [self._summary(record, linked, image_name, network, size=options.size) for record in records]

        return await asyncio.to_thread(summaries) if options.size else summaries()

    def selected(self, options: ContainerListOptions) -> Sequence[Record]:
        selection = Selection(
            options.filters,
            find=self._context.containers.find,
            ancestors=self._ancestors,
            networks=self._networking.network_names,
            port_map=self._networking.port_map,
            health=self._health,
        )
        everything = options.all or options.limit > 0 or selection.widens
        records = sorted(self._context.containers, key=lambda record: record.created_ns, reverse=True)
        found = [
            record
            for record in records
            if (everything or is_running(record.state.status)) and selection.matches(record)
        ]
        return found[: options.limit] if options.limit > 0 else found

    def _summary(
        self,
        record: Record,
        linked: Mapping[str, Sequence[str]],
        image_name: Callable[[str, str], str],
        network: Callable[[str], Network | None],
        *,
        size: bool,
    ) -> ContainerSummary:
        config, host = documents.config(record), documents.host(record)
        rw, root = self._sizes(record) if size else (0, 0)
        return ContainerSummary(
            id=record.id,
            names=(f"/{record.name}", *linked.get(record.id, ())),
            image=image_name(record.image, record.image_id),
            image_id=record.image_id,
            command=" ".join([record.path, *(_quoted(word) for word in record.args)]),
            created=record.created_ns // 10**9,
            ports=self._networking.summary_ports(record),
            size_rw=rw,
            size_root_fs=root,
            labels=config.labels or {},
            state=record.state.status.value,
            status=status.sentence(record.state, self._context.clock.now_ns(), self._health(record)),
            host_config=SummaryHostConfig(network_mode=host.network_mode, annotations=host.annotations),
            network_settings=SummaryNetworkSettings(networks=self._networking.networks(record, network)),
            mounts=_mounts(record, host),
        )

    def _image_name(self, name: str, image_id: str) -> str:
        """The name it was created from, as long as that name still means the same image; else the ID."""
        if not image_id:
            return name  # a directory of this machine
        try:
            if str(self._context.images.get(name).id) == image_id:
                return name
        except (NoSuchImageError, InvalidParameterError):
            pass
        return image_id

    def _ancestors(self, name: str) -> Sequence[str]:
        """Image IDs that ``ancestor=name`` stands for: the image and all that were built on it."""
        try:
            root = self._context.images.get(name).id
        except (NoSuchImageError, InvalidParameterError):
            return []
        found: list[Digest] = [root]
        for image_id in found:
            found.extend(self._context.images.children(image_id))
        return [str(image_id) for image_id in found]

    def _sizes(self, record: Record) -> tuple[int, int]:
        """(bytes written, bytes in all); walks the container's own files."""
        written = self._context.snapshots.usage(record.id)
        image = self._context.images.find(Digest.parse(record.image_id)) if record.image_id else None
        return written, written + (image.size if image is not None else 0)

    def _health(self, record: Record) -> str:
        health = self._context.live.of(record.id).health
        return health.status if health is not None else ""

    # -- inspect ----------------------------------------------------------------------------------------------------

    async def inspect(self, ref: str, options: ContainerInspectOptions) -> ContainerInspect:
        record = self._context.containers.find(ref)
        found = self._inspect(record)
        if options.size:
            rw, root = await asyncio.to_thread(self._sizes, record)
            found = msgspec.structs.replace(found, size_rw=rw, size_root_fs=root)
        return found

    def _inspect(self, record: Record) -> ContainerInspect:
        host = documents.host(record)
        if host.links:
            host = msgspec.structs.replace(host, links=self._links.shown(record) or host.links)
        directory = self._context.layout.container(record.id)
        log = written_path(host.log_config, directory, record.id)
        ran = record.state.started_ns > 0
        return ContainerInspect(
            id=record.id,
            created=rfc3339_nano(record.created_ns),
            path=record.path,
            args=tuple(record.args),
            state=status.wire(record, self._context.live.of(record.id).health),
            image=record.image_id,
            resolv_conf_path=f"{directory}/resolv.conf" if ran else "",
            hostname_path=f"{directory}/hostname" if ran else "",
            hosts_path=f"{directory}/hosts" if ran else "",
            log_path=log if ran else "",
            name=f"/{record.name}",
            restart_count=record.state.restart_count,
            app_armor_profile=apparmor_profile(host) or confinement.no_profile(),
            driver=self._context.snapshots.driver,
            platform=record.platform,
            exec_ids=tuple(self._execs.of_container(record.id)) or None,
            host_config=host,
            graph_driver=self._graph_driver(record),
            mounts=_mounts(record, host),
            config=documents.config(record),
            network_settings=self._networking.settings(record),
        )

    def _graph_driver(self, record: Record) -> GraphDriver:
        if record.state.status in (Status.REMOVING, Status.DEAD):
            return GraphDriver(data={}, name=self._context.snapshots.driver)
        rootfs = hostroot.rootfs_of(self._context, record)
        data = {"MergedDir": rootfs.merged, "UpperDir": rootfs.upper, "WorkDir": rootfs.work}
        return GraphDriver(data={"LowerDir": ":".join(rootfs.lower), **data}, name=self._context.snapshots.driver)


def _mounts(record: Record, host: HostConfig) -> tuple[MountPoint, ...]:
    """As Docker, with the tmpfs of ``--mount`` and without those of ``--tmpfs``."""
    temporary = [
        MountPoint(type="tmpfs", name="", source="", destination=mount.target, rw=not mount.read_only)
        for mount in host.mounts
        if mount.type == "tmpfs"
    ]
    return (*(_mount(point) for point in record.mounts), *temporary)


def _mount(point: StoredMount) -> MountPoint:
    return MountPoint(
        type=point.kind,
        name=point.name,
        source=point.source,
        destination=point.destination,
        driver=point.driver,
        mode=point.mode,
        rw=point.rw,
        propagation=point.propagation,
    )


def _quoted(word: str) -> str:
    """An argument as Docker's list shows it: in single quotes when it has a space, and otherwise as it is."""
    return f"'{word}'" if " " in word else word
