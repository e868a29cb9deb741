"""What clients mean by their requests: a field that is younger than a client's version is as if it were not there.

Where a client of an older version would get less than it believes to have asked for, it is told so instead, as by
Docker. Warnings go into the answer of the request.
"""

from typing import Any, Final

import msgspec

from rundlet.api.container_config import EndpointSettings, HealthConfig, HostConfig, Mount, NetworkingConfig
from rundlet.api.containers import ContainerCreate, ContainerUpdate
from rundlet.api.exec import ExecCreate, ExecStart
from rundlet.api.networks import NetworkConnect, NetworkCreate
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError

Changes = dict[str, Any]

_ENDPOINT_SYSCTLS: Final = "com.docker.network.endpoint.sysctls"
_BRIDGE: Final = "bridge"
_NO_MAC: Final = ("host", "none")
_MAC_WARNING: Final = (
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
)
_DRIVER_WARNING: Final = (
    "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use "
    "'--mount type=volume,volume-driver=...' instead"
)


def container_create(body: ContainerCreate, version: APIVersion) -> tuple[ContainerCreate, tuple[str, ...]]:
    """The request as one of the newest version, and warnings.

    Raises InvalidParameterError: what a client of ``version`` can't ask for.
    """
    health = body.healthcheck
    if version < (1, 44):
        _one_network(body)
        health = _without_start_interval(health)
    host = _host_config(body.host_config or HostConfig(), version)
    changed = msgspec.structs.replace(body, host_config=host, healthcheck=health)
    warnings = [_DRIVER_WARNING] if version >= (1, 48) and _driver_is_ignored(host) else []
    changed = _endpoints(changed, host, version)
    changed = _mac_address(changed, host, version, warnings)
    return _interface_sysctls(changed, host, version, warnings), tuple(warnings)


def container_update(body: ContainerUpdate, version: APIVersion) -> ContainerUpdate:
    """What a client of ``version`` means by its update."""
    changes: Changes = {}
    if version < (1, 40):
        changes["pids_limit"] = None
    if version >= (1, 42):
        changes["kernel_memory"] = 0
    return msgspec.structs.replace(body, **changes)


def exec_create(body: ExecCreate, version: APIVersion) -> ExecCreate:
    """Before 1.42 a terminal's size is set when it is there."""
    return msgspec.structs.replace(body, console_size=None) if version < (1, 42) else body


def exec_start(body: ExecStart, version: APIVersion) -> ExecStart:
    """As :func:`exec_create`; what has no terminal has no size."""
    return msgspec.structs.replace(body, console_size=None) if version < (1, 42) or not body.tty else body


def network_create(body: NetworkCreate, version: APIVersion) -> NetworkCreate:
    """Before 1.48 every network has IPv4."""
    return msgspec.structs.replace(body, enable_ipv4=None) if version < (1, 48) else body


def network_connect(body: NetworkConnect, version: APIVersion) -> NetworkConnect:
    """Before 1.48 no network comes before another as the way out."""
    settings = body.endpoint_config
    if settings is None or version >= (1, 48):
        return body
    return msgspec.structs.replace(body, endpoint_config=msgspec.structs.replace(settings, gw_priority=0))


# --- the host's side of a container --------------------------------------------------------------------------------


def _host_config(host: HostConfig, version: APIVersion) -> HostConfig:
    changes: Changes = {"mounts": tuple(_mount(mount, version) for mount in host.mounts)}
    if version < (1, 25):
        changes["auto_remove"] = False  # these clients remove the container themselves
    if version < (1, 40):
        changes["kernel_memory_tcp"] = 0
        changes["ipc_mode"] = host.ipc_mode or "shareable"
    if version < (1, 42):
        changes["console_size"] = (0, 0)
    else:
        changes["kernel_memory"] = 0
    if version < (1, 43):
        changes["annotations"] = {}
    if host.pids_limit is not None and host.pids_limit <= 0:
        changes["pids_limit"] = None
    if not host.network_mode:
        changes["network_mode"] = "default"
    return msgspec.structs.replace(host, **changes)


def _mount(mount: Mount, version: APIVersion) -> Mount:
    _check_mount(mount, version)
    bind, volume, tmpfs = mount.bind_options, mount.volume_options, mount.tmpfs_options
    if bind is not None:
        changes: Changes = {}
        if version < (1, 40):
            changes["non_recursive"] = False
        if version < (1, 42):
            changes["create_mountpoint"] = False
        if version < (1, 44):
            changes["read_only_non_recursive"] = changes["read_only_force_recursive"] = False
        bind = msgspec.structs.replace(bind, **changes)
    if version < (1, 42):  # these could be sent with any type, and went unnoticed
        volume = volume if mount.type == "volume" else None
        tmpfs = tmpfs if mount.type == "tmpfs" else None
    if tmpfs is not None and version < (1, 46):
        tmpfs = msgspec.structs.replace(tmpfs, options=())
    return msgspec.structs.replace(mount, bind_options=bind, volume_options=volume, tmpfs_options=tmpfs)


