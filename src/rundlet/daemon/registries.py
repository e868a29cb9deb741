"""The key ``registries`` of ``daemon.json``, Rundlet's own: mirrors of any registry, each with credentials of its own.

    "registries": {"quay.io": {"mirrors": ["https://plain.example",
                                           {"url": "https://m.example", "username": "u", "password-file": "/etc/m"}]}}

A registry's own credentials never go to its mirrors; a password is read from a file that only its owner can read.
"""

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from rundlet.errors import InvalidParameterError

Login = tuple[str, str]
"""User name and the path of the password's file."""


class RegistriesError(InvalidParameterError):
    """The key, or a password's file, can't be used."""

    reason = "bad-registries"


def parse(document: dict[str, Any]) -> tuple[dict[str, tuple[str, ...]], dict[str, Login]]:
    """URLs of mirrors by registry, and logins by the mirrors' hosts. Raises RegistriesError."""
    mirrors: dict[str, tuple[str, ...]] = {}
    logins: dict[str, Login] = {}
    for name, settings in document.items():
        listed = settings.get("mirrors") if isinstance(settings, dict) and set(settings) == {"mirrors"} else None
        if not isinstance(listed, list):
            raise RegistriesError(f'registries: {name}: want {{"mirrors": […]}}')
        mirrors[name] = tuple(_mirror(name, item, logins) for item in listed)
    return mirrors, logins


def shown(mirrors: Sequence[str]) -> tuple[str, ...]:
    """As Docker shows them: with a slash at the end."""
    return tuple(f"{url.rstrip('/')}/" for url in mirrors)


def _mirror(name: str, item: object, logins: dict[str, Login]) -> str:
    if isinstance(item, str):
        return item
    keys = {"url", "username", "password-file"}
    if not isinstance(item, dict) or set(item) != keys or not all(isinstance(value, str) for value in item.values()):
        raise RegistriesError(
            f'registries: {name}: want a URL, or {{"url": "…", "username": "…", "password-file": "…"}}, for a mirror'
        )
    url: str = item["url"]
    login = (item["username"], item["password-file"])
    if logins.setdefault(urlsplit(url).netloc, login) != login:
        raise RegistriesError(f"registries: {name}: {url} has two different logins")
    return url


def password(path: str) -> str:
    """The first line of ``path``. Raises RegistriesError when others could read it too."""
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise RegistriesError(f"registries: {path}: others can read it (chmod 600 {path})")
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise RegistriesError(f"registries: {path}: {exc}") from exc
