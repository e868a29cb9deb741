"""Build arguments that exist without an ARG, or whose values the build itself knows.

See: docs.docker.com/reference/dockerfile, Predefined ARGs, Automatic platform ARGs in the global scope.
"""

from typing import Final, Protocol

PREDEFINED: Final = frozenset(
    ("HTTP_PROXY http_proxy HTTPS_PROXY https_proxy FTP_PROXY ftp_proxy NO_PROXY no_proxy ALL_PROXY all_proxy").split()
)
"""Given with --build-arg, RUN steps see these without an ARG. They don't count for the cache and aren't in history
unless the Dockerfile declares them."""

PLATFORM: Final = tuple(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
)
"""Set in the global scope; a stage sees them after ``ARG NAME``."""

GLOBAL: Final = frozenset((*PLATFORM, "TARGETSTAGE"))

BUILDKIT: Final = frozenset(
    (
        "BUILDKIT_BUILD_NAME BUILDKIT_CACHE_MOUNT_NS BUILDKIT_CONTEXT_KEEP_GIT_DIR BUILDKIT_DOCKERFILE_CHECK "
        "BUILDKIT_INLINE_CACHE BUILDKIT_MULTI_PLATFORM BUILDKIT_SANDBOX_HOSTNAME BUILDKIT_SYNTAX SOURCE_DATE_EPOCH"
    ).split()
)
"""Arguments that speak to the builder."""


class _Platform(Protocol):
    @property
    def os(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def os_version(self) -> str: ...


def platform_arguments(build: _Platform, target: _Platform, stage: str = "") -> dict[str, str]:
    """The automatic arguments for building on ``build`` for ``target``; ``stage`` is the --target, if any."""
    found: dict[str, str] = {}
    for side, platform in (("BUILD", build), ("TARGET", target)):
        found[f"{side}PLATFORM"] = str(platform)
        found[f"{side}OS"] = platform.os
        found[f"{side}OSVERSION"] = platform.os_version
        found[f"{side}ARCH"] = platform.architecture
        found[f"{side}VARIANT"] = platform.variant
    return {**found, "TARGETSTAGE": stage or "default"}


def is_known(name: str) -> bool:
    """Whether a --build-arg of this name needs no ARG to be of use."""
    return name in PREDEFINED or name in BUILDKIT or name in GLOBAL
