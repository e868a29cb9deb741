"""What opens a private git repository to a build: the secrets that BuildKit knows by these names.

``GIT_AUTH_TOKEN`` is a token of the server's, ``GIT_AUTH_HEADER`` a whole value of ``Authorization``; with ``.HOST``
behind it, either is for that server only. No step of the build sees them unless it mounts them.
"""

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from rundlet.builder.errors import BuildError

_HEADER: Final = "GIT_AUTH_HEADER"
_TOKEN: Final = "GIT_AUTH_TOKEN"  # noqa: S105 its name
_USER: Final = b"x-access-token:"
"""The user that a token of GitHub's belongs to; others ignore the name."""


def secret_names(url: str) -> tuple[str, ...]:
    """What would open ``url``, the first that there is; nothing for what is not reached by HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ()
    host = parts.netloc.rpartition("@")[2]
    return (f"{_HEADER}.{host}", f"{_TOKEN}.{host}", _HEADER, _TOKEN)


def login_settings(url: str, secrets: Mapping[str, bytes]) -> dict[str, str]:
    """git's environment for ``url``: the login, for this server and no other it may lead to. Raises BuildError."""
    for name in secret_names(url):
        value = secrets.get(name, b"").strip()
        if not value:
            continue
        if not value.isascii() or any(byte < ord(" ") for byte in value):
            raise BuildError(f"the secret {name} is no value of a header")
        login = value.decode()
        if name.startswith(_TOKEN):
            login = f"basic {base64.b64encode(_USER + value).decode()}"
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        # In the environment, and not among the arguments, which every user of the machine can read.
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{place}.extraheader",
            "GIT_CONFIG_VALUE_0": f"Authorization: {login}",
        }
    return {}
