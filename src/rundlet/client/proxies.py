"""The proxy that the environment names for an address: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``, with Go's rules.

Imported only where a connection leaves the machine and the environment names a proxy at all.
"""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from rundlet.client.errors import ClientError
from rundlet.client.http import Connection
from rundlet.util import bypass


class Proxy:
    """Where it listens, and the headers that it wants to see."""

    __slots__ = ("headers", "host", "port")

    def __init__(self, host: str, port: int, headers: dict[str, str]) -> None:
        self.host = host
        self.port = port
        self.headers = headers

    def connect(self) -> socket.socket:
        """Raises OSError."""
        # Encoded already, a name keeps the codec for international ones from being imported.
        host = self.host.encode() if self.host.isascii() else self.host
        plain = socket.create_connection((host, self.port), 30.0)  # type: ignore[arg-type]  # bytes are fine
        plain.settimeout(None)
        return plain

    def tunnel(self, plain: socket.socket, host: str, port: int) -> None:
        """Ask for a connection with ``host`` on a connection with the proxy. Raises ClientError."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        through = Connection(plain, target)
        through.send("CONNECT", target, self.headers, None)
        answer = through.receive(head_request=True)
        if answer.status != 200:
            raise ClientError(f"the proxy answered {answer.status} to a connection with {target}")


def chosen(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy for ``scheme`` (``http`` or ``https``); none for what is on this machine. Raises ClientError."""
    named = _value(f"{scheme.upper()}_PROXY")
    if not named or bypass.bypassed(host, port, bypass.rules(_value("NO_PROXY"))):
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    if parts.scheme != "http":
        raise ClientError(f"proxyconnect: a proxy of the scheme {parts.scheme}:// is not supported by Rundlet")
    try:
        number = parts.port or 80
    except ValueError as exc:
        raise ClientError(f"invalid proxy address {named!r}: {exc}") from exc
    if not parts.hostname:
        raise ClientError(f"invalid proxy address {named!r}")
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return Proxy(parts.hostname, number, headers)


def _value(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""
