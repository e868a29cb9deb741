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

HOSTNAME: Final = "BUILDKIT_SANDBOX_HOSTNAME"
"""What RUN's machine is called."""
CACHE_NAMESPACE: Final = "BUILDKIT_CACHE_MOUNT_NS"
"""Cache mounts of builds with another one are others."""
KEEP_GIT: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
"""Whether a repository that is the context keeps its ``.git``."""
MULTI_PLATFORM: Final = "BUILDKIT_MULTI_PLATFORM"

BUILDKIT: Final = frozenset((HOSTNAME, CACHE_NAMESPACE, KEEP_GIT, MULTI_PLATFORM)) | frozenset(
    "BUILDKIT_BUILD_NAME BUILDKIT_DOCKERFILE_CHECK BUILDKIT_INLINE_CACHE BUILDKIT_SYNTAX SOURCE_DATE_EPOCH".split()
)
"""Arguments that speak to the builder. A name is for the client that asks for it later; every image is a cache inline;
another frontend is fetched as little as for the directive ``syntax``."""


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
