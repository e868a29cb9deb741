"""What ``DOCKER_…`` variables and config.json add to a command line where its flags leave something open.

See: docker(1), "Environment variables" and "Docker CLI configuration file".
"""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rundlet.cli.context import Context

_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}
_HEADERS = "DOCKER_CUSTOM_HEADERS"


def platform(flags: Any) -> str:
    """``--platform`` of a command that takes one platform: as written, also when written empty, else
    ``DOCKER_DEFAULT_PLATFORM``."""
    text = flags["platform"] if "platform" in flags.given else os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    return str(text)


def platforms(flags: Any) -> list[str]:
    """The same for a build's ``--platform``, which may be given several times."""
    if "platform" in flags.given:
        return list(flags["platform"])
    default = os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    return [default] if default else []


def proxies(context: Context) -> dict[str, str]:
    """The variables that ``proxies`` of config.json gives containers and builds of this engine: each name in capitals
    and in small letters, as programs look for the one or the other."""
    configured = context.config.get("proxies")
    if not configured:
        return {}
    endpoint = context.endpoint()
    settings = configured.get(endpoint.url if endpoint else context.default_host()) or configured.get("default") or {}
    found = {name: str(settings[key]) for key, name in _PROXIES.items() if settings.get(key)}
    return found | {name.lower(): value for name, value in found.items()}


def with_proxies(variables: list[str], context: Context) -> list[str]:
    """A container's variables, and the proxies' that are not among them (``NAME`` alone, which has the engine leave a
    variable out, is among them, too)."""
    named = {text.partition("=")[0] for text in variables}
    return [*variables, *(f"{name}={value}" for name, value in proxies(context).items() if name not in named)]


def headers(config: dict[str, Any]) -> dict[str, str]:
    """What is sent with every request: ``DOCKER_CUSTOM_HEADERS`` (``NAME=VALUE,…``, as a line of CSV), else the
    configuration's ``HttpHeaders``. Raises CommandError."""
    text = os.environ.get(_HEADERS, "")
    found = dict(_header(field) for field in _fields(text)) if text else config.get("HttpHeaders", {})
    # Who asks is ours to say, and may be said once.
    return {name: value for name, value in found.items() if name.lower() != "user-agent"}


def _fields(text: str) -> Iterable[str]:
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as exc:
        reason = "value must be formatted as comma-separated key=value pairs"
        raise CommandError(
            f"Failed to initialize: failed to parse custom headers from {_HEADERS} environment variable: {reason}"
        ) from exc


def _header(field: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    name = name.strip()
    reason = "" if equals else f"missing \"=\" in key=value pair: '{field}'"
    if not name:
        reason = f"value contains a key=value pair with an empty key: '{field}'"
    if "\r" in field or "\n" in field or ":" in name:
        reason = f"invalid header: '{field!r}'"
    if reason:
        raise CommandError(
            f"Failed to initialize: failed to set custom headers from {_HEADERS} environment variable: {reason}"
        )
    return name, value.strip()
