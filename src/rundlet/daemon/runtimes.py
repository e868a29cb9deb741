"""The key ``runtimes`` of ``daemon.json``: other OCI runtimes by name.

    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": ["--debug"]},
                 "new": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/opt/runc"}}}

A path without a slash is looked for in ``$PATH``, as Docker does. Shims of containerd other than runc's are refused.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Any, Final

from rundlet.daemon.errors import ConfigError

Arguments = dict[str, tuple[str, ...]]
_RUNC_SHIM: Final = "io.containerd.runc.v2"
_FALLBACK_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def parse(document: Mapping[str, Any]) -> tuple[dict[str, str], Arguments]:
    """Paths, and what is put before a runtime's own arguments, by name. Raises ConfigError."""
    paths: dict[str, str] = {}
    arguments: Arguments = {}
    for name, settings in document.items():
        if not isinstance(settings, dict):
            raise _wrong(name)
        given = dict(settings)
        if "runtimeType" in given:
            given = _runc_shim(name, given)
        found = given.pop("path", "")
        # nvidia-ctk writes "args", which Docker does not look at.
        words = [*given.pop("args", []), *given.pop("runtimeArgs", [])]
        if given or not isinstance(found, str) or not found or not all(isinstance(word, str) for word in words):
            raise _wrong(name)
        paths[name] = found
        if words:
            arguments[name] = tuple(words)
    return paths, arguments


def located(path: str, environment: Mapping[str, str]) -> str:
    """Where a program is that is named without a directory; as it was given if it is nowhere."""
    if "/" in path:
        return os.path.abspath(path)
    return shutil.which(path, path=environment.get("PATH") or _FALLBACK_PATH) or path


def _runc_shim(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What Docker gives to containerd's shim, as a path."""
    kind, options = given.pop("runtimeType"), given.pop("options", {})
    if kind != _RUNC_SHIM or not isinstance(options, dict) or set(options) - {"BinaryName"}:
        raise ConfigError(
            f"runtimes: {name}: runtimeType {kind} is not supported by Rundlet: it has no containerd; want a path, or "
            f'{_RUNC_SHIM} with the option "BinaryName" alone'
        )
    return given | {"path": options.get("BinaryName", "runc")}


def _wrong(name: str) -> ConfigError:
    return ConfigError(f'runtimes: {name}: want {{"path": "…", "runtimeArgs": […]}}')
