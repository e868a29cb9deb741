"""The engine's settings: command-line flags over ``daemon.json`` over defaults, with Docker's names.

A key that Rundlet does not know is an error, never ignored. A setting given both as a flag and in the file is an error
too, as Docker's daemon has it. See: dockerd(8), daemon.json.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rundlet.daemon import (
    addresses,
    buildergc,
    cgroups,
    conflicts,
    defaults,
    flags,
    gcpolicy,
    networks,
    others,
    registries,
    runtimes,
    sizes,
    transfers,
)
from rundlet.daemon.errors import ConfigError
from rundlet.daemon.transfers import Transfers
from rundlet.engine.containers.defaults import ContainerDefaults
from rundlet.engine.images.policy import ImagePolicy

LEVELS = ("debug", "info", "warn", "error", "fatal")
LOG_FORMATS = ("text", "json")
NATIVE_RUNTIME = "rundlet"
# Later directories win: what is generated at boot describes the machine as it is now.
CDI_SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")
MAX_LAYER_SIZE = 256 << 30
"""Bytes that a layer may inflate to; no honest layer comes near."""


@dataclass(frozen=True, slots=True)
class Config:
    """``hosts`` are ``unix://…`` or ``tcp://…`` addresses; ``runtimes`` maps a name to the path of an OCI runtime.

    ``runtime_args`` go before a runtime's own arguments.
    ``buildkit``: clients are told to build by its protocol unless they are told otherwise.
    ``experimental``: clients are told so, for what they themselves have of that kind; the engine has nothing.
    ``max_layer_size`` (bytes, 0: any) ends a layer that inflates to more.
    ``metrics_addr``: where Prometheus is answered, as HOST:PORT; empty: nowhere.
    ``build_rules``: what of the build cache goes by itself.
    ``mirrors`` are by registry, ``mirror_logins`` by the mirrors' hosts.
    ``rootless``: the ordinary user (uid) whose engine this is, inside namespaces of its own; -1: none's.
    ``tls`` and ``tlsverify`` are None where nothing was said. ``network`` has the keys of ``networks``, as in the file.
    ``exec_opts`` are Docker's: the driver of control groups.
    ``storage_driver`` is overlay2, vfs, or empty for what the data root's file system can do.
    ``default_userns`` is the mode of containers that ask for none, ``userns_remap`` Docker's name of a user whose range
    they all share.
    ``containers``: what those have that ask for nothing else. ``live_restore``: they outlive the engine; else they are
    stopped at its end, for which ``shutdown_timeout`` (seconds, -1: any) is what it waits at least.
    ``validate``: look through the settings, and no more.
    ``leave_cgroup``: the engine is to outlive the session, unit or job that starts it.
    """

    data_root: str
    exec_root: str
    hosts: tuple[str, ...] = ()
    pidfile: str = ""
    group: str = "rundlet"
    metrics_addr: str = ""
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    mirrors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mirror_logins: dict[str, registries.Login] = field(default_factory=dict)
    gc: ImagePolicy | None = None
    build_rules: buildergc.Policy = ()
    max_layer_size: int = MAX_LAYER_SIZE
    log_level: str = "info"
    log_format: str = "text"
    debug: bool = False
    default_runtime: str = NATIVE_RUNTIME
    runtimes: dict[str, str] = field(default_factory=dict)
    runtime_args: dict[str, tuple[str, ...]] = field(default_factory=dict)
    log_driver: str = "json-file"
    log_opts: dict[str, str] = field(default_factory=dict)
    cdi_spec_dirs: tuple[str, ...] = CDI_SPEC_DIRS
    ready_fd: int = -1
    leave_cgroup: bool = False
    validate: bool = False
    rootless: int = -1
    tls: bool | None = None
    tlsverify: bool | None = None
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    trust_policy: str = ""
    storage_driver: str = ""
    exec_opts: tuple[str, ...] = ()
    default_userns: str = ""
    userns_remap: str = ""
    config_file: str = ""
    containers: ContainerDefaults = field(default_factory=ContainerDefaults)
    labels: tuple[str, ...] = ()
    live_restore: bool = True
    shutdown_timeout: int = 15
    moving: Transfers = field(default_factory=Transfers)
    buildkit: bool = False
    experimental: bool = False

    @property
    def uses_tls(self) -> bool:
        """Whether TCP is served inside TLS; ``tlsverify`` implies it."""
        return bool(self.tls or self.tlsverify)

    @property
    def effective_log_level(self) -> str:
        return "debug" if self.debug else self.log_level


def default_roots(environment: dict[str, str], uid: int) -> tuple[str, str]:
    """(data root, exec root) of this user's engine."""
    root, run = environment.get("RUNDLET_ROOT", ""), environment.get("RUNDLET_RUN", "")
    if uid == 0:
        return root or "/var/lib/rundlet", run or "/run/rundlet"
    home = environment.get("HOME") or tempfile.gettempdir()
    data = environment.get("XDG_DATA_HOME") or f"{home}/.local/share"
    return root or f"{data}/rundlet", run or _private_run(environment, uid)


