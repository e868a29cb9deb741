"""What older clients mean by their requests, and what they are refused."""

import pytest

from rundlet.api import requests, versions
from rundlet.api.container_config import (
    BindOptions,
    DriverConfig,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    Mount,
    NetworkingConfig,
    TmpfsOptions,
    VolumeOptions,
)
from rundlet.api.containers import ContainerCreate, ContainerUpdate
from rundlet.api.exec import ExecCreate, ExecStart
from rundlet.api.networks import NetworkConnect
from rundlet.api.versions import APIVersion
from rundlet.errors import InvalidParameterError

V = APIVersion
MAC = "02:42:ac:11:00:99"


def create(
    version: APIVersion,
    host: HostConfig | None = None,
    *,
    networks: dict[str, EndpointSettings] | None = None,
    mac: str = "",
) -> tuple[HostConfig, dict[str, EndpointSettings], tuple[str, ...]]:
    """The host's side, the networks' settings and the warnings that come of a request."""
    given = NetworkingConfig(endpoints_config=networks) if networks else None
    asked = ContainerCreate(mac_address=mac, host_config=host, networking_config=given)
    made, warnings = requests.container_create(asked, version)
    assert made.host_config is not None
    return made.host_config, made.networking_config.endpoints_config if made.networking_config else {}, warnings


def mounted(version: APIVersion, mount: Mount) -> Mount:
    [made] = create(version, HostConfig(mounts=(mount,)))[0].mounts
    return made


def test_the_newest_is_taken_as_it_comes() -> None:
    mounts = (
        Mount(type="bind", bind_options=BindOptions(non_recursive=True, read_only_force_recursive=True)),
        Mount(type="volume", volume_options=VolumeOptions(subpath="x")),
        Mount(type="tmpfs", tmpfs_options=TmpfsOptions(options=(("noexec",),))),
        Mount(type="image"),
    )
    host, networks, warnings = create(
        versions.MAXIMUM,
        HostConfig(mounts=mounts, auto_remove=True, console_size=(3, 4), annotations={"a": "b"}, pids_limit=-1),
        networks={"b": EndpointSettings(gw_priority=3, mac_address=MAC), "a": EndpointSettings()},
    )
    assert host.mounts == mounts
    assert (host.auto_remove, host.console_size, host.annotations) == (True, (3, 4), {"a": "b"})
    assert (host.pids_limit, host.network_mode) == (None, "default")
    assert networks["b"] == EndpointSettings(gw_priority=3, mac_address=MAC)
    assert warnings == ()


def test_what_is_younger_is_not_there() -> None:
    health = HealthConfig(start_interval=5)
    body = ContainerCreate(
        healthcheck=health,
        host_config=HostConfig(
            auto_remove=True, console_size=(3, 4), annotations={"a": "b"}, kernel_memory=5, kernel_memory_tcp=6
        ),
        networking_config=NetworkingConfig(endpoints_config={"a": EndpointSettings(gw_priority=3, mac_address=MAC)}),
    )
    made, warnings = requests.container_create(body, versions.MINIMUM)
    host, networks = made.host_config, made.networking_config
    assert host is not None
    assert networks is not None
    assert (host.auto_remove, host.console_size, host.annotations) == (False, (0, 0), {})
    assert (host.kernel_memory, host.kernel_memory_tcp, host.ipc_mode) == (5, 0, "shareable")
    assert networks.endpoints_config == {"a": EndpointSettings()}
    assert (made.healthcheck, warnings) == (HealthConfig(), ())
    middle, _ = requests.container_create(body, V(1, 44))
    assert middle.healthcheck == health
    assert middle.host_config is not None
    assert (middle.host_config.kernel_memory, middle.host_config.console_size) == (0, (3, 4))


def test_mounts_of_older_clients() -> None:
    bind = Mount(type="bind", bind_options=BindOptions(create_mountpoint=True, read_only_non_recursive=True))
    assert mounted(V(1, 43), bind).bind_options == BindOptions(create_mountpoint=True)
    assert mounted(V(1, 41), bind).bind_options == BindOptions()
    mixed = Mount(type="bind", volume_options=VolumeOptions(no_copy=True), tmpfs_options=TmpfsOptions(size_bytes=5))
    assert mounted(V(1, 41), mixed) == Mount(type="bind")
    tmpfs = Mount(type="tmpfs", tmpfs_options=TmpfsOptions(size_bytes=5, options=(("noexec",),)))
    assert mounted(V(1, 45), tmpfs).tmpfs_options == TmpfsOptions(size_bytes=5)


