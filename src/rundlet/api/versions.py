"""Versions of the Engine API: which are spoken, how they compare, how answers differ between them.

Backends always speak the newest version; ``requests`` says what older clients mean. An answer to an older client is
changed here, on plain dicts; the newest clients pay nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from rundlet.api.codec import to_builtins
from rundlet.api.container_config import ContainerConfig
from rundlet.errors import InvalidParameterError


class APIVersion(NamedTuple):
    """``1.41`` as ``(1, 41)``: compares as versions do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


MINIMUM: Final = APIVersion(1, 24)
MAXIMUM: Final = APIVersion(1, 51)
RELEASE: Final = "28.5.2"
"""Docker's, the last that speaks no newer version. Clients compare an engine's version with the oldest they can use."""
# What skopeo, buildah and podman ask for when they move an archive (`docker-daemon:`), as Debian 12 has them.
ARCHIVES_MINIMUM: Final = APIVersion(1, 22)

Document = dict[str, Any]
Adapt = Callable[[Document, APIVersion], None]


class VersionTooNewError(InvalidParameterError):
    reason = "client-too-new"

    def __init__(self, version: str) -> None:
        super().__init__(f"client version {version} is too new. Maximum supported API version is {MAXIMUM}")


class VersionTooOldError(InvalidParameterError):
    reason = "client-too-old"

    def __init__(self, version: str) -> None:
        super().__init__(
            f"client version {version} is too old. Minimum supported API version is {MINIMUM}, "
            "please upgrade your client to a newer version"
        )


def parse(text: str, oldest: APIVersion = MINIMUM) -> APIVersion:
    """``1.41`` to a version that is spoken; empty is the newest. Raises VersionTooNewError, VersionTooOldError."""
    if not text:
        return MAXIMUM
    version = _number(text)
    if version > MAXIMUM:
        raise VersionTooNewError(text)
    if version < oldest:
        raise VersionTooOldError(text)
    return version


def reads_errors_as_text(text: str) -> bool:
    """Whether clients of version ``text`` (empty for the newest) show an error's body as it is, JSON or not."""
    return bool(text) and _number(text) < MINIMUM


def _number(text: str) -> APIVersion:
    # A number may have any length, and Python refuses to read very long ones: their beginning is too large, too.
    parts = [int(part.lstrip("0")[:9] or 0) for part in text.split(".")]
    return APIVersion(parts[0], parts[1] if len(parts) > 1 else 0)


def adapted(value: object, version: APIVersion, adapt: Adapt, since: APIVersion) -> object:
    """``value`` itself for clients of ``since`` or newer, else a plain copy changed by ``adapt``."""
    if version >= since:
        return value
    plain = to_builtins(value)
    for item in plain if isinstance(plain, list | tuple) else (plain,):
        adapt(item, version)
    return plain


# --- answers ---------------------------------------------------------------------------------------------------------

CONTAINER_SINCE: Final = APIVersion(1, 48)
IMAGE_SINCE: Final = APIVersion(1, 50)
IMAGE_SUMMARY_SINCE: Final = APIVersion(1, 51)
INFO_SINCE: Final = APIVersion(1, 50)
DISK_USAGE_SINCE: Final = APIVersion(1, 48)

_PREDEFINED: Final = frozenset({"bridge", "host", "none", "default"})
_NO_CONFIG: Final[Document] = to_builtins(ContainerConfig())


def container_inspect(document: Document, version: APIVersion) -> None:
    """Change an inspected container as older daemons showed it."""
    _drop_since(document, version, {"ImageManifestDescriptor": (1, 48)})
    for name, endpoint in document["NetworkSettings"]["Networks"].items():
        _endpoint(endpoint, version)
        if version < (1, 45) and name not in _PREDEFINED:
            _add_names_to_aliases(endpoint, document["Id"][:12], document["Config"]["Hostname"])
    _drop_since(document["HostConfig"], version, {"Annotations": (1, 43), "CgroupnsMode": (1, 40)})
    if version < (1, 42):
        document["HostConfig"].setdefault("KernelMemory", 0)
        document["HostConfig"].setdefault("KernelMemoryTCP", 0)