def _private_run(environment: dict[str, str], uid: int) -> str:
    """As ``cli.paths.run_directory``, which also looks whose a directory in /tmp is."""
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    return f"{runtime}/rundlet" if os.path.isdir(runtime) else f"/tmp/rundlet-{uid}"


# OCI runtimes that serve under their own names where the machine has them, as Docker's "runc" always does.
_KNOWN_RUNTIMES = ("runc", "crun")
_RUNTIME_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def found_runtimes() -> dict[str, str]:
    """Name and path of the runtimes that are installed in the system's directories."""
    import shutil

    found = {name: shutil.which(name, path=_RUNTIME_PATH) for name in _KNOWN_RUNTIMES}
    return {name: path for name, path in found.items() if path is not None}


_FILE_KEYS: dict[str, type] = {
    "data-root": str,
    "exec-root": str,
    "hosts": list,
    "pidfile": str,
    "group": str,
    "metrics-addr": str,
    "registry-mirrors": list,
    "insecure-registries": list,
    "registries": dict,
    "gc": dict,
    "builder": dict,
    "max-layer-size": object,
    "log-level": str,
    "log-format": str,
    "debug": bool,
    "experimental": bool,
    "default-runtime": str,
    "runtimes": dict,
    "cdi-spec-dirs": list,
    "log-driver": str,
    "log-opts": dict,
    "trust-policy": str,
    "storage-driver": str,
    "exec-opts": list,
    "default-userns": str,
    "userns-remap": str,
    "tls": bool,
    "tlsverify": bool,
    "tlscacert": str,
    "tlscert": str,
    "tlskey": str,
    "labels": list,
    "live-restore": bool,
    "shutdown-timeout": int,
    "features": dict,
    **defaults.KEYS,
    **transfers.KEYS,
    **networks.KEYS,
}


def _file(path: str, *, required: bool) -> dict[str, Any]:
    """The configuration file's values. Raises ConfigError, in dockerd's words."""
    try:
        return _read(path, required=required)
    except ConfigError as error:
        raise ConfigError(f"unable to configure the Docker daemon with file {error}") from error


def _read(path: str, *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read().strip() or b"{}")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: open {path}: no such file or directory") from None
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: want a JSON object")
    document = {key: value for key, value in document.items() if value is not None}
    others.check(path, document)
    for key, value in document.items():
        kind = _FILE_KEYS.get(key)
        if kind is None:
            raise ConfigError(f"{path}: the following directives don't match any configuration option: {key}")
        if not isinstance(value, kind):
            raise ConfigError(f"{path}: {key}: want a JSON {kind.__name__}")
    for name, text in document.get("log-opts", {}).items():
        if not isinstance(text, str):
            raise ConfigError(f"{path}: log-opts: {name}: want a JSON string")
    if "default-address-pools" in document:
        found = document["default-address-pools"]
        document["default-address-pools"] = [networks.pool(f"{path}: default-address-pools", value) for value in found]
    return document


