"""What daemon.json and the command line say about containers that ask for nothing else; Docker's names."""

import json
from collections.abc import Mapping
from typing import Any, Final

from rundlet.api.container_config import Ulimit
from rundlet.daemon import sizes
from rundlet.daemon.errors import ConfigError, FlagError
from rundlet.engine.containers.defaults import BUILTIN_SECCOMP, ContainerDefaults
from rundlet.engine.containers.security import Security
from rundlet.runtime.spec import DEFAULT_SHM

FLAGS: Final[dict[str, tuple[str, str]]] = {
    "cgroup-parent": ("cgroup-parent", "str"),
    "default-cgroupns-mode": ("default-cgroupns-mode", "str"),
    "default-ipc-mode": ("default-ipc-mode", "str"),
    "default-shm-size": ("default-shm-size", "str"),
    "default-ulimit": ("default-ulimits", "ulimit"),
    "init": ("init", "bool"),
    "no-new-privileges": ("no-new-privileges", "bool"),
    "seccomp-profile": ("seccomp-profile", "str"),
}
"""flag → (key in daemon.json, kind), as in ``flags``."""

KEYS: Final[dict[str, type]] = {
    "cgroup-parent": str,
    "default-cgroupns-mode": str,
    "default-ipc-mode": str,
    "default-shm-size": object,
    "default-ulimits": dict,
    "init": bool,
    "no-new-privileges": bool,
    "seccomp-profile": str,
}

_ULIMITS: Final = frozenset(
    ("as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack").split()
)
_UNCONFINED: Final = "unconfined"


def containers(values: Mapping[str, Any]) -> ContainerDefaults:
    """Reads the seccomp profile. Raises ConfigError, SizeError."""
    name = values.get("seccomp-profile", "") or BUILTIN_SECCOMP
    return ContainerDefaults(
        shm_size=sizes.parse("default-shm-size", _number(values.get("default-shm-size", DEFAULT_SHM))) or DEFAULT_SHM,
        ipc_mode=_ipc_mode(values.get("default-ipc-mode", "")) or "private",
        cgroupns_mode=_one_of(values, "default-cgroupns-mode", ("private", "host")),
        cgroup_parent=_cgroup(values.get("cgroup-parent", "")),
        ulimits=tuple(_ulimit(name, value) for name, value in sorted(values.get("default-ulimits", {}).items())),
        init=bool(values.get("init", False)),
        security=Security(
            no_new_privileges=bool(values.get("no-new-privileges", False)),
            seccomp_off=name == _UNCONFINED,
            seccomp_profile=None if name in (BUILTIN_SECCOMP, _UNCONFINED) else _profile(name),
        ),
        seccomp_name=name,
    )


def ulimit(text: str) -> tuple[str, dict[str, Any]]:
    """``--default-ulimit nofile=1024:2048`` as daemon.json has it. Raises FlagError."""
    name, _, limits = text.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        return name, {"Name": name, "Soft": int(soft), "Hard": int(hard if colon else soft)}
    except ValueError:
        raise FlagError(f'invalid argument "{text}" for "--default-ulimit" flag: want NAME=SOFT[:HARD]') from None


def _number(value: object) -> object:
    """A flag's text may be digits alone."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _one_of(values: Mapping[str, Any], key: str, words: tuple[str, ...]) -> str:
    chosen: str = values.get(key, "")
    if chosen and chosen not in words:
        raise ConfigError(f"{key}: {chosen}: want {' or '.join(words)}")
    return chosen


def _ipc_mode(chosen: str) -> str:
    if chosen not in ("", "private", "shareable"):
        raise ConfigError(f"default IPC mode setting {chosen} is not supported: want private or shareable")
    return chosen


def _cgroup(path: str) -> str:
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise ConfigError(f"invalid cgroup parent: {path}")
    return path


def _ulimit(key: str, value: object) -> Ulimit:
    known = {"Name", "Soft", "Hard"}
    if isinstance(value, dict) and set(value) <= known and value.get("Name", key) == key and key in _ULIMITS:
        soft, hard = value.get("Soft", 0), value.get("Hard", value.get("Soft", 0))
        if type(soft) is int and type(hard) is int and (hard == -1 or 0 <= soft <= hard):
            return Ulimit(name=key, soft=soft, hard=hard)
    raise ConfigError(f'default-ulimits: {key}: want {{"Name": "nofile", "Soft": 1024, "Hard": 2048}}')


def _profile(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"opening seccomp profile ({path}) failed: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"decoding seccomp profile failed: {path}: it is not a JSON object")
    return found
