"""Names to endpoints."""

import pytest

from rundlet.registry.hosts import Endpoint, HostsConfig, InvalidMirrorError, is_loopback


def test_docker_hub_and_its_mirrors() -> None:
    hosts = HostsConfig(mirrors=("https://mirror.example/hub/", "http://plain.example"))
    mirror, plain, own = hosts.for_pull("docker.io")
    assert mirror == Endpoint("mirror.example", ("https",), prefix="/hub", mirror=True)
    assert plain == Endpoint("plain.example", ("http",), mirror=True)
    assert own == Endpoint("registry-1.docker.io")
    assert hosts.own("docker.io") == own
    assert hosts.for_pull("quay.io") == (Endpoint("quay.io"),)


def test_mirrors_of_any_registry() -> None:
    hosts = HostsConfig(registry_mirrors={"quay.io": ("https://m:5000",), "docker.io": ("https://n",)})
    assert [e.host for e in hosts.for_pull("quay.io")] == ["m:5000", "quay.io"]
    assert [e.host for e in hosts.for_pull("docker.io")] == ["n", "registry-1.docker.io"]


@pytest.mark.parametrize("url", ["mirror", "ftp://x", "https://u:p@x", "https://x?y=1", "https://"])
def test_mirrors_that_are_none(url: str) -> None:
    with pytest.raises(InvalidMirrorError):
        HostsConfig(mirrors=(url,)).check()


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_loopback_is_tried_plain_first(host: str) -> None:
    assert is_loopback(host)
    assert HostsConfig().own(host) == Endpoint(host, ("http", "https"), verify=False)


@pytest.mark.parametrize(
    ("entry", "host", "insecure"),
    [
        ("10.0.0.0/8", "10.1.1.1:5000", True),
        ("10.0.0.0/8", "11.1.1.1:5000", False),
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example:5000", "reg.example", False),
        ("reg.example", "reg.example:5000", True),
        ("http://reg.example", "reg.example", True),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("nonsense/99", "reg.example", False),
    ],
)
def test_insecure_registries(entry: str, host: str, insecure: bool) -> None:
    schemes = ("https", "http") if insecure else ("https",)
    assert HostsConfig(insecure=(entry,)).own(host) == Endpoint(host, schemes, verify=not insecure)
