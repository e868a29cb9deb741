"""HTTPS to trust servers: one verified connection, through a proxy where the environment names one.

On the client's own HTTP: ``http.client`` and what it imports would cost a pull more than the verification does.
"""

from __future__ import annotations

import os
import socket
import ssl

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ClientError
from rundlet.client.http import Connection
from rundlet.trust.errors import ServerError, TooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.client.http import Response
    from rundlet.client.proxies import Proxy

TIMEOUT = 30.0
_CERTIFICATES = ("/etc/rundlet/certs.d", "/etc/docker/certs.d")


class Place:
    """Host and port of a server; ``name`` is both as the user wrote them."""

    def __init__(self, name: str) -> None:
        self.name = name
        host, _, port = name.rpartition(":") if name.count(":") == 1 or "]:" in name else (name, "", "")
        self.host = host.strip("[]")
        if port and not port.isdigit():
            raise ServerError(f"{name} has no port number")
        self.port = int(port or 443)


def connect(directory: str, place: Place) -> Connection:
    """``directory`` is the user's configuration. Raises ServerError, CommandError."""
    files = _files(directory, place.name)
    try:
        return _connect(place, _context(files, system=not files))
    except ssl.SSLCertVerificationError:
        # The machine's authorities count as well; they are many, so they are only loaded when they are needed.
        if not files:
            raise
    return _connect(place, _context(files, system=True))


def exchange(
    connection: Connection,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | None,
    limit: int,
    following: str = "",
) -> tuple[Response, bytes]:
    """One request, its answer and the answer's body.

    With ``following`` that target is asked for as well, before the first answer is waited for; :func:`receive` gets it.
    Raises ClientError, OSError, TooLargeError.
    """
    connection.send(method, target, headers, body)
    if following:
        connection.send("GET", following, headers, None)
    return receive(connection, target, limit)


def receive(connection: Connection, target: str, limit: int) -> tuple[Response, bytes]:
    """The next answer and its body. Raises ClientError, OSError, TooLargeError."""
    answer = connection.receive()
    data = bytearray()
    try:
        for chunk in answer.chunks():
            data += chunk
            if len(data) > limit:
                connection.close()
                raise TooLargeError(target.rpartition("/")[2], limit)
    except ValueError as exc:
        raise ClientError("malformed HTTP response") from exc
    return answer, bytes(data)


def nobody_answered(exc: Exception) -> bool:
    """Whether an error of the network is that of nobody being there; one of TLS is that of somebody being there."""
    return isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError)


def words(exc: Exception) -> str:
    """An error of the network as a user reads it."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"tls: {exc.verify_message} (its authority goes to <config>/tls/<host>/ca.crt)"
    if isinstance(exc, ssl.SSLError):
        return f"tls: {(exc.reason or str(exc)).lower().replace('_', ' ')}"
    if isinstance(exc, OSError):
        return (exc.strerror or str(exc)).lower()
    return str(exc).removeprefix("error during connect: ") or type(exc).__name__


def _files(directory: str, name: str) -> list[str]:
    """What ``<config>/tls/<host>`` and ``certs.d/<host>`` hold."""
    found: list[str] = []
    for parent in (f"{directory}/tls", *_CERTIFICATES):
        path = f"{parent}/{name}"
        if os.path.isdir(path):
            found += [f"{path}/{item}" for item in sorted(os.listdir(path)) if item.endswith((".crt", ".cert"))]
    return found


def _context(files: list[str], *, system: bool) -> ssl.SSLContext:
    """Raises CommandError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if system:
        context.load_default_certs()
    for file in files:
        try:
            if file.endswith(".crt"):
                context.load_verify_locations(cafile=file)
            else:
                context.load_cert_chain(file, f"{file.removesuffix('.cert')}.key")
        except (OSError, ssl.SSLError) as exc:
            raise CommandError(f"can't use {file}: {exc}") from exc
    return context


def _connect(place: Place, context: ssl.SSLContext) -> Connection:
    """Raises OSError (with ssl.SSLError), ServerError."""
    proxy = _proxy(place)
    if proxy is not None:
        plain = proxy.connect()
        plain.settimeout(TIMEOUT)
    else:
        # Encoded already, a name keeps the codec for international ones from being imported.
        address = (_encoded(place.host), place.port)
        plain = socket.create_connection(address, TIMEOUT)  # type: ignore[arg-type]  # bytes are fine
    try:
        # A second request doesn't wait for the first one's acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy is not None:
            _tunnel(plain, place, proxy)
        return Connection(context.wrap_socket(plain, server_hostname=_encoded(place.host)), place.name)
    except BaseException:
        plain.close()
        raise


def _encoded(host: str) -> str | bytes:
    return host.encode() if host.isascii() else host


def _proxy(place: Place) -> Proxy | None:
    """The proxy that the environment names for ``place``. Raises ServerError."""
    if not (os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")):
        return None
    from rundlet.client.proxies import chosen

    try:
        return chosen("https", place.host, place.port)
    except ClientError as exc:
        raise ServerError(str(exc)) from exc


def _tunnel(plain: socket.socket, place: Place, proxy: Proxy) -> None:
    """Raises ServerError."""
    try:
        proxy.tunnel(plain, place.host, place.port)
    except ClientError as exc:
        raise ServerError(str(exc)) from exc