def load(argv: Sequence[str], environment: dict[str, str], uid: int) -> Config:
    """Settings from the command line, the file and the environment. Raises: ConfigError, flags.InformationRequested."""
    given = flags.parse(argv)
    uid = given.get("rootless", uid)
    data_root, exec_root = default_roots(environment, uid)
    path = given.pop("config-file", "")
    required = bool(path)
    if not path and uid == 0:
        path = "/etc/rundlet/daemon.json"
    elif not path:
        home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
        path = f"{home}/rundlet/daemon.json"
    document = _file(path, required=required)
    conflicts.check(path, document, given)
    mirrors, logins = registries.parse(document.pop("registries", {}))
    if "max-layer-size" in document:
        document["max-layer-size"] = sizes.parse("max-layer-size", document["max-layer-size"])
    policy = gcpolicy.parse(document.pop("gc")) if "gc" in document else None
    rules = buildergc.parse(document.pop("builder", {}))
    paths, arguments = runtimes.parse(document.pop("runtimes", {}))
    paths |= given.pop("runtimes", {})
    every = {**document, **given}
    network = {key: every.pop(key) for key in networks.KEYS if key in every}
    moving = transfers.transfers(every)
    features = every.pop("features", {})
    # Two empty ways to say "nowhere": a list without entries, and one entry that is empty.
    directories = [path for path in every.pop("cdi-spec-dirs", CDI_SPEC_DIRS) if path]
    containers = defaults.containers({key: every.pop(key) for key in defaults.KEYS if key in every})
    merged = {key.replace("-", "_"): value for key, value in every.items()}
    merged["hosts"] = [host if "://" in host else f"tcp://{host}" for host in merged.get("hosts", ())]
    for key in ("hosts", "registry_mirrors", "insecure_registries", "exec_opts", "labels"):
        merged[key] = tuple(merged.get(key, ()))
    merged["registry_mirrors"] = registries.shown(merged["registry_mirrors"])
    merged.setdefault("data_root", data_root)
    merged.setdefault("exec_root", exec_root)
    config = Config(
        runtimes={name: runtimes.located(found, environment) for name, found in paths.items()},
        runtime_args=arguments,
        mirrors=mirrors,
        mirror_logins=logins,
        gc=policy,
        build_rules=rules,
        network=network,
        containers=containers,
        moving=moving,
        buildkit=bool(features.get("buildkit", False)),
        cdi_spec_dirs=tuple(directories) if features.get("cdi", True) else (),
        config_file=path if document or required else "",
        **merged,
    )
    _validate(config)
    return config


def _validate(config: Config) -> None:
    for name in ("data_root", "exec_root", *(("trust_policy",) if config.trust_policy else ())):
        if not os.path.isabs(getattr(config, name)):
            raise ConfigError(f"{name.replace('_', '-')} must be an absolute path: {getattr(config, name)}")
    if config.log_level not in LEVELS:
        raise ConfigError(f"invalid log level: {config.log_level}: want one of {', '.join(LEVELS)}")
    if config.log_format not in LOG_FORMATS:
        raise ConfigError(f"invalid log format: {config.log_format}: want one of {', '.join(LOG_FORMATS)}")
    for host in config.hosts:
        if not host.startswith(("unix://", "tcp://", "fd://")):
            raise ConfigError(f"invalid host {host}: want unix:///path, tcp://address:port or fd://")
    if config.metrics_addr:
        addresses.host_and_port("metrics-addr", config.metrics_addr)
    if config.metrics_addr and config.rootless >= 0:
        raise ConfigError("metrics-addr is for root's engine: an ordinary user's has a network of its own")
    networks.options(config.network)
    networks.resolver(config.network)
    cgroups.check(config.exec_opts)
    if config.storage_driver not in ("", "overlay2", "vfs"):
        raise ConfigError(f"storage-driver: {config.storage_driver}: there are overlay2 and vfs")
    if config.default_userns and config.userns_remap:
        raise ConfigError("default-userns and userns-remap: only one of them can be the default")
    if config.rootless >= 0 and (config.default_userns not in ("", "host") or config.userns_remap):
        raise ConfigError("default-userns and userns-remap are for root's engine")
    for name, path in config.runtimes.items():
        if name == NATIVE_RUNTIME:
            raise ConfigError(f"runtime name {name} is reserved")
        if not path:
            raise ConfigError(f"runtime {name}: empty path")
    if len(config.exec_root) > 80:
        raise ConfigError(f"exec-root is too long for the sockets below it (80 bytes at most): {config.exec_root}")
