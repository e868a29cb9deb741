"""From a container's record to what its shim is given: an OCI configuration and the shim's own part."""

import asyncio
from typing import Any

import msgspec

from rundlet.api.container_config import ContainerConfig, HostConfig, Resources, ThrottleDevice
from rundlet.api.exec import ExecCreate
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine import cdi, mounts
from rundlet.engine.containers import documents, groups, hostroot
from rundlet.engine.containers.links import Links
from rundlet.engine.containers.security import Security, apparmor_profile, security
from rundlet.engine.context import Context
from rundlet.engine.merge import argv
from rundlet.engine.seccomp import SeccompCache
from rundlet.errors import ConflictError, InternalError
from rundlet.linux import cgroup, userns
from rundlet.runtime import spec
from rundlet.runtime.spec import HOST, DeviceRequest, Limits, Namespace, NamespaceKind, Rlimit, SpecRequest, Throttle

SPEC_VERSION = 1
_SHAREABLE = frozenset({"shareable", "host"})


class BundleMaker:
    """Builds the shim's specification at every start, so that what it refers to is as it is now."""

    def __init__(self, context: Context, seccomp: SeccompCache) -> None:
        self._context = context
        self._seccomp = seccomp
        self._links = Links(context.containers, context.network)

    async def make(
        self, record: Record, network: dict[str, Any], etc_mounts: list[dict[str, Any]], log: dict[str, Any]
    ) -> dict[str, Any]:
        """``network`` and ``log`` are the shim's sections; ``etc_mounts`` bind the files that we write for it.

        Raises InvalidParameterError, ConflictError (a container to join does not run), OSError.
        """
        config, host = documents.config(record), documents.host(record)
        layout = self._context.layout
        defaults = self._context.settings.containers
        protection = security(host, defaults.security)
        group = groups.section(record, self._context)
        request = self._request(record, config, host, protection, groups.oci_path(record, self._context), etc_mounts)
        # A device may be a whole directory: other clients need not wait while it is walked.
        oci = await asyncio.to_thread(spec.build, request) if request.devices else spec.build(request)
        names = frozenset(spec.capability_names(request))
        external = self._context.settings.runtimes.get(record.runtime)
        program = None
        # A privileged container has no filter but one that was asked for.
        if not protection.seccomp_off and (not host.privileged or protection.seccomp_profile is not None):
            program = self._seccomp.path(names, protection.seccomp_profile)
            if external is not None:
                oci["linux"]["seccomp"] = self._seccomp.oci(names, protection.seccomp_profile)
        edits = cdi.edits_for(host.device_requests or (), self._context.settings.cdi_spec_dirs)
        cdi.apply(edits, oci)
        rootfs = hostroot.layers_of(self._context, record)
        directory = layout.container(record.id)
        return {
            "version": SPEC_VERSION,
            "id": record.id,
            "name": record.name,
            "instance": layout.instance,
            "dir": directory,
            "socket": layout.shim_socket(record.id),
            "oci": oci,
            "user": config.user,
            "groups": [*(host.group_add or ()), *map(str, edits.groups)],
            "rootfs": {key: value for key, value in rootfs.items() if key != "binds"},
            "stdio": {
                "tty": config.tty,
                "open_stdin": config.open_stdin,
                "stdin_once": config.stdin_once,
                "size": list(host.console_size),
            },
            "log": log,
            "net": network,
            "cgroup": group | {"strict": _strict(request)},
            "seccomp": program,
            "init": defaults.wants_init(host),
            "restart": {
                "policy": host.restart_policy.name or "no",
                "max": host.restart_policy.maximum_retry_count,
            },
            "runtime": {"path": external, "args": list(self._context.settings.runtime_args.get(record.runtime, ()))},
            "exit_record": f"{directory}/exit",
        }

    def exec_process(self, record: Record, wanted: ExecCreate) -> dict[str, Any]:
        """The OCI process of a further command in a running container: the container's own rights and variables."""
        config, host = documents.config(record), documents.host(record)
        request = self._request(
            record, config, host, security(host, self._context.settings.containers.security), "", []
        )
        request = msgspec.structs.replace(
            request,
            args=list(wanted.cmd or ()),
            env=[*request.env, *(wanted.env or ())],
            cwd=wanted.working_dir or config.working_dir or "/",
            tty=wanted.tty,
            privileged=host.privileged or wanted.privileged,  # not so AppArmor's profile: as Docker
        )
        return spec.process(request)

    def _request(
        self,
        record: Record,
        config: ContainerConfig,
        host: HostConfig,
        protection: Security,
        cgroup_path: str,
        etc_mounts: list[dict[str, Any]],
    ) -> SpecRequest:
        users = record.user_map
        return SpecRequest(
            args=argv(config),
            env=[*self._links.environment(record), *(config.env or ())],
            cwd=config.working_dir or "/",
            tty=config.tty,
            hostname=config.hostname,
            domainname=config.domainname,
            cap_add=host.cap_add or (),
            cap_drop=host.cap_drop or (),
            privileged=host.privileged,
            read_only=host.readonly_rootfs,
            mounts=self._mounts(record, host, etc_mounts),
            devices=[
                DeviceRequest(
                    device.path_on_host,
                    device.path_in_container or device.path_on_host,
                    device.cgroup_permissions or "rwm",
                )
                for device in host.devices or ()
            ],
            device_cgroup_rules=host.device_cgroup_rules or (),
            masked_paths=host.masked_paths or (),
            readonly_paths=host.readonly_paths or (),
            shm_size=host.shm_size,
            sysctls=host.sysctls,
            rlimits=[
                Rlimit(limit.name, limit.soft, limit.hard) for limit in self._context.settings.containers.limits(host)
            ],
            limits=limits(host),
            namespaces=self._namespaces(record, host),
            cgroup_path=cgroup_path,
            no_new_privileges=protection.no_new_privileges,
            apparmor=apparmor_profile(host),
            selinux=protection.label,
            writable_cgroups=protection.writable_cgroups,
            oom_score_adj=host.oom_score_adj,
            annotations=host.annotations,
            users=users.users if users is not None else (),
            groups=users.groups if users is not None else (),
        )

    def _mounts(self, record: Record, host: HostConfig, etc_mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The container's own files, but where the user mounts something there, then what the user mounts."""
        mapped = record.user_map is not None
        user_mounts = mounts.to_oci(
            record.mounts,
            mounts.tmpfs_of(host),
            lambda point: hostroot.image_layers(self._context, point),
            first_start=not record.state.started_ns,
            mapped=mapped,
        )
        named = {mount["destination"] for mount in user_mounts}
        own = [mount for mount in etc_mounts if mount["destination"] not in named]
        own += hostroot.mounts_of(record, named)
        if mapped:
            own = [mount | {"options": [*mount["options"], "idmap"]} for mount in own]
        return [*own, *user_mounts]

    def _namespaces(self, record: Record, host: HostConfig) -> dict[NamespaceKind, Namespace]:
        chosen: dict[NamespaceKind, Namespace] = {}
        modes: tuple[tuple[NamespaceKind, str], ...] = (
            ("pid", host.pid_mode),
            ("ipc", host.ipc_mode),
            ("uts", host.uts_mode),
            ("cgroup", host.cgroupns_mode),
        )
        for kind, mode in modes:
            if mode == "host":
                chosen[kind] = HOST
            elif mode.startswith("container:"):
                chosen[kind] = Namespace(f"/proc/{self._namespace_of(mode, kind)}/ns/{kind}")
            elif mode == "none" and kind == "ipc":
                chosen[kind] = Namespace("new")
        if host.network_mode == "host":
            chosen["network"] = HOST
        elif host.network_mode.startswith("container:"):
            chosen["network"] = Namespace(f"/proc/{self.joined_pid(record)}/ns/net")
        return chosen

    def _namespace_of(self, mode: str, kind: NamespaceKind) -> int:
        """The process whose PID or IPC namespace ``container:x`` means. Raises InternalError with Docker's words."""
        other = self._context.containers.find(mode.partition(":")[2])
        where = f"failed to join {kind.upper()} namespace: container {other.id}"
        if not is_running(other.state.status) or not other.state.pid:
            raise InternalError(f"{where} is not running")
        if kind == "ipc" and documents.host(other).ipc_mode not in _SHAREABLE:
            raise InternalError(f"{where}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
        return other.state.pid

    def joined_pid(self, record: Record) -> int:
        """The process whose network ``container:x`` means. Raises ConflictError when it does not run, InternalError."""
        other = self._context.containers.find(documents.host(record).network_mode.partition(":")[2])
        if other.id == record.id:
            raise InternalError("cannot join own network namespace")
        if not is_running(other.state.status) or not other.state.pid:
            raise ConflictError(f"cannot join network namespace of a non running container: {other.name or other.id}")
        return other.state.pid


def limits(resources: Resources) -> Limits:
    """The API's numbers as limits; -1 (unlimited) and 0 (nothing asked) alike ask for no limit, but for swap."""
    return Limits(
        memory=resources.memory,
        memory_swap=resources.memory_swap,
        memory_reservation=resources.memory_reservation,
        memory_swappiness=resources.memory_swappiness,
        oom_kill_disable=bool(resources.oom_kill_disable),
        cpu_shares=resources.cpu_shares,
        cpu_period=resources.cpu_period,
        cpu_quota=resources.cpu_quota,
        nano_cpus=resources.nano_cpus,
        cpu_realtime_period=resources.cpu_realtime_period,
        cpu_realtime_runtime=resources.cpu_realtime_runtime,
        cpuset_cpus=resources.cpuset_cpus,
        cpuset_mems=resources.cpuset_mems,
        pids=resources.pids_limit or 0,
        blkio_weight=resources.blkio_weight,
        weights=tuple(Throttle(device.path, device.weight) for device in resources.blkio_weight_device or ()),
        read_bps=_throttles(resources.blkio_device_read_bps),
        write_bps=_throttles(resources.blkio_device_write_bps),
        read_iops=_throttles(resources.blkio_device_read_iops),
        write_iops=_throttles(resources.blkio_device_write_iops),
    )


def _throttles(devices: tuple[ThrottleDevice, ...] | None) -> tuple[Throttle, ...]:
    return tuple(Throttle(device.path, device.rate) for device in devices or ())


def _strict(request: SpecRequest) -> list[str]:
    """What must be limited or the start fails. In a user namespace create has said what can't be."""
    asked = request.limits.controllers()
    if not asked or userns.INITIAL:
        return asked
    have = cgroup.detect().controllers
    return [name for name in asked if name in have]
