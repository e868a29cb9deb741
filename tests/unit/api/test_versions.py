"""Which versions are spoken, and what older clients are shown."""

from typing import Any

import pytest

from rundlet.api import codec, versions
from rundlet.api.container_config import ContainerConfig, EndpointSettings, HostConfig
from rundlet.api.containers import ContainerInspect, ContainerSummary, NetworkSettings
from rundlet.api.descriptor import Descriptor
from rundlet.api.images import ImageConfig, ImageInspect, ImageSummary
from rundlet.api.system import DiskUsage, Info, RegistryConfig
from rundlet.api.versions import APIVersion

V = APIVersion


def test_parse() -> None:
    assert versions.parse("") == versions.MAXIMUM
    assert versions.parse("1.24") == (1, 24)
    assert versions.parse("1.51") == (1, 51)
    assert V(1, 9) < V(1, 24)
    assert str(V(1, 41)) == "1.41"


@pytest.mark.parametrize("text", ["1.52", "1.99", "2", "2.0", f"1.{'9' * 5000}"])
def test_too_new(text: str) -> None:
    with pytest.raises(versions.VersionTooNewError) as caught:
        versions.parse(text)
    assert str(caught.value) == f"client version {text} is too new. Maximum supported API version is 1.51"


@pytest.mark.parametrize("text", ["1.10", "1", "0.9", "1.23", "01.00000000000023", f"0{'0' * 5000}.9"])
def test_too_old(text: str) -> None:
    with pytest.raises(versions.VersionTooOldError) as caught:
        versions.parse(text)
    assert str(caught.value) == (
        f"client version {text} is too old. Minimum supported API version is 1.24, "
        "please upgrade your client to a newer version"
    )


def test_archives_are_for_older_clients_too() -> None:
    assert versions.parse("1.22", versions.ARCHIVES_MINIMUM) == V(1, 22)
    with pytest.raises(versions.VersionTooOldError):
        versions.parse("1.21", versions.ARCHIVES_MINIMUM)


def test_the_newest_client_gets_the_struct_itself() -> None:
    image = ImageInspect()
    assert versions.adapted(image, V(1, 51), versions.image_inspect, versions.IMAGE_SINCE) is image


def adapted(value: object, version: APIVersion, adapt: versions.Adapt) -> dict[str, Any]:
    found = codec.to_builtins(value)
    adapt(found, version)
    return dict(found)


def test_an_image_for_older_clients() -> None:
    image = ImageInspect(config=ImageConfig(cmd=("sh",)), size=5, descriptor=Descriptor())
    newest = codec.to_builtins(image)
    assert "VirtualSize" not in newest
    assert newest["Config"] == {
        "Cmd": ("sh",),
        "Entrypoint": None,
        "Env": None,
        "Labels": None,
        "OnBuild": None,
        "User": "",
        "Volumes": None,
        "WorkingDir": "",
    }
    v49 = adapted(image, V(1, 49), versions.image_inspect)
    assert v49["Config"]["Hostname"] == ""
    assert v49["Config"]["Cmd"] == ("sh",)
    assert "ContainerConfig" not in v49
    assert "Descriptor" in v49
    v44 = adapted(image, V(1, 44), versions.image_inspect)
    assert "Descriptor" not in v44
    assert v44["ContainerConfig"]["Image"] == ""
    assert "VirtualSize" not in v44
    v41 = adapted(image, V(1, 41), versions.image_inspect)
    assert v41["VirtualSize"] == 5
    assert v41["Created"] == "0001-01-01T00:00:00Z"


def test_an_image_in_a_list_for_older_clients() -> None:
    found = versions.adapted([ImageSummary(size=7)], V(1, 43), versions.image_summary, versions.IMAGE_SUMMARY_SINCE)
    assert isinstance(found, list)
    assert found[0]["VirtualSize"] == 7


def test_a_container_for_older_clients() -> None:
    endpoint = EndpointSettings(network_id="n", aliases=("web",), dns_names=("web", "c1"))
    container = ContainerInspect(
        id="c" * 64,
        config=ContainerConfig(hostname="own"),
        network_settings=NetworkSettings(networks={"net": endpoint, "none": EndpointSettings()}),
        host_config=HostConfig(annotations={"a": "b"}),
    )
    v44 = adapted(container, V(1, 44), versions.container_inspect)
    network = v44["NetworkSettings"]["Networks"]["net"]
    assert network["Aliases"] == ["web", "c" * 12, "own"]
    assert v44["NetworkSettings"]["Networks"]["none"]["Aliases"] is None
    assert "DNSNames" in network
    assert "GwPriority" not in network
    v41 = adapted(container, V(1, 41), versions.container_inspect)
    assert "DNSNames" not in v41["NetworkSettings"]["Networks"]["net"]
    assert v41["HostConfig"]["KernelMemory"] == 0
    assert "Annotations" not in v41["HostConfig"]


def test_info_networks_and_disk_use_for_older_clients() -> None:
    info = adapted(Info(registry_config=RegistryConfig(), cgroup_version="1"), V(1, 40), versions.info)
    assert info["RuncCommit"] == {"ID": "", "Expected": ""}
    assert "CgroupVersion" not in info
    assert info["KernelMemory"] is False
    assert info["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] is None
    options = Info(security_options=("name=seccomp,profile=builtin", "name=cgroupns"))
    assert adapted(options, V(1, 24), versions.info)["SecurityOptions"] == ["seccomp", "cgroupns"]
    assert adapted(options, V(1, 25), versions.info)["SecurityOptions"] == options.security_options
    assert "DiscoveredDevices" not in adapted(Info(), V(1, 51), versions.info)
    at47 = adapted(Info(registry_config=RegistryConfig()), V(1, 47), versions.info)
    assert "AllowNondistributableArtifactsCIDRs" not in at47["RegistryConfig"]
    usage = adapted(
        DiskUsage(images=(ImageSummary(size=3, containers=2),), containers=(ContainerSummary(),)),
        V(1, 41),
        versions.disk_usage,
    )
    assert usage["BuilderSize"] == 0
    assert usage["Images"][0]["VirtualSize"] == 3
    assert usage["Images"][0]["Containers"] == 2


def test_an_image_in_an_old_list() -> None:
    """The number of its containers is there since 1.51, and since 1.43 what has no name has none."""
    image = ImageSummary(containers=2)
    assert adapted(image, V(1, 50), versions.image_summary)["Containers"] == -1
    assert adapted(image, V(1, 43), versions.image_summary)["RepoTags"] == ()
    oldest = adapted(image, V(1, 42), versions.image_summary)
    assert (oldest["RepoTags"], oldest["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])
    named = adapted(ImageSummary(repo_tags=("a:b",)), V(1, 42), versions.image_summary)
    assert (named["RepoTags"], named["RepoDigests"]) == (("a:b",), ())
