"""Decoding as lenient as Docker's, encoding with Docker's omissions."""

import msgspec
import pytest

from rundlet.api import codec
from rundlet.api.base import MAX_LABELS
from rundlet.api.container_config import ContainerConfig, HostConfig, Mount
from rundlet.api.containers import ContainerCreate, ContainerInspect, Port
from rundlet.api.events import Event
from rundlet.api.exec import ExecStart
from rundlet.api.images import ImageConfig, ImageInspect
from rundlet.api.networks import NetworkConnect, NetworkCreate
from rundlet.api.volumes import VolumeCreate
from rundlet.errors import InvalidParameterError


def create(body: bytes) -> ContainerCreate:
    return codec.decode(body, ContainerCreate)


def test_unknown_keys_are_ignored() -> None:
    assert create(b'{"Image": "debian", "Future": {"a": 1}}').image == "debian"


def test_keys_are_taken_in_any_case() -> None:
    body = create(b'{"image": "debian", "hostconfig": {"networkmode": "none"}}')
    assert body.image == "debian"
    assert body.host_config is not None
    assert body.host_config.network_mode == "none"


def test_null_is_as_if_not_there() -> None:
    body = create(
        b'{"Image": "debian", "Hostname": null, "Tty": null, "HostConfig": {"Memory": null, "LogConfig": null}}'
    )
    assert body.hostname == ""
    assert body.host_config == HostConfig()


def test_null_in_a_set_keeps_the_key() -> None:
    body = create(b'{"ExposedPorts": {"80/tcp": null, "81/tcp": {}}, "Volumes": {"/data": null}}')
    assert list(body.exposed_ports) == ["80/tcp", "81/tcp"]
    assert list(body.volumes or ()) == ["/data"]


@pytest.mark.parametrize("kind", [ContainerCreate, NetworkCreate, VolumeCreate])
def test_labels_have_a_bound(kind: type[ContainerCreate]) -> None:
    """Many are copied and compared for long, while every other client waits."""
    most = {str(number): "" for number in range(MAX_LABELS)}
    assert codec.decode(codec.encode({"Labels": most}), kind)
    with pytest.raises(InvalidParameterError, match=r"length <= 65536 - at `\$.Labels`"):
        codec.decode(codec.encode({"Labels": most | {"one": "more"}}), kind)


def test_null_endpoint_is_an_empty_one() -> None:
    body = create(b'{"NetworkingConfig": {"EndpointsConfig": {"net": null}}}')
    assert body.networking_config is not None
    assert body.networking_config.endpoints_config["net"].network_id == ""


def test_null_port_bindings_stay_null() -> None:
    body = create(b'{"HostConfig": {"PortBindings": {"80/tcp": null, "81/tcp": [{"HostPort": "8081"}]}}}')
    assert body.host_config is not None
    bindings = body.host_config.port_bindings or {}
    assert bindings["80/tcp"] is None
    assert [b.host_port for b in bindings["81/tcp"] or ()] == ["8081"]


@pytest.mark.parametrize(
    ("given", "words"), [('"sh"', ("sh",)), ('["sh", "-c"]', ("sh", "-c")), ("[]", ()), ("null", None)]
)
def test_a_command_may_be_a_string(given: str, words: tuple[str, ...] | None) -> None:
    assert create(f'{{"Cmd": {given}}}'.encode()).cmd == words


