"""Creating a container: everything is checked before anything is made, and what was made is undone on failure.

Order: name reserved → volumes → writable snapshot → record (the commit point). A start of the engine removes snapshots
and directories that no record owns.
"""

import asyncio

import msgspec

from rundlet.api.container_config import (
    ContainerConfig,
    HostConfig,
    NetworkingConfig,
    PortBinding,
    RestartPolicy,
)
from rundlet.api.containers import ContainerCreate, ContainerCreated, ContainerCreateOptions
from rundlet.container import names
from rundlet.container.record import MountPoint, Record, UserMap
from rundlet.engine import logdrivers, merge, mounts, refusals, resources
from rundlet.engine.containers import documents, groups, health, hostroot, limits, network_modes, sharing, targets
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.security import security
from rundlet.engine.containers.usermaps import UserMaps
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NoSuchContainerError, RundletError
from rundlet.image.errors import PlatformMismatchError
from rundlet.image.records import Image
from rundlet.linux import cgroup, userns
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.runtime import spec as runtime_spec
from rundlet.util import ids

NATIVE = "rundlet"
_DEFAULT = ("", "default", "bridge")


class Creator:
    """``POST /containers/create``."""

    def __init__(self, context: Context, user_maps: UserMaps) -> None:
        self._context = context
        self._user_maps = user_maps

    async def create(self, body: ContainerCreate, options: ContainerCreateOptions) -> ContainerCreated:
        """Raises what the checks raise; then nothing has been made.

        What the request says by itself is looked at first, as in Docker: nobody pulls an image for a bad option.
        """
        refusals.check(body, body.host_config or HostConfig())
        if not body.image and body.host_config is not None and body.host_config.rootfs:
            await self._admit_mounted(body.host_config)
            return await self.create_exactly(body, options, None, merge.merge(body, None))
        if not body.image:
            merge.merge(body, None)  # a command that is missing, too, is what Docker tells
        image = self._image(body.image, options.platform)
        await self._context.admission.admit(body.image, image)
        await self._admit_mounted(body.host_config or HostConfig())
        config = merge.merge(body, self._context.images.config(image.id).config)
        created = await self.create_exactly(body, options, image, config)
        if options.platform or image.platform.runs_on(Platform.host()):
            return created
        return msgspec.structs.replace(created, warnings=(*created.warnings, _elsewhere(image.platform)))

    async def create_exactly(
        self,
        body: ContainerCreate,
        options: ContainerCreateOptions,
        image: Image | None,
        config: ContainerConfig,
        *,
        hidden: bool = False,
    ) -> ContainerCreated:
        """A container with ``config`` as it is: nothing of it comes from the image's. No event tells of one that is
        ``hidden``. Raises as :meth:`create`."""
        context = self._context
        wished = _on_old_terms(body.host_config or HostConfig(), options)
        host, warnings = self._host_config(self._user_maps.mode(wished))
        refusals.check(config, host)
        logdrivers.check(host.log_config)
        resources.check_storage(host.storage_opt or {}, context.layout.root)
        changes, discarded = resources.adapted(host)
        host, warnings = msgspec.structs.replace(host, **changes), warnings + discarded
        if host.restart_unhealthy and health.command(config) is None:
            raise InvalidParameterError("--restart-unhealthy needs a health check")
        security(host)
        warnings += network_modes.check_shared(body, host)
        for mode in (host.pid_mode, host.ipc_mode):
            if mode.startswith("container:"):
                self._check_there(mode.partition(":")[2])
        host = Links(context.containers, context.network).recorded(host)
        networking = self._networking(body, host)
        config = _with_address(config, networking, host.network_mode)
        host = sharing.by_id(context.containers, host)
        container_id = ids.new_id()
        name = names.validate(options.name) if options.name else names.generate(context.containers.names)
        config = self._with_hostname(config, host, container_id)
        users = self._user_maps.reserve(container_id, host)
        before = {volume.name for volume in context.volumes.all()}
        try:
            context.containers.reserve(name, container_id)
            try:
                record = await asyncio.to_thread(
                    self._make, container_id, name, config, host, networking, image, body.image, users, options
                )
            except BaseException:
                context.containers.release(name, container_id)
                raise
        finally:
            self._user_maps.release(container_id)
        for point in record.mounts:
            if point.kind == "volume" and point.name not in before:
                context.events.publish("volume", "create", point.name, {"driver": point.driver or "local"})
        if hidden:
            context.events.hide(record.id)
        context.events.publish("container", "create", record.id, event_attributes(record))
        return ContainerCreated(id=record.id, warnings=tuple(warnings))

    def _image(self, reference: str, platform: str) -> Image:
        if not reference:
            raise InvalidParameterError("no image was given")
        image = self._context.images.get(reference)
        if platform:
            wanted = Platform.parse(platform)
            if not wanted.matches(image.platform):
                raise PlatformMismatchError(reference, wanted, image.platform)
        return image

    def _host_config(self, host: HostConfig) -> tuple[HostConfig, list[str]]:
        """The request with Docker's defaults filled in, as inspect shows it."""
        warnings: list[str] = []
        settings = self._context.settings
        defaults = settings.containers
        runtime = host.runtime or settings.default_runtime
        if runtime != NATIVE and runtime not in settings.runtimes:
            raise InvalidParameterError(f"unknown or invalid runtime name: {runtime}")
        if not userns.INITIAL:
            host, warnings = limits.without_unsupported(host, cgroup.detect().controllers)
        for name in ("memory_swap",):
            if host.memory > 0 and getattr(host, name) == 0:
                host = msgspec.structs.replace(host, memory_swap=host.memory * 2)
        if host.oom_kill_disable and not host.memory:
            warnings.append(
                "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
                "running out of resources."
            )
        # A port that is bound to nothing in particular, from clients that mean any port of the host by it.
        bindings = host.port_bindings
        if bindings is not None:
            bindings = {port: given or (PortBinding(),) for port, given in bindings.items()}
        masked: tuple[str, ...] | None = tuple(runtime_spec.MASKED_PATHS)
        readonly: tuple[str, ...] | None = tuple(runtime_spec.READONLY_PATHS)
        if host.privileged or "systempaths=unconfined" in (host.security_opt or ()):
            masked, readonly = None, None
        pids = host.pids_limit if host.pids_limit and host.pids_limit > 0 else None
        return (
            msgspec.structs.replace(
                host,
                runtime=runtime,
                cgroup_parent=groups.checked_parent(host.cgroup_parent or defaults.cgroup_parent, self._context),
                network_mode=host.network_mode
                if host.network_mode not in _DEFAULT
                else self._context.network.default_mode,
                log_config=logdrivers.merged(host.log_config, settings.log_config),
                restart_policy=RestartPolicy(
                    name=host.restart_policy.name or "no",
                    maximum_retry_count=host.restart_policy.maximum_retry_count,
                ),
                port_bindings=bindings,
                shm_size=host.shm_size or defaults.shm_size,
                ipc_mode=host.ipc_mode or defaults.ipc_mode,
                cgroupns_mode=host.cgroupns_mode
                or ("" if host.privileged else defaults.cgroupns_mode)
                or _default_cgroup_namespace(),
                masked_paths=host.masked_paths if host.masked_paths is not None else masked,
                readonly_paths=host.readonly_paths if host.readonly_paths is not None else readonly,
                pids_limit=pids,
                # What can't be disabled isn't enabled either.
                oom_kill_disable=host.oom_kill_disable or (False if resources.kernel().oom_kill_disable else None),
            ),
            warnings,
        )

    def _check_there(self, reference: str) -> None:
        """Raises InvalidParameterError, with Docker's words, for a container whose namespace can't be joined."""
        try:
            self._context.containers.find(reference)
        except NoSuchContainerError as error:
            raise InvalidParameterError(str(error)) from error

    def _networking(self, body: ContainerCreate, host: HostConfig) -> NetworkingConfig:
        """Endpoint settings by network. Clients name the default network ``default`` or ``bridge``."""
        if body.network_disabled and host.network_mode not in ("bridge", "none"):
            raise InvalidParameterError("a disabled network conflicts with --network")
        given = (body.networking_config or NetworkingConfig()).endpoints_config
        return NetworkingConfig(endpoints_config=network_modes.endpoints(self._context.network, host, given, body))

    def _with_hostname(self, config: ContainerConfig, host: HostConfig, container_id: str) -> ContainerConfig:
        mode = host.network_mode
        if config.hostname:
            if mode.startswith("container:"):
                raise InvalidParameterError("conflicting options: hostname and the network mode")
            if host.uts_mode == "host":
                raise InvalidParameterError("conflicting options: hostname and the UTS mode")
            return config
        if mode == "host" or host.uts_mode == "host":
            import socket

            return msgspec.structs.replace(config, hostname=socket.gethostname())
        return msgspec.structs.replace(config, hostname=ids.short(container_id))

    def _make(
        self,
        container_id: str,
        name: str,
        config: ContainerConfig,
        host: HostConfig,
        networking: NetworkingConfig,
        image: Image | None,
        reference: str,
        users: UserMap | None,
        options: ContainerCreateOptions,
    ) -> Record:
        """The container's objects; runs in a thread. On failure everything made here is removed again."""
        context = self._context
        before = {volume.name for volume in context.volumes.all()}
        root = hostroot.survey(host.rootfs, context) if host.rootfs else None
        points = mounts.resolve(config, host, context.volumes, self._mounts_of, self._image_of, context.layout.root)
        if options.shallow_readonly:
            points = [mounts.shallow(point) for point in points]
        try:
            mounts.check_idmap(points, mapped=users is not None)
            points = [self._with_layers(point) for point in points]
            mounted = [Digest.parse(point.chain) for point in points if point.chain]
            words = merge.argv(config)
            record = Record(
                id=container_id,
                name=name,
                created_ns=context.clock.now_ns(),
                image=reference or (root.path if root is not None else ""),
                image_id=str(image.id) if image is not None else "",
                path=words[0],
                args=words[1:],
                config=documents.encode(config),
                host_config=documents.encode(host),
                networking=documents.encode(networking),
                runtime=host.runtime,
                mounts=points,
                rootfs=root,
                user_map=users,
            )
            layer = hostroot.layer_of(context, image) if root is not None and image is not None else ""
            chain = image.chain if root is None and image is not None else None
            rootfs = context.snapshots.prepare_container(container_id, chain, mounted)
            try:
                if root is not None:
                    hostroot.prepare(root, rootfs, layer)
                else:
                    targets.check(rootfs, points, config.volumes or {}, config.working_dir)
                context.containers.add(record)
            except BaseException:
                context.snapshots.remove_container(container_id)
                raise
        except BaseException:
            self._drop_volumes(points, before)
            raise
        return record

    def _with_layers(self, point: MountPoint) -> MountPoint:
        """Of an image its layers, which stay for the container even if the image is removed."""
        if point.kind != "image":
            return point
        chain = self._context.images.get(point.name).chain
        self._context.snapshots.stack(chain)  # copied, by a snapshotter that mounts nothing: too long for a start
        return msgspec.structs.replace(point, chain=str(chain) if chain is not None else "")

    def _mounts_of(self, reference: str) -> list[MountPoint]:
        """Raises InvalidParameterError: a 404 would tell a client that the image is missing."""
        try:
            return self._context.containers.find(reference).mounts
        except NoSuchContainerError as error:
            raise InvalidParameterError(str(error)) from error

    async def _admit_mounted(self, host: HostConfig) -> None:
        """What is mounted out of an image may be run as well. Raises RejectedError, PolicyError."""
        for mount in host.mounts or ():
            if mount.type != "image":
                continue
            try:
                image = self._context.images.get(mount.source)
            except RundletError:
                continue  # which is said where the mount is made
            await self._context.admission.admit(mount.source, image)

    def _image_of(self, reference: str) -> str:
        return str(self._context.images.get(reference).id)

    def _drop_volumes(self, points: list[MountPoint], before: set[str]) -> None:
        for point in points:
            if point.kind == "volume" and point.name not in before:
                try:
                    self._context.volumes.discard(self._context.volumes.remove(point.name, lambda _name: []))
                except (OSError, RundletError):
                    continue


def _with_address(config: ContainerConfig, networking: NetworkingConfig, network: str) -> ContainerConfig:
    """Earlier clients look for the hardware address here."""
    first = networking.endpoints_config.get(network)
    if first is None or not first.mac_address:
        return config
    return msgspec.structs.replace(config, mac_address=first.mac_address)


def _on_old_terms(host: HostConfig, options: ContainerCreateOptions) -> HostConfig:
    if not options.host_cgroups or host.cgroupns_mode:
        return host
    return msgspec.structs.replace(host, cgroupns_mode=_default_cgroup_namespace())


def _default_cgroup_namespace() -> str:
    """Docker's default: a namespace of its own on cgroup v2, whatever its rights, and none on v1, where programs look
    for the container's ID in ``/proc/self/cgroup``."""
    if not userns.INITIAL:
        return "private"  # no other view of the groups can be mounted there
    return "private" if cgroup.detect().version == cgroup.V2 else "host"


def _elsewhere(platform: Platform) -> str:
    return (
        f"The requested image's platform ({platform}) does not match the detected host platform "
        f"({Platform.host()}) and no specific platform was requested"
    )