@pytest.mark.parametrize(
    ("version", "mount", "message"),
    [
        (
            V(1, 42),
            Mount(type="bind", volume_options=VolumeOptions()),
            'VolumeOptions must not be specified on mount type "bind"',
        ),
        (
            V(1, 42),
            Mount(type="volume", bind_options=BindOptions()),
            'BindOptions must not be specified on mount type "volume"',
        ),
        (
            V(1, 51),
            Mount(type="bind", tmpfs_options=TmpfsOptions()),
            'TmpfsOptions must not be specified on mount type "bind"',
        ),
        (
            V(1, 43),
            Mount(type="bind", bind_options=BindOptions(read_only_force_recursive=True)),
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            V(1, 44),
            Mount(type="volume", volume_options=VolumeOptions(subpath="a")),
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (V(1, 47), Mount(type="image"), 'Mount type "Image" needs API v1.48 or newer'),
    ],
)
def test_what_would_mean_something_else_is_refused(version: APIVersion, mount: Mount, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        mounted(version, mount)
    assert str(caught.value) == message


def test_more_than_one_network_needs_1_44() -> None:
    endpoints = {"b": EndpointSettings(), "a": EndpointSettings()}
    assert create(V(1, 44), networks=endpoints)[1] == endpoints
    with pytest.raises(InvalidParameterError, match=r"multiple network endpoints: a, b$"):
        create(V(1, 43), networks=endpoints)


def test_settings_of_the_default_network() -> None:
    given = EndpointSettings(driver_opts={"a": "b"})
    assert create(V(1, 51), networks={"default": given})[1] == {"bridge": given}
    assert create(V(1, 51), HostConfig(network_mode="net"), networks={"net": given})[1] == {"net": given}


def test_the_address_of_a_container() -> None:
    """Older clients set it for the whole container, newer ones for a network, and are warned when they don't."""
    assert create(V(1, 43), mac=MAC)[1:] == ({"bridge": EndpointSettings(mac_address=MAC)}, ())
    _, networks, [warning] = create(V(1, 44), HostConfig(network_mode="net"), mac=MAC)
    assert networks == {"net": EndpointSettings(mac_address=MAC)}
    assert warning.startswith("The container-wide MacAddress field is now deprecated")
    other = EndpointSettings(mac_address="02:42:ac:11:00:98")
    assert create(V(1, 43), networks={"x": other}, mac=MAC)[1] == {"x": EndpointSettings(mac_address=MAC)}
    with pytest.raises(InvalidParameterError, match="must match the endpoint-specific MAC address"):
        create(V(1, 44), networks={"bridge": other}, mac=MAC)
    with pytest.raises(InvalidParameterError, match=r"^HostConfig.NetworkMode must match the identity of a network"):
        create(V(1, 44), networks={"x": other}, mac=MAC)


def test_an_address_without_a_network() -> None:
    body = ContainerCreate(mac_address=MAC, host_config=HostConfig(network_mode="host"))
    assert requests.container_create(body, V(1, 43))[0].mac_address == MAC  # for the engine to refuse
    newer, warnings = requests.container_create(body, V(1, 44))
    assert (newer.mac_address, len(warnings)) == ("", 1)


def test_switches_of_an_interface() -> None:
    key = "com.docker.network.endpoint.sysctls"
    host = HostConfig(sysctls={"net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "9"})
    own = {"bridge": EndpointSettings(driver_opts={key: "net.ipv4.conf.IFNAME.mc_forwarding=0"})}
    made, networks, [warning] = create(V(1, 47), host, networks=own)
    moved = "net.ipv4.conf.IFNAME.forwarding=1"
    assert made.sysctls == {"net.core.somaxconn": "9"}
    assert networks["bridge"].driver_opts == {key: f"{moved},net.ipv4.conf.IFNAME.mc_forwarding=0"}
    assert warning == f'Migrated sysctl "net.ipv4.conf.eth0.forwarding" to DriverOpts{{"{key}":"{moved}"}}.'
    with pytest.raises(InvalidParameterError, match=r"must be supplied using driver option"):
        create(V(1, 48), host)
    with pytest.raises(InvalidParameterError, match=r"unable to determine network endpoint for sysctl"):
        create(V(1, 47), HostConfig(sysctls={"net.ipv4.conf.eth1.forwarding": "1"}))
    shared = HostConfig(network_mode="container:x", sysctls=host.sysctls)
    assert create(V(1, 51), shared)[0].sysctls == host.sysctls


def test_a_volume_driver_that_has_no_effect() -> None:
    volume = Mount(type="volume")
    named = Mount(type="volume", volume_options=VolumeOptions(driver_config=DriverConfig(name="local")))
    host = HostConfig(volume_driver="local", mounts=(volume,))
    assert "volume-driver configuration is ignored" in create(V(1, 48), host)[2][0]
    assert create(V(1, 47), host)[2] == ()
    assert create(V(1, 48), HostConfig(volume_driver="local", mounts=(named, Mount(type="tmpfs"))))[2] == ()
    assert create(V(1, 48), HostConfig(mounts=(volume,)))[2] == ()


def test_updates() -> None:
    body = ContainerUpdate(kernel_memory=5, pids_limit=3)
    newest, oldest = requests.container_update(body, V(1, 42)), requests.container_update(body, V(1, 39))
    assert (newest.kernel_memory, newest.pids_limit) == (0, 3)
    assert (oldest.kernel_memory, oldest.pids_limit) == (5, None)


def test_the_size_of_a_terminal() -> None:
    assert requests.exec_create(ExecCreate(console_size=(1, 2)), V(1, 42)).console_size == (1, 2)
    assert requests.exec_create(ExecCreate(console_size=(1, 2)), V(1, 41)).console_size is None
    assert requests.exec_start(ExecStart(console_size=(1, 2), tty=True), V(1, 42)).console_size == (1, 2)
    assert requests.exec_start(ExecStart(console_size=(1, 2), tty=True), V(1, 41)).console_size is None
    assert requests.exec_start(ExecStart(console_size=(1, 2)), V(1, 42)).console_size is None


def test_the_way_out() -> None:
    body = NetworkConnect(container="a", endpoint_config=EndpointSettings(gw_priority=5))
    assert requests.network_connect(body, V(1, 48)) == body
    assert requests.network_connect(body, V(1, 47)).endpoint_config == EndpointSettings()
    assert requests.network_connect(NetworkConnect(container="a"), V(1, 47)) == NetworkConnect(container="a")
