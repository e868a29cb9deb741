"""SIGHUP: the settings are read again, and those that a running engine can change hold from now on.

They are dockerd's, and what else containers have that ask for nothing. A file that can't be used changes nothing. See:
dockerd(8), "Configuration reload behavior".
"""

import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

from rundlet.daemon import service
from rundlet.daemon.config import Config
from rundlet.daemon.conflicts import masked
from rundlet.engine.events import EventBus
from rundlet.errors import RundletError

_log = logging.getLogger(__name__)
_CHANGEABLE: Final = frozenset(
    (
        "buildkit cdi_spec_dirs containers debug default_runtime insecure_registries labels live_restore log_driver "
        "log_level log_opts mirror_logins mirrors moving registry_mirrors runtime_args runtimes shutdown_timeout"
    ).split()
)
_ASIDE: Final = frozenset(("ready_fd", "config_file", "validate"))
"""Of the start alone."""


class Reloader:
    """``load`` reads flags and file once more, ``apply`` tells whoever works by the settings."""

    def __init__(
        self, config: Config, load: Callable[[], Config], apply: Callable[[Config], None], events: EventBus, engine: str
    ) -> None:
        self.config = config
        self._load = load
        self._apply = apply
        self._events = events
        self._engine = engine

    def reload(self) -> None:
        """What is wrong is logged. Never raises."""
        _log.info("Got signal to reload configuration, reloading from: %s", self.config.config_file or "(no file)")
        try:
            wanted = self._load()
            chosen = with_changes(self.config, wanted)
            service.set_level(chosen.effective_log_level)
            self._apply(chosen)
        except (RundletError, OSError) as error:
            service.set_level(self.config.effective_log_level)
            _log.error("the configuration stays as it is: %s", error)
            return
        kept = unchanged(chosen, wanted)
        if kept:
            _log.warning("these settings change with the engine's next start: %s", ", ".join(kept))
        self.config = chosen
        described = attributes(chosen)
        proxies = {name: masked(value) for name, value in chosen.moving.environment}
        _log.info("Reloaded configuration: %s", json.dumps({**described, "proxies": proxies}))
        self._events.publish("daemon", "reload", self._engine, described)


def with_changes(now: Config, wanted: Config) -> Config:
    """``now`` with what can be changed of ``wanted``."""
    changed = {name: getattr(wanted, name) for name in _CHANGEABLE}
    changed["moving"] = replace(wanted.moving, environment=now.moving.environment)
    return replace(now, **changed)


def unchanged(chosen: Config, wanted: Config) -> list[str]:
    """Keys of what ``wanted`` has otherwise."""
    names = [field.name for field in fields(Config) if getattr(chosen, field.name) != getattr(wanted, field.name)]
    return sorted("proxies" if name == "moving" else name.replace("_", "-") for name in names if name not in _ASIDE)


def attributes(config: Config) -> dict[str, str]:
    """What the event says of the settings, under dockerd's names."""
    containers = config.containers
    return {
        "allow-nondistributable-artifacts": "[]",
        "debug": _truth(config.debug),
        "default-cgroupns-mode": containers.cgroupns_mode or "private",
        "default-ipc-mode": containers.ipc_mode,
        "default-runtime": config.default_runtime,
        "default-shm-size": str(containers.shm_size),
        "features": f"map[buildkit:{_truth(config.buildkit)} cdi:{_truth(bool(config.cdi_spec_dirs))}]",
        "insecure-registries": _listed(config.insecure_registries),
        "labels": _listed(config.labels),
        "live-restore": _truth(config.live_restore),
        "max-concurrent-downloads": str(config.moving.downloads),
        "max-concurrent-uploads": str(config.moving.uploads),
        "max-download-attempts": str(config.moving.attempts),
        "name": socket.gethostname(),
        "registry-mirrors": _listed(config.registry_mirrors),
        "runtimes": _runtimes(config.runtimes),
        "shutdown-timeout": str(config.shutdown_timeout),
    }


def _truth(value: bool) -> str:
    return str(value).lower()


def _listed(values: Sequence[str]) -> str:
    return json.dumps(list(values), separators=(",", ":"))


def _runtimes(paths: Mapping[str, str]) -> str:
    return " ".join(f"{name}:{path}" for name, path in sorted(paths.items()))
