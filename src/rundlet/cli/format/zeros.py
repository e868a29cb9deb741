"""Fields that Docker's command line knows although the API leaves them out when they are empty.

Templates of ``inspect`` run over its types there: ``{{if .State.Health}}`` holds for every container, healthy or not.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECTION = {
    "ArgsEscaped": False,
    "ExposedPorts": None,
    "Healthcheck": None,
    "Shell": None,
    "StopSignal": "",
}
IMAGE: dict[str, dict[str, Any]] = {
    "": {
        "Container": "",
        "ContainerConfig": None,
        "Created": "",
        "Descriptor": None,
        "Manifests": None,
        "OsVersion": "",
        "Variant": "",
        "VirtualSize": 0,
    },
    "Config": _SECTION,
}
CONTAINER: dict[str, dict[str, Any]] = {
    "": {"ImageManifestDescriptor": None, "SizeRootFs": None, "SizeRw": None},
    "Config": {**_SECTION, "MacAddress": "", "NetworkDisabled": False, "StopTimeout": None},
    "HostConfig": {
        "Annotations": None,
        "Init": None,
        "Mounts": None,
        "StorageOpt": None,
        "Sysctls": None,
        "Tmpfs": None,
    },
    "State": {"Health": None},
}


class _Whole(dict[str, "Any"]):
    """A document that also answers for what it leaves out; it does not list that."""

    def __init__(self, value: dict[str, Any], zeros: dict[str, Any]) -> None:
        super().__init__(value)
        self._zeros = zeros

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else self._zeros.get(key, default)


def completed(value: Any) -> Any:
    """``value`` with what is left out, if it is an image's or a container's document; another object, not changed."""
    if not isinstance(value, dict):
        return value
    if "RootFS" in value:
        sections = IMAGE
    elif "HostConfig" in value and "State" in value:
        sections = CONTAINER
    else:
        return value
    whole = _Whole(value, sections[""])
    for name, zeros in sections.items():
        if isinstance(value.get(name), dict):
            whole[name] = _Whole(value[name], zeros)
    return whole
