"""Further contexts by name (``--build-context``): what takes the place of a stage or image of that name.

A value is ``docker-image://REFERENCE``, ``input:NAME`` for a directory that the client has sent, or the URL of a file
or a git repository. A name may be for one platform only: ``NAME::PLATFORM``.
"""

from collections.abc import Mapping
from typing import Final

from rundlet.builder.downloads import git_source, is_http
from rundlet.oci.platform import Platform
from rundlet.oci.reference import InvalidReferenceError, Reference

INPUT: Final = "input:"
IMAGE: Final = "docker-image://"
_PLATFORM: Final = "::"


def named(contexts: Mapping[str, str], name: str) -> str | None:
    """What ``name`` is to mean; None where it means what it says. An image's name has many spellings, all of them
    count: ``alpine``, ``alpine:latest``, ``docker.io/library/alpine``."""
    if not contexts:
        return None
    for spelling in (name, name.lower(), _familiar(name)):
        if spelling in contexts:
            return contexts[spelling]
    return None


def _familiar(name: str) -> str:
    try:
        return Reference.parse(name).familiar.removesuffix(":latest")
    except InvalidReferenceError:
        return name


def is_remote(value: str) -> bool:
    """Whether it has to be fetched."""
    return git_source(value) is not None or is_http(value)


def is_directory(value: str) -> bool:
    """Whether it is files rather than an image."""
    return value.startswith(INPUT) or is_remote(value)


def of_platform(contexts: Mapping[str, str], platform: Platform) -> dict[str, str]:
    """Those that count in a build for ``platform``: one for it goes before one for all."""
    found = {name: value for name, value in contexts.items() if _PLATFORM not in name}
    for name, value in contexts.items():
        base, mark, text = name.partition(_PLATFORM)
        if mark and Platform.parse(text).normalized().matches(platform):
            found[base] = value
    return found
