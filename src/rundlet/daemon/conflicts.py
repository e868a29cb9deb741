"""What is said both on the command line and in the file, in dockerd's words."""

import re
from collections.abc import Mapping
from typing import Any, Final

from rundlet.daemon.errors import ConfigError

_MERGED: Final = frozenset(("runtimes",))
_PROXIES: Final = ("http-proxy", "https-proxy", "no-proxy")
_CREDENTIALS: Final = re.compile(r"://[^/]*@")


def check(path: str, document: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raises ConfigError that names every such key."""
    proxies = document.get("proxies")
    said = {**document, **{name: proxies[name] for name in _PROXIES if isinstance(proxies, dict) and name in proxies}}
    twice = [
        f"{key}: (from flag: {masked(given[key])}, from file: {masked(said[key])})"
        for key in sorted(given)
        if key in said and key not in _MERGED
    ]
    if twice:
        raise ConfigError(
            f"unable to configure the Docker daemon with file {path}: the following directives are specified both as a "
            f"flag and in the configuration file: {', '.join(twice)}"
        )


def masked(value: object) -> str:
    """Without the credentials that a URL may hold: settings are told in logs and errors."""
    return _CREDENTIALS.sub("://xxxxx:xxxxx@", str(value))
