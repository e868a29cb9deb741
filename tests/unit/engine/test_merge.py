"""The request over the image's defaults."""

import pytest

from rundlet.api.containers import ContainerCreate
from rundlet.engine.merge import NoCommandError, argv, merge
from rundlet.oci.config import ContainerConfig, Healthcheck

IMAGE = ContainerConfig(
    env=["PATH=/bin", "A=image"],
    cmd=["serve"],
    entrypoint=["/entry"],
    working_dir="/srv",
    labels={"a": "image", "b": "image"},
    exposed_ports={"80/tcp": {}},
    healthcheck=Healthcheck(test=["CMD", "x"], interval=5),
)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, ["/entry", "serve"]),
        (None, ("x",), ["/entry", "x"]),
        (("/other",), None, ["/other"]),
        (("/other",), ("x",), ["/other", "x"]),
        (("",), ("x",), ["x"]),
    ],
)
def test_command(entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, expected: list[str]) -> None:
    assert argv(merge(ContainerCreate(entrypoint=entrypoint, cmd=cmd), IMAGE)) == expected


def test_no_command() -> None:
    with pytest.raises(NoCommandError, match="no command specified"):
        merge(ContainerCreate(), None)
    with pytest.raises(NoCommandError):
        merge(ContainerCreate(entrypoint=("",)), ContainerConfig())


def test_environment_labels_ports() -> None:
    merged = merge(
        ContainerCreate(env=("A=mine", "PATH", "B=2"), labels={"a": "mine"}, exposed_ports={"81/udp": None}), IMAGE
    )
    assert merged.env == ("A=mine", "PATH", "B=2")  # as a word of its own: no PATH in the container
    assert merged.labels == {"a": "mine", "b": "image"}
    assert set(merged.exposed_ports) == {"80/tcp", "81/udp"}
    assert merged.working_dir == "/srv"


def test_health_is_inherited_field_by_field() -> None:
    from rundlet.api.container_config import HealthConfig

    merged = merge(ContainerCreate(healthcheck=HealthConfig(interval=9_000_000)), IMAGE)
    assert merged.healthcheck is not None
    assert (merged.healthcheck.test, merged.healthcheck.interval) == (("CMD", "x"), 9_000_000)