def test_nested_lists_of_structs_are_normalised() -> None:
    body = create(b'{"HostConfig": {"Mounts": [{"type": "bind", "BindOptions": {"propagation": "rslave", "X": 1}}]}}')
    assert body.host_config is not None
    (mount,) = body.host_config.mounts
    assert mount.bind_options is not None
    assert (mount.type, mount.bind_options.propagation) == ("bind", "rslave")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"Image', "invalid JSON: unexpected EOF"),
        (b"{invalid json", "invalid JSON: invalid character 'i' looking for beginning of object key string"),
        (b'{"Image": "a",}', "invalid JSON: invalid character '}' looking for beginning of object key string"),
        (b'{"Image" "a"}', "invalid JSON: invalid character '\"' after object key"),
        (b'{"Image": nope}', "invalid JSON: invalid character 'n' looking for beginning of value"),
        (b'{"Cmd": ["a" "b"]}', "invalid JSON: invalid character '\"' after array element"),
        (b'{"Image": "[{" "b"}', "invalid JSON: invalid character '\"' after object key:value pair"),
        (b'{"Image": "a\tb"}', "invalid JSON: invalid character '\\t' in string literal"),
        (b"{} trailing content", "unexpected content after JSON"),
        (b'{"Image": 3}', "invalid JSON: Expected `str`, got `int` - at `$.Image`"),
        (b'{"HostConfig": {"Memory": "1g"}}', "invalid JSON: Expected `int`, got `str` - at `$.HostConfig.Memory`"),
        (b"[]", "invalid JSON: Expected `object`, got `array`"),
        (b'{"Image": "\xff"}', "invalid JSON: "),
    ],
)
def test_bad_json(body: bytes, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        create(body)
    assert str(caught.value).startswith(message)


def test_empty_optional_fields_are_left_out() -> None:
    assert codec.encode(Port(private_port=80)) == b'{"PrivatePort":80,"Type":"tcp"}'
    assert codec.encode(Mount(type="bind")) == b'{"Type":"bind"}'
    assert "StopSignal" not in codec.to_builtins(ImageConfig())


def test_always_there_fields_are_null_or_empty() -> None:
    config = codec.to_builtins(ContainerConfig())
    assert config["Env"] is None
    assert config["Cmd"] is None
    assert config["Labels"] is None
    assert config["Hostname"] == ""
    assert "ExposedPorts" not in config
    assert "StopTimeout" not in config
    inspected = codec.to_builtins(ContainerInspect())
    assert inspected["Mounts"] == ()
    assert inspected["ExecIDs"] is None
    assert inspected["State"]["OOMKilled"] is False
    assert inspected["HostConfig"]["ConsoleSize"] == (0, 0)
    assert "SizeRw" not in inspected


def test_names_that_are_not_simply_pascal_case() -> None:
    host = codec.to_builtins(HostConfig())
    for name in (
        "ContainerIDFile", "UTSMode", "BlkioDeviceReadIOps", "NanoCpus", "IOMaximumIOps", "ReadonlyRootfs", "Dns",
        "CgroupnsMode", "CpusetCpus", "OomKillDisable",
    ):  # fmt: skip
        assert name in host
    assert "RootFS" in codec.to_builtins(ImageInspect())
    event = codec.to_builtins(Event(from_="debian", time=1, time_nano=2, status="start"))
    assert event["from"] == "debian"
    assert event["timeNano"] == 2
    assert "Action" in event


def test_host_config_survives_a_round_trip() -> None:
    host = HostConfig(memory=5, binds=("/a:/b",), init=True, sysctls={"a": "b"}, mounts=(Mount(type="tmpfs"),))
    assert codec.decode(codec.encode(host), HostConfig) == host


def test_console_size_is_a_pair() -> None:
    assert codec.decode(b'{"ConsoleSize": [24, 80]}', ExecStart).console_size == (24, 80)
    with pytest.raises(InvalidParameterError):
        codec.decode(b'{"ConsoleSize": [24]}', ExecStart)


def test_every_published_field_of_create_is_known() -> None:
    """A field that is not known would be ignored silently; a known one can be refused by name."""
    known = {f.encode_name for f in msgspec.structs.fields(HostConfig)}
    published = """
        CpuShares Memory CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps
        BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus
        CpusetMems Devices DeviceCgroupRules DeviceRequests KernelMemory KernelMemoryTCP MemoryReservation MemorySwap
        MemorySwappiness NanoCpus OomKillDisable Init PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps
        IOMaximumBandwidth Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove
        VolumeDriver VolumesFrom Mounts ConsoleSize Annotations CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch
        ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs
        SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation MaskedPaths ReadonlyPaths
    """.split()
    ours = {"RestartUnhealthy", "Rootfs"}
    assert known == {*published, *ours}


def test_connect_without_endpoint() -> None:
    body = codec.decode(b'{"Container": "c", "EndpointConfig": null}', NetworkConnect)
    assert body.endpoint_config is None


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" + "0" * 5000])
def test_numbers_have_a_bound(number: str) -> None:
    """What is kept in a database, and told the kernel, has 64 bits."""
    with pytest.raises(InvalidParameterError, match="invalid JSON"):
        create(f'{{"HostConfig": {{"Memory": {number}}}}}'.encode())
    with pytest.raises(InvalidParameterError, match="invalid JSON"):
        create(f'{{"NetworkingConfig": {{"EndpointsConfig": {{"n": {{"GwPriority": {number}}}}}}}}}'.encode())


def test_numbers_up_to_the_bound_and_long_texts() -> None:
    found = create(b'{"Hostname": "99999999999999999999999", "HostConfig": {"Memory": 9223372036854775807}}')
    assert (found.hostname, found.host_config.memory) == ("9" * 23, 2**63 - 1)