def _check_mount(mount: Mount, version: APIVersion) -> None:
    """Raises InvalidParameterError: what is not of the mount's type, or younger than ``version``."""
    if version >= (1, 42):
        for name, given, kind in (
            ("VolumeOptions", mount.volume_options, "volume"),
            ("BindOptions", mount.bind_options, "bind"),
            ("TmpfsOptions", mount.tmpfs_options, "tmpfs"),
        ):
            if given is not None and mount.type != kind:
                raise InvalidParameterError(f'{name} must not be specified on mount type "{mount.type}"')
    if (
        version < (1, 44)
        and mount.type == "bind"
        and mount.bind_options
        and mount.bind_options.read_only_force_recursive
    ):
        raise InvalidParameterError("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    if version < (1, 45) and mount.volume_options and mount.volume_options.subpath:
        raise InvalidParameterError("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 48) and mount.type == "image":
        raise InvalidParameterError('Mount type "Image" needs API v1.48 or newer')


def _driver_is_ignored(host: HostConfig) -> bool:
    options = [mount.volume_options for mount in host.mounts if mount.type == "volume"]
    named = [o is not None and o.driver_config is not None and bool(o.driver_config.name) for o in options]
    return bool(host.volume_driver) and not all(named)


def _without_start_interval(health: HealthConfig | None) -> HealthConfig | None:
    return None if health is None else msgspec.structs.replace(health, start_interval=0)


# --- its networks --------------------------------------------------------------------------------------------------


def _one_network(body: ContainerCreate) -> None:
    endpoints = body.networking_config.endpoints_config if body.networking_config else {}
    if len(endpoints) > 1:
        raise InvalidParameterError(
            "Container cannot be created with multiple network endpoints: " + ", ".join(sorted(endpoints))
        )


def _endpoints(body: ContainerCreate, host: HostConfig, version: APIVersion) -> ContainerCreate:
    """The settings of each network, without what is younger; those of "default" are the default network's."""
    given = body.networking_config.endpoints_config if body.networking_config else {}
    changes: Changes = {}
    if version < (1, 44):
        changes["mac_address"] = ""
    if version < (1, 48):
        changes["gw_priority"] = 0
    default = host.network_mode == "default"
    return _with_endpoints(
        body,
        {
            _BRIDGE if default and name == "default" else name: msgspec.structs.replace(settings, **changes)
            for name, settings in given.items()
        },
    )


def _mac_address(body: ContainerCreate, host: HostConfig, version: APIVersion, warnings: list[str]) -> ContainerCreate:
    """A container's address is one of its first network. Older clients know it as nothing else."""
    mac = body.mac_address
    if not mac:
        return body
    if version >= (1, 44):
        warnings.append(_MAC_WARNING)
    if _shares_network(host):
        # The engine says what Docker says: older clients are refused.
        return msgspec.structs.replace(body, mac_address="") if version >= (1, 44) else body
    name, settings = _main_endpoint(body, host, version)
    if version >= (1, 44) and settings.mac_address not in ("", mac):
        raise InvalidParameterError(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
            "or be left empty"
        )
    return _with_endpoint(body, name, msgspec.structs.replace(settings, mac_address=mac))


def _interface_sysctls(
    body: ContainerCreate, host: HostConfig, version: APIVersion, warnings: list[str]
) -> ContainerCreate:
    """``net.….eth0.…`` of the container are settings of its first network, whatever that is called in it."""
    found = {key: value for key, value in host.sysctls.items() if _interface(key).startswith("eth")}
    if not found or _shares_network(host):
        return body
    first = next(iter(found))
    if version >= (1, 48):
        raise InvalidParameterError(
            f"interface specific sysctl setting \"{first}\" must be supplied using driver option '{_ENDPOINT_SYSCTLS}'"
        )
    for key in found:
        if _interface(key) != "eth0":
            raise InvalidParameterError(
                f"unable to determine network endpoint for sysctl {key}, use driver option '{_ENDPOINT_SYSCTLS}' "
                "to set per-interface sysctls"
            )
    name, settings = _main_endpoint(body, host, version)
    moved = ",".join(f"{key.replace('.eth0.', '.IFNAME.', 1)}={value}" for key, value in found.items())
    warnings.append(f'Migrated sysctl "{",".join(found)}" to DriverOpts{{"{_ENDPOINT_SYSCTLS}":"{moved}"}}.')
    options = settings.driver_opts or {}
    own = options.get(_ENDPOINT_SYSCTLS)
    options = {**options, _ENDPOINT_SYSCTLS: f"{moved},{own}" if own else moved}
    rest = {key: value for key, value in host.sysctls.items() if key not in found}
    changed = _with_endpoint(body, name, msgspec.structs.replace(settings, driver_opts=options))
    return msgspec.structs.replace(changed, host_config=msgspec.structs.replace(host, sysctls=rest))


def _interface(sysctl: str) -> str:
    parts = sysctl.split(".", 4)
    return parts[3] if len(parts) == 5 and parts[0] == "net" else ""


def _shares_network(host: HostConfig) -> bool:
    return host.network_mode in _NO_MAC or host.network_mode.startswith("container:")


def _main_endpoint(body: ContainerCreate, host: HostConfig, version: APIVersion) -> tuple[str, EndpointSettings]:
    """The network that settings of the whole container are meant for.

    Raises InvalidParameterError: there are settings of other networks only.
    """
    main = _BRIDGE if host.network_mode == "default" else host.network_mode
    given = body.networking_config.endpoints_config if body.networking_config else {}
    if given and version < (1, 44):
        return next(iter(given.items()))
    if given and main not in given:
        raise InvalidParameterError(
            "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
        )
    return main, given.get(main, EndpointSettings())


def _with_endpoint(body: ContainerCreate, name: str, settings: EndpointSettings) -> ContainerCreate:
    given = body.networking_config.endpoints_config if body.networking_config else {}
    return _with_endpoints(body, {**given, name: settings})


def _with_endpoints(body: ContainerCreate, endpoints: dict[str, EndpointSettings]) -> ContainerCreate:
    if not endpoints:
        return body
    return msgspec.structs.replace(body, networking_config=NetworkingConfig(endpoints_config=endpoints))