def container_summary(document: Document, version: APIVersion) -> None:
    """Change a listed container as older daemons showed it."""
    _drop_since(document, version, {"ImageManifestDescriptor": (1, 48)})
    _drop_since(document["HostConfig"], version, {"Annotations": (1, 46)})
    for endpoint in document["NetworkSettings"]["Networks"].values():
        _endpoint(endpoint, version)


def image_inspect(document: Document, version: APIVersion) -> None:
    """Change an inspected image: before 1.50 its Config is a container's, before 1.45 ContainerConfig is there."""
    _drop_since(document, version, {"Descriptor": (1, 48), "Manifests": (1, 48)})
    if document["Config"] is not None:
        document["Config"] = {**_NO_CONFIG, **document["Config"]}
    if version < (1, 45):
        document["Container"] = ""
        # Compose takes the volumes that an image declares from here, and would lose what is in them.
        document["ContainerConfig"] = {**_NO_CONFIG, **(document["Config"] or {})}
    if version < (1, 44):
        document["VirtualSize"] = document["Size"]
        document.setdefault("Created", "0001-01-01T00:00:00Z")


def image_summary(document: Document, version: APIVersion) -> None:
    """Change a listed image as older daemons showed it."""
    _used_image(document, version)
    document["Containers"] = -1
    if version < (1, 43) and not document["RepoTags"] and not document["RepoDigests"]:
        document["RepoTags"], document["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]


def info(document: Document, version: APIVersion) -> None:
    """Change the engine's information as older daemons showed it."""
    # As Docker 28, which doesn't depend on the bridge-nf hooks either, though older CLIs warn of it.
    document["BridgeNfIptables"] = document["BridgeNfIp6tables"] = False
    _drop_since(document, version, {"DiscoveredDevices": (1, 50), "FirewallBackend": (1, 49), "CDISpecDirs": (1, 44)})
    if version < (1, 47) and document["RegistryConfig"] is not None:
        document["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = None
        document["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = None
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        document[name]["Expected"] = document[name]["ID"]
    if version < (1, 42):
        document["KernelMemory"] = document["KernelMemoryTCP"] = False
    if version < (1, 41):
        _drop(document, "CgroupVersion", "DefaultAddressPools")
    if version < (1, 25):
        document["SecurityOptions"] = [_option_name(option) for option in document["SecurityOptions"]]


def disk_usage(document: Document, version: APIVersion) -> None:
    """Change the disk usage as older daemons showed it."""
    for item in document["Images"] or ():
        _used_image(item, version)
    for item in document["Containers"] or ():
        container_summary(item, version)
    if version < (1, 42):
        cache = document["BuildCache"] or ()
        document["BuilderSize"] = sum(item["Size"] for item in cache)
        for item in cache:
            if parents := item.pop("Parents", ()):
                item["Parent"] = parents[0]


def _used_image(document: Document, version: APIVersion) -> None:
    _drop_since(document, version, {"Descriptor": (1, 48), "Manifests": (1, 47)})
    if version < (1, 44):
        document["VirtualSize"] = document["Size"]


def _option_name(option: str) -> str:
    """``seccomp`` of ``name=seccomp,profile=builtin``."""
    return option.partition(",")[0].removeprefix("name=")


def _endpoint(endpoint: Document, version: APIVersion) -> None:
    _drop_since(endpoint, version, {"GwPriority": (1, 48), "DNSNames": (1, 44)})


def _add_names_to_aliases(endpoint: Document, *names: str) -> None:
    """Until 1.44 the short ID and the hostname were among the aliases; since then they are DNS names only."""
    endpoint["Aliases"] = list(dict.fromkeys([*(endpoint["Aliases"] or ()), *filter(None, names)]))


def _drop_since(document: Document, version: APIVersion, since: Mapping[str, tuple[int, int]]) -> None:
    for key, first in since.items():
        if version < first:
            document.pop(key, None)


def _drop(document: Document, *keys: str) -> None:
    for key in keys:
        document.pop(key, None)
