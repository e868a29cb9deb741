"""TLS for ``tcp://`` endpoints, with Docker's certificate files."""

from __future__ import annotations

import os
import socket
import ssl

from rundlet.client.endpoint import TlsSettings
from rundlet.client.errors import ClientError

READ_SIZE = 65536


class TlsSocket:
    """A connection inside TLS that can be half-closed, which ``ssl.SSLSocket`` can't be."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        """Raises OSError when the handshake fails."""
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._ahead = b""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # The alert that tells the other side why.
                raise
        self._flush()

    def recv(self, size: int, /) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def recv_into(self, buffer: memoryview, /) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
            self._flush()

    def shutdown(self, _how: int, /) -> None:
        """No more goes out; what comes in can be read on."""
        try:
            while data := self._tls.read(READ_SIZE):
                self._ahead += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # The other side's last word is yet to come.
        self._flush()

    def pending(self) -> int:
        """Bytes that have come and are yet to be read, at least."""
        return len(self._ahead) + self._tls.pending() + self._incoming.pending

    def fileno(self) -> int:
        return self._plain.fileno()

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        self._plain.setsockopt(level, option, value)

    def close(self) -> None:
        self._plain.close()

    def _fill(self) -> None:
        data = self._plain.recv(READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._plain.sendall(data)


def wrap(plain: socket.socket, server_name: str, settings: TlsSettings) -> TlsSocket:
    """``plain`` inside TLS. Raises ClientError with what the handshake or a file said."""
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.cert and os.path.exists(settings.cert):
            context.load_cert_chain(settings.cert, settings.key)
        return TlsSocket(plain, context, server_name)
    except (OSError, ValueError) as exc:
        plain.close()
        raise ClientError(f"error during connect: tls: {exc}") from exc
