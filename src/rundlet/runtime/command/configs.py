"""A bundle's config.json: read, checked, and turned into what the shim's sandbox and init's plan take.

What the specification has and this runtime doesn't do is refused by name; what only other platforms have is left
alone. See: OCI runtime-spec, config.md and config-linux.md.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rundlet.linux import caps, lsm, usermap
from rundlet.runtime.command import late, netdevices, properties, resctrl, scopes
from rundlet.runtime.command.errors import CommandError, RefusedError
from rundlet.runtime.command.states import DEFAULT_PARENT
from rundlet.runtime.init import hooks, options

Config = dict[str, Any]

FILE: Final = "config.json"
NEWEST_SPEC: Final = "1.3.0"
"""The newest edition of the specification whose every word for Linux is carried out, or refused by name."""
_NAMESPACES: Final = frozenset({"mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time"})
# What every container may use, whatever else it is denied: as runc, whose users' configurations leave it out.
_DEVICES: Final = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    *(("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
    *(("c", 5, minor, "rwm") for minor in (0, 1, 2)),
    ("c", 136, None, "rwm"),
)
_HUGE: Final = {"pagesize": "pageSize"}
# The engine's own words, and this room's.
_OURS: Final = ("mountNamespace", "rundlet_copy_up", "rundlet_layers", "rundlet_subpath", late.KEY)
_CONTROLLERS: Final = {
    "memory": ("memory",),
    "cpu": ("cpu", "cpuset"),
    "pids": ("pids",),
    "blockIO": ("blkio", "io"),
    "hugepageLimits": ("hugetlb",),
    "network": ("net_cls", "net_prio"),
    "rdma": ("rdma",),
}


def load(bundle: str, name: str = FILE) -> Config:
    """The checked configuration of the bundle. Raises: CommandError."""
    path = os.path.join(bundle, name)
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read())
    except FileNotFoundError:
        raise CommandError(f"JSON specification file {name} not found") from None
    except (OSError, ValueError) as exc:
        raise CommandError(f"{path}: {exc}") from exc
    try:
        check(config)
        made = absolute(config, bundle)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise CommandError(f"{path}: invalid configuration: {type(exc).__name__}: {exc}") from exc
    for entry in made["mounts"]:
        # Where links lead is up to the image; set-up, and who looks at masked paths, would be led there, too.
        if entry.get("type") in ("proc", "sysfs") and os.path.islink(made["root"]["path"] + entry["destination"]):
            raise CommandError(f'filesystem "{entry["type"]}" must be mounted on ordinary directory')
    return made


def check(config: object) -> None:
    """Raises: CommandError for what is invalid, RefusedError for what isn't done."""
    if not isinstance(config, dict):
        raise CommandError("config.json must be an object")
    version = config.get("ociVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise CommandError(f"unsupported ociVersion: {version!r}")
    if not isinstance(config.get("root"), dict) or not config["root"].get("path"):
        raise CommandError("root.path is missing")
    check_process(config.get("process"))
    _check_linux(config.get("linux") or {})
    for entry in config.get("mounts") or ():
        if not entry.get("destination"):
            raise CommandError("a mount without destination")
        _check_mapping(entry, config.get("linux") or {})
    for kind in hooks.KINDS:
        for hook in (config.get("hooks") or {}).get(kind) or ():
            if not os.path.isabs(hook.get("path") or ""):
                raise CommandError(f"the path of a {kind} hook must be absolute: {hook.get('path')!r}")
            if hook.get("timeout") is not None and hook["timeout"] <= 0:
                raise CommandError(f"the timeout of a {kind} hook must be greater than 0")


def known_capabilities(config: Config) -> tuple[Config, list[str]]:
    """Without capabilities that are unknown, or that can't become ambient, as the specification wants it; warnings."""
    process, known = config["process"], frozenset(caps.CAPABILITIES)
    sets = {kind: list(names or ()) for kind, names in (process.get("capabilities") or {}).items()}
    unknown = sorted({name for names in sets.values() for name in names} - known)
    kept = {kind: [name for name in names if name in known] for kind, names in sets.items()}
    warnings = [f"ignoring unknown or unavailable capabilities: [{' '.join(unknown)}]"] if unknown else []
    possible = frozenset(kept.get("inheritable") or ()) & frozenset(kept.get("permitted") or ())
    for name in kept.get("ambient") or ():
        if name not in possible:
            warnings.append(f"can't raise ambient capability {name}: it is not both permitted and inheritable")
    kept["ambient"] = [name for name in kept.get("ambient") or () if name in possible]
    return (config | {"process": process | {"capabilities": kept}} if warnings else config), warnings


def _check_mapping(entry: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """An idmapped mount is a bind, by its own mappings or by those of the container. Raises: CommandError."""
    wanted = options.parse(entry.get("options") or ())
    own = [bool(entry.get(key)) for key in ("uidMappings", "gidMappings")]
    if not wanted.idmap and not any(own):
        return
    where = entry["destination"]
    if own[0] != own[1]:
        raise CommandError(f"invalid mount {where}: both uidMappings and gidMappings must be given")
    if not any(own) and not any(item.get("type") == "user" for item in linux.get("namespaces") or ()):
        raise CommandError(f"invalid mount {where}: id-map mounts without mappings need a user namespace")
    if entry.get("type") != "bind" and not wanted.bind:
        raise CommandError(f"invalid mount {where}: id-mapped mounts are only supported for bind-mounts")


def joined_users(config: Mapping[str, Any]) -> str:
    """The path of the user namespace to join; "" where there is none."""
    found = (entry for entry in config["linux"].get("namespaces") or () if entry["type"] == "user")
    return next((entry.get("path") or "" for entry in found), "")


def with_maps(config: Config) -> Config:
    """The same, with the mappings of a user namespace that is joined. Raises: OSError."""
    path = joined_users(config)
    if not path:
        return config
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        users, groups = usermap.maps(namespace)
    finally:
        os.close(namespace)
    mappings = {"uidMappings": _mappings(users), "gidMappings": _mappings(groups)}
    return config | {"linux": config["linux"] | mappings}


def _mappings(ranges: Iterable[usermap.Range]) -> list[dict[str, int]]:
    return [{"containerID": item.inside, "hostID": item.outside, "size": item.size} for item in ranges]


def check_process(process: object) -> None:
    """Raises: CommandError, RefusedError."""
    if not isinstance(process, dict):
        raise CommandError("process property must not be empty")
    arguments = process.get("args")
    if not isinstance(arguments, list) or not arguments or not all(isinstance(item, str) for item in arguments):
        raise CommandError("args must not be empty")
    if not os.path.isabs(process.get("cwd") or ""):
        raise CommandError("Cwd must be an absolute path")
    if process.get("selinuxLabel") and not lsm.selinux_enabled():
        raise CommandError("process.selinuxLabel: SELinux is not enabled")
    if process.get("apparmorProfile") and not lsm.apparmor_enabled():
        raise CommandError("process.apparmorProfile: AppArmor is not enabled")
    properties.of_exec({}, process)


def _check_linux(linux: Mapping[str, Any]) -> None:
    kinds = [entry.get("type") for entry in linux.get("namespaces") or ()]
    for kind in kinds:
        if kind not in _NAMESPACES:
            raise CommandError(f"unknown namespace type {kind!r}")
        if kinds.count(kind) > 1:
            raise CommandError(f"duplicate {kind} namespace")
    _check_users(linux)
    netdevices.check(linux)
    resctrl.check(linux)
    properties.of_container(linux)
    mounts = [entry for entry in linux.get("namespaces") or () if entry["type"] == "mount"]
    if not mounts or mounts[0].get("path"):
        raise RefusedError("a container without a mount namespace of its own")
    if linux.get("mountLabel"):
        raise RefusedError("linux.mountLabel")
    for entry in (linux.get("maskedPaths") or ()), (linux.get("readonlyPaths") or ()):
        for path in entry:
            if not os.path.isabs(path):
                raise CommandError(f"not an absolute path: {path!r}")


def _check_users(linux: Mapping[str, Any]) -> None:
    """A user namespace is made with its mappings; the container's root must be somebody. Raises: CommandError."""
    user = next((entry for entry in linux.get("namespaces") or () if entry["type"] == "user"), None)
    mapped = bool(linux.get("uidMappings") or linux.get("gidMappings"))
    if user is None and mapped:
        raise CommandError("user namespace mappings specified, but USER namespace isn't enabled in the config")
    if user is not None and user.get("path") and mapped:
        raise CommandError("user namespace to join, and mappings for a new one: one of them, not both")
    if user is not None and not user.get("path") and not (linux.get("uidMappings") and linux.get("gidMappings")):
        raise CommandError("user namespaces enabled, but no user mappings found")


def absolute(config: Config, bundle: str) -> Config:
    """With relative paths made absolute from the bundle."""
    root = dict(config["root"])
    root["path"] = os.path.realpath(os.path.join(bundle, root["path"]))
    if not os.path.isdir(root["path"]):
        raise CommandError(f"invalid rootfs: {root['path']}: no such directory")
    mounts = []
    for item in config.get("mounts") or ():
        entry = {key: value for key, value in item.items() if key not in _OURS}
        if entry.get("type") == "bind" or options.parse(entry.get("options") or ()).bind:
            entry["type"] = "bind"
            entry["source"] = os.path.join(bundle, entry.get("source") or "")
            entry = late.marked(entry, root["path"])
        entry["destination"] = _inside(entry["destination"], root["path"])
        mounts.append(entry)
    linux = dict(config.get("linux") or {})
    if linux.get("devices"):
        linux["devices"] = [item | {"path": os.path.normpath(item["path"])} for item in linux["devices"]]
    return config | {"root": root, "mounts": mounts, "linux": linux}


def _inside(destination: str, rootfs: str) -> str:
    """Some write where it is on the machine, as runc lets them."""
    path = os.path.join("/", destination)
    return path.removeprefix(rootfs) if path.startswith(f"{rootfs}/") else path


def specification(container: str, config: Config, placed: Mapping[str, Any]) -> dict[str, Any]:
    """The same as the shim would get it. ``placed`` is what :func:`cgroup` said."""
    linux = config["linux"]
    network = next((entry for entry in linux.get("namespaces") or () if entry["type"] == "network"), None)
    if network is None:
        net: dict[str, Any] = {"mode": "host"}
    elif network.get("path"):
        net = {"mode": "join", "join": network["path"]}
    else:
        net = {"mode": "none"}
    size = config["process"].get("consoleSize") or {}
    return {
        "id": container,
        "oci": config,
        "net": net,
        "rootfs": {"path": config["root"]["path"]},
        "stdio": {"size": [size.get("height") or 0, size.get("width") or 0]},
        "cgroup": {**placed, "strict": _asked(linux.get("resources") or {})},
    }


def cgroup(container: str, linux: Mapping[str, Any], *, systemd: bool) -> dict[str, Any]:
    """``path``, and ``scope`` where systemd makes it. Raises: CommandError, RefusedError."""
    if systemd:
        return scopes.section(container, linux)
    return {"path": _cgroup_path(container, linux)}


def _cgroup_path(container: str, linux: Mapping[str, Any]) -> str:
    """Raises: RefusedError for systemd's three-part names."""
    wanted = linux.get("cgroupsPath") or f"{DEFAULT_PARENT}/{container}"
    if wanted.count(":") == 2 and not wanted.startswith("/"):
        raise RefusedError(f"the systemd cgroup path {wanted} without --systemd-cgroup")
    path = os.path.normpath("/" + wanted)
    if path in ("/", "//"):
        raise CommandError(f"invalid cgroupsPath {wanted!r}")
    return path.replace("//", "/")


def resources(linux: Mapping[str, Any]) -> dict[str, Any]:
    """``linux.resources`` with the devices that every container may use."""
    wanted = dict(linux.get("resources") or {})
    rules = list(wanted.get("devices") or ())
    if rules:
        for kind, major, minor, access in _DEVICES:
            numbers = {key: value for key, value in (("major", major), ("minor", minor)) if value is not None}
            rules.append({"allow": True, "type": kind, "access": access, **numbers})
        wanted["devices"] = rules
    if wanted.get("hugepageLimits"):
        # Written in small letters by some, as Go's decoder takes them.
        huge = wanted["hugepageLimits"]
        wanted["hugepageLimits"] = [{_HUGE.get(key, key): item[key] for key in item} for item in huge]
    return wanted


def _asked(wanted: Mapping[str, Any]) -> list[str]:
    """The controllers that must be there: something was asked of them."""
    return [name for key, names in _CONTROLLERS.items() if _something(wanted.get(key)) for name in names]


def _something(value: object) -> bool:
    if isinstance(value, dict):
        return any(_something(item) for item in value.values())
    return bool(value)
