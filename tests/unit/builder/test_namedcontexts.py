"""Contexts that take the place of stages and images."""

import pytest

from rundlet.builder.namedcontexts import is_directory, named, of_platform
from rundlet.oci.platform import Platform

CONTEXTS = {"alpine": "docker-image://busybox", "base": "input:base", "example.org/x": "docker-image://y"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpine", "docker-image://busybox"),
        ("alpine:latest", "docker-image://busybox"),
        ("docker.io/library/alpine", "docker-image://busybox"),
        ("alpine:3", None),
        ("BASE", "input:base"),
        ("example.org/x:latest", "docker-image://y"),
        ("x", None),
    ],
)
def test_an_image_has_many_spellings(name: str, value: str | None) -> None:
    assert named(CONTEXTS, name) == value
    assert named({}, name) is None


def test_files_and_images() -> None:
    values = ("input:a", "https://host/f", "https://host/x.git#main", "docker-image://x")
    assert [is_directory(value) for value in values] == [True, True, True, False]


def test_one_for_a_platform_goes_first() -> None:
    contexts = {"a::linux/arm64": "docker-image://arm", "a": "docker-image://all", "b::linux/amd64": "docker-image://b"}
    assert of_platform(contexts, Platform.parse("linux/arm64")) == {"a": "docker-image://arm"}
    assert of_platform(contexts, Platform.parse("linux/amd64")) == {
        "a": "docker-image://all",
        "b": "docker-image://b",
    }
