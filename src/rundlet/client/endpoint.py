"""Where an engine listens: parsing ``-H``, and connecting."""

from __future__ import annotations

import _socket
import os

from rundlet.client.errors import ClientError, ConnectError, PermissionDeniedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.client.http import Socket
    from rundlet.client.proxies import Proxy

MAX_SOCKET_PATH = 107


class TlsSettings:
    """Files for TLS; ``verify`` asks that the server's certificate is checked against ``ca``."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str, cert: str, key: str, *, verify: bool) -> None:
        self.ca = ca
        self.cert = cert
        self.key = key
        self.verify = verify


class Endpoint:
    """One address. ``url`` is as the user wrote it."""

    __slots__ = ("address", "port", "prefix", "scheme", "tls", "url", "user")

    def __init__(self, url: str, tls: TlsSettings | None = None) -> None:
        """Raises ClientError when ``url`` is none that we can reach."""
        scheme, separator, rest = url.partition("://")
        if not separator:
            scheme, rest = "tcp", url
        self.url = url if separator else f"tcp://{url}"
        self.tls = tls
        self.scheme = scheme
        self.port = 0
        self.prefix = ""
        self.user = ""
        if scheme == "unix":
            self.address = rest or "/var/run/docker.sock"
            if len(self.address.encode()) > MAX_SOCKET_PATH:
                raise ClientError(f"unix socket path {self.address!r} is too long (at most {MAX_SOCKET_PATH} bytes)")
        elif scheme in ("tcp", "http", "https"):
            self._parse_tcp(rest)
        elif scheme == "ssh":
            self._parse_ssh(rest)
        elif scheme in ("npipe", "fd"):
            raise ClientError(f"unable to resolve docker endpoint: {scheme}:// is not supported by Rundlet")
        else:
            raise ClientError(f"unable to resolve docker endpoint: invalid bind address format: {url}")

    def _parse_tcp(self, rest: str) -> None:
        host, slash, path = rest.partition("/")
        self.prefix = (slash + path).rstrip("/")
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, "2376" if self.tls else "2375"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ClientError(f"unable to resolve docker endpoint: invalid bind address format: {self.url}")
        self.address = name.strip("[]") or "127.0.0.1"
        self.port = int(port)
        if not colon:
            # As errors name it, Docker's way.
            self.url = f"{self.scheme}://{name or 'localhost'}:{port}{self.prefix}"
        if self.scheme == "https" and self.tls is None:
            self.tls = TlsSettings("", "", "", verify=True)

    def _parse_ssh(self, rest: str) -> None:
        host, slash, path = rest.partition("/")
        user, _, host = host.rpartition("@")
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        self.prefix = (slash + path).rstrip("/")
        self.address = name.strip("[]")
        self.user = user
        if not self.address:
            raise ClientError(f"unable to resolve docker endpoint: no host specified: {self.url}")
        # What begins with a hyphen would be an option of ssh.
        if ":" in user or user.startswith("-") or self.address.startswith("-") or (port and not port.isdigit()):
            raise ClientError(f"unable to resolve docker endpoint: invalid ssh address: {self.url}")
        self.port = int(port or 0)

    @property
    def host_header(self) -> str:
        return "api.rundlet.localhost" if self.scheme in ("unix", "ssh") else f"{self.address}:{self.port}"

    def connect(self, *, direct: bool = False) -> Socket:
        """A connected socket, ``direct`` past a proxy that only understands requests. Raises ConnectError, ClientError.

        Within TLS a proxy does not see what goes through it: there is nothing to go past.
        """
        if self.scheme == "unix":
            return self._connect_unix()
        if self.scheme == "ssh":
            from rundlet.client.ssh import connect

            return connect(self)
        import socket

        proxy = self.proxy() if self.tls is not None or not direct else None
        try:
            plain = proxy.connect() if proxy else socket.create_connection((self.address, self.port))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            raise ConnectError(self.url, exc) from exc
        if self.tls is None:
            return plain
        if proxy:
            try:
                proxy.tunnel(plain, self.address, self.port)
            except ClientError:
                plain.close()
                raise
        from rundlet.client.tls import wrap

        return wrap(plain, self.address, self.tls)

    def proxy(self) -> Proxy | None:
        """What stands between us and an address on a network, by the environment. Raises ClientError."""
        name = "http_proxy" if self.tls is None else "https_proxy"
        if self.scheme in ("unix", "ssh") or not (os.environ.get(name) or os.environ.get(name.upper())):
            return None
        from rundlet.client.proxies import chosen

        return chosen(name.removesuffix("_proxy"), self.address, self.port)

    def _connect_unix(self) -> Socket:
        # _socket: the C type beneath socket.socket, without the 7 ms that importing enum and selectors costs.
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.connect(self.address)
        except PermissionError as exc:
            sock.close()
            raise PermissionDeniedError(self.url, exc) from exc
        except OSError as exc:
            sock.close()
            raise ConnectError(self.url, exc) from exc
        return sock
