"""Docker's client configuration (``~/.docker/config.json``) and contexts: read as Docker reads them."""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError
from rundlet.client.endpoint import Endpoint, TlsSettings
from rundlet.client.wire import DecodeError, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# Keys that are looked at, what they must be, and what is in them.
_SHAPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("HttpHeaders", "aliases", "credHelpers", "features"), (dict, str)),
    **dict.fromkeys(("auths", "plugins", "proxies"), (dict, dict)),
    **dict.fromkeys(("cliPluginsExtraDirs", "pruneFilters"), (list, str)),
    **dict.fromkeys(("credsStore", "currentContext", "detachKeys"), (str,)),
    **dict.fromkeys(("imagesFormat", "networksFormat", "psFormat", "statsFormat", "volumesFormat"), (str,)),
}
_SHOWN: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}


class ConfigError(CommandError):
    """config.json is none. Whoever only reads it goes on without; who would write it anew must not."""


def read_config(directory: str) -> dict[str, Any]:
    """The contents of config.json; nothing when there is none. What is null is left out. Raises ConfigError when it
    can't be understood."""
    path = f"{directory}/config.json"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    try:
        value = loads(data) if data.strip() else {}
    except DecodeError as exc:
        raise ConfigError(f"Error parsing config file ({path}): {exc}") from exc
    if not isinstance(value, dict):
        raise ConfigError(f"Error parsing config file ({path}): not an object")
    for key, shape in _SHAPES.items():
        if key in value:
            value[key] = _checked(path, key, value[key], shape)
            if value[key] is None:
                del value[key]
    return value


def _checked(path: str, key: str, value: Any, shape: tuple[type, ...]) -> Any:
    """What is at ``key`` without what is null in it. Raises ConfigError."""
    if value is None or not shape:
        return value
    if not isinstance(value, shape[0]):
        raise ConfigError(f"Error parsing config file ({path}): {key} is not {_SHOWN[shape[0]]}")
    if isinstance(value, dict):
        inner = {name: _checked(path, f"{key}: {name}", one, shape[1:]) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one is not None}
    if isinstance(value, list):
        inner_list = [_checked(path, f"{key}: {one}", one, shape[1:]) for one in value]
        return [one for one in inner_list if one is not None]
    return value


def context_endpoint(directory: str, name: str) -> Endpoint:
    """The engine of a Docker context that was made with ``docker context create``. Raises CommandError."""
    import hashlib

    digest = hashlib.sha256(name.encode()).hexdigest()
    path = f"{directory}/contexts/meta/{digest}/meta.json"
    try:
        with open(path, "rb") as file:
            meta = loads(file.read())
    except OSError as exc:
        reason = f'context "{name}": context not found: open {path}: {(exc.strerror or "").lower()}'
        raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: {reason}") from exc
    except DecodeError as exc:
        raise CommandError(f'Failed to initialize: context "{name}": {path}: {exc}') from exc
    docker = (meta.get("Endpoints") or {}).get("docker") or {}
    host = str(docker.get("Host") or "")
    if not host:
        raise CommandError(f'Failed to initialize: context "{name}" has no docker endpoint')
    files = f"{directory}/contexts/tls/{digest}/docker"
    tls = None
    if os.path.isdir(files):
        verify = not docker.get("SkipTLSVerify")
        ca = f"{files}/ca.pem"
        tls = TlsSettings(ca if os.path.exists(ca) else "", f"{files}/cert.pem", f"{files}/key.pem", verify=verify)
    return Endpoint(host, tls)
