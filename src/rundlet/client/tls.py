"""TLS for ``tcp://`` endpoints, with Docker's certificate files."""

from __future__ import annotations

import os
import socket
import ssl

from rundlet.client.endpoint import TlsSettings
from rundlet.client.errors import ClientError


def wrap(plain: socket.socket, server_name: str, settings: TlsSettings) -> ssl.SSLSocket:
    """``plain`` inside TLS. Raises ClientError with what the handshake or a file said."""
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.cert and os.path.exists(settings.cert):
            context.load_cert_chain(settings.cert, settings.key)
        return context.wrap_socket(plain, server_hostname=server_name)
    except (OSError, ValueError) as exc:
        plain.close()
        raise ClientError(f"error during connect: tls: {exc}") from exc
