"""What daemon.json and the command line say about pulls and pushes; Docker's names."""

import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from rundlet.daemon.conflicts import masked
from rundlet.daemon.errors import ConfigError

_log = logging.getLogger(__name__)

FLAGS: Final[dict[str, tuple[str, str]]] = {
    "http-proxy": ("http-proxy", "str"),
    "https-proxy": ("https-proxy", "str"),
    "max-concurrent-downloads": ("max-concurrent-downloads", "int"),
    "max-concurrent-uploads": ("max-concurrent-uploads", "int"),
    "max-download-attempts": ("max-download-attempts", "int"),
    "no-proxy": ("no-proxy", "str"),
}
"""flag → (key, kind), as in ``flags``; the file has the proxies together."""

KEYS: Final[dict[str, type]] = {
    "max-concurrent-downloads": int,
    "max-concurrent-uploads": int,
    "max-download-attempts": int,
    "proxies": dict,
}
_PROXIES: Final = ("http-proxy", "https-proxy", "no-proxy")


@dataclass(frozen=True, slots=True)
class Transfers:
    """How many layers are fetched or sent at once, and how often a request is tried.

    ``environment``: the proxies, as the variables that they are looked up in.
    """

    downloads: int = 3
    uploads: int = 5
    attempts: int = 5
    environment: tuple[tuple[str, str], ...] = ()


def transfers(values: dict[str, Any]) -> Transfers:
    """Takes its keys out of ``values``. Raises ConfigError."""
    found = dict(values.pop("proxies", {}))
    unknown = set(found) - set(_PROXIES)
    if unknown:
        raise ConfigError(f"proxies: {min(unknown)}: want {', '.join(_PROXIES)}")
    found |= {name: values.pop(name) for name in _PROXIES if name in values}
    if not all(isinstance(value, str) for value in found.values()):
        raise ConfigError("proxies: want strings")
    return Transfers(
        downloads=_positive(values, "max-concurrent-downloads", 3),
        uploads=_positive(values, "max-concurrent-uploads", 5),
        attempts=_positive(values, "max-download-attempts", 5),
        environment=tuple((name.upper().replace("-", "_"), value) for name, value in sorted(found.items()) if value),
    )


def _positive(values: dict[str, Any], key: str, default: int) -> int:
    number = values.pop(key, 0) or default
    if type(number) is not int or number < 1:
        raise ConfigError(f"invalid {key}: {number}")
    return number


def set_proxies(chosen: Transfers, environment: MutableMapping[str, str]) -> None:
    """What the settings name counts, whatever ``environment`` says."""
    for name, value in chosen.environment:
        for variable in (name.lower(), name):
            before = environment.pop(variable, value)
            if before != value:
                _log.warning(
                    "overriding existing proxy variable with value from configuration: %s was %s and is %s",
                    variable,
                    masked(before),
                    masked(value),
                )
        environment[name] = value
