"""What a CDI specification changes in a container: variables, device nodes, mounts, groups, hooks."""

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rundlet.engine.cdi.registry import CdiError
from rundlet.runtime import hostdevices
from rundlet.runtime.init.hooks import KINDS


class Edits(msgspec.Struct, frozen=True):
    """Everything that was asked for, together. OCI's words, but for ``groups``."""

    env: tuple[str, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    groups: tuple[int, ...] = ()
    hooks: tuple[tuple[str, dict[str, Any]], ...] = ()


def collect(parts: Sequence[Mapping[str, Any]]) -> Edits:
    """``containerEdits`` of several devices as one. Raises CdiError, DeviceError."""
    env: list[str] = []
    devices: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    groups: list[int] = []
    hooks: list[tuple[str, dict[str, Any]]] = []
    for part in parts:
        env += [str(entry) for entry in part.get("env") or ()]
        groups += [int(group) for group in part.get("additionalGids") or ()]
        mounts += [_mount(mount) for mount in part.get("mounts") or ()]
        hooks += [_hook(hook) for hook in part.get("hooks") or ()]
        for node in part.get("deviceNodes") or ():
            device = _device(node)
            devices.append(device)
            rules += hostdevices.rules([device], node.get("permissions") or "rwm")
    return Edits(tuple(env), tuple(devices), tuple(rules), tuple(mounts), tuple(dict.fromkeys(groups)), tuple(hooks))


def apply(edits: Edits, oci: dict[str, Any]) -> None:
    """Change the OCI configuration. Raises CdiError for hooks that could never be run."""
    for kind, hook in edits.hooks:
        if kind not in KINDS or not os.path.isabs(hook.get("path") or ""):
            raise CdiError(f"its specification has an invalid {kind} hook: {hook.get('path')!r}")
    process, linux = oci["process"], oci["linux"]
    names = {entry.partition("=")[0] for entry in edits.env}
    process["env"] = [entry for entry in process.get("env") or () if entry.partition("=")[0] not in names]
    process["env"] += edits.env
    oci.setdefault("mounts", []).extend(edits.mounts)
    taken = {device["path"] for device in edits.devices}
    linux["devices"] = [device for device in linux.get("devices") or () if device["path"] not in taken]
    linux["devices"] += edits.devices
    resources = linux.setdefault("resources", {})
    resources["devices"] = [*(resources.get("devices") or ()), *edits.rules]
    for kind, hook in edits.hooks:
        oci.setdefault("hooks", {}).setdefault(kind, []).append(hook)


def _device(node: Mapping[str, Any]) -> dict[str, Any]:
    path = node["path"]
    source = node.get("hostPath") or path
    device = {"path": path, "type": node.get("type"), "major": node.get("major"), "minor": node.get("minor")}
    if device["type"] is None or device["major"] is None or device["minor"] is None:
        device |= hostdevices.requested(source, path)[0]
    if device["type"] == "u":
        device["type"] = "c"
    try:
        device.setdefault("fileMode", stat.S_IMODE(os.stat(source).st_mode))
    except OSError:
        device.setdefault("fileMode", 0o660)
    for name in ("fileMode", "uid", "gid"):
        if node.get(name) is not None:
            device[name] = node[name]
    return device


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "destination": mount["containerPath"],
        "source": mount["hostPath"],
        "type": mount.get("type") or "bind",
        "options": list(mount.get("options") or ("bind",)),
    }


def _hook(hook: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return hook["hookName"], {name: hook[name] for name in ("path", "args", "env", "timeout") if hook.get(name)}
