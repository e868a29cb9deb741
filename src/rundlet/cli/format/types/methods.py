"""The methods of Docker's types that a template can call, and how those with a String method print."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rundlet.util.template.values import Struct

    Methods = dict[str, Callable[..., Any]]


def _of_container(mode: str) -> bool:
    return mode.startswith("container:")


def _named_container(mode: str) -> str:
    return mode.partition(":")[2] if _of_container(mode) else ""


def _is(*values: str) -> Callable[[str], bool]:
    return lambda mode: str(mode) in values


def _is_user_defined(mode: str) -> bool:
    return str(mode) not in ("", "default", "bridge", "host", "none") and not _of_container(mode)


def _network_name(mode: str) -> str:
    return "container" if _of_container(mode) else str(mode)


def _not_shared(mode: str) -> bool:
    return str(mode) != "host" and not _of_container(mode)


def _protocol(port: str) -> str:
    return port.partition("/")[2].lower() or "tcp" if port else ""


_HOST_OR_PRIVATE: Methods = {"IsHost": _is("host"), "IsPrivate": lambda mode: str(mode) != "host"}

METHODS: dict[str, Methods] = {
    "container.CgroupSpec": {"IsContainer": _of_container, "Container": _named_container},
    "container.CgroupnsMode": {"IsPrivate": _is("private"), "IsHost": _is("host"), "IsEmpty": _is("")},
    "container.IpcMode": {
        "Container": _named_container,
        "IsContainer": _of_container,
        "IsEmpty": _is(""),
        "IsHost": _is("host"),
        "IsNone": _is("none"),
        "IsPrivate": _is("private"),
        "IsShareable": _is("shareable"),
    },
    "container.Isolation": {"IsDefault": _is("", "default"), "IsHyperV": _is("hyperv"), "IsProcess": _is("process")},
    "container.NetworkMode": {
        "ConnectedContainer": _named_container,
        "IsBridge": _is("bridge"),
        "IsContainer": _of_container,
        "IsDefault": _is("default"),
        "IsHost": _is("host"),
        "IsNone": _is("none"),
        "IsPrivate": _not_shared,
        "IsUserDefined": _is_user_defined,
        "NetworkName": _network_name,
        "UserDefined": lambda mode: str(mode) if _is_user_defined(mode) else "",
    },
    "container.PidMode": {
        "Container": _named_container,
        "IsContainer": _of_container,
        "IsHost": _is("host"),
        "IsPrivate": _not_shared,
    },
    "container.RestartPolicy": {
        "IsAlways": lambda policy: str(policy.values["Name"]) == "always",
        "IsNone": lambda policy: str(policy.values["Name"]) in ("", "no"),
        "IsOnFailure": lambda policy: str(policy.values["Name"]) == "on-failure",
        "IsUnlessStopped": lambda policy: str(policy.values["Name"]) == "unless-stopped",
    },
    "container.UTSMode": _HOST_OR_PRIVATE,
    "container.UsernsMode": _HOST_OR_PRIVATE,
    "digest.Digest": {
        "Algorithm": lambda digest: digest.partition(":")[0],
        "Encoded": lambda digest: digest.partition(":")[2],
        "String": str,
    },
    "nat.Port": {
        "Int": lambda port: int(port.partition("/")[0].partition("-")[0] or 0),
        "Port": lambda port: port.partition("/")[0],
        "Proto": _protocol,
    },
}


def _ulimit(limit: Struct) -> str:
    return f"{limit.values['Name']}={limit.values['Soft']}:{limit.values['Hard']}"


def _device(second: str) -> Callable[[Struct], str]:
    return lambda device: f"{device.values['Path']}:{device.values[second]}"


TEXTS: dict[str, Callable[[Any], str]] = {
    "*blkiodev.ThrottleDevice": _device("Rate"),
    "*blkiodev.WeightDevice": _device("Weight"),
    "*registry.NetIPNet": str,
    "*units.Ulimit": _ulimit,
}
