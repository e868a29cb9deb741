"""What goes wrong between two machines, translated once from aiohttp's exceptions into Docker's wording."""

import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import aiohttp

from rundlet.errors import InternalError

Kind = Literal[
    "refused", "unresolved", "unreachable", "timeout", "tls", "plain", "cut", "protocol", "redirect", "proxy"
]

UNREACHABLE_KINDS: frozenset[Kind] = frozenset({"refused", "unresolved", "unreachable", "timeout", "proxy"})

_FAILED_ADDRESS = re.compile(r"\('([^']+)', (\d+)")
_ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "i/o timeout",
    errno.ECONNRESET: "connection reset by peer",
    errno.EPIPE: "broken pipe",
}


WORDS = 1000
"""Letters of somebody else's words that are shown."""

_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/@\s]*@")


def without_password(text: str) -> str:
    """``text`` with the passwords of addresses in it as Go's HTTP client shows them: messages are logged and kept."""
    return _PASSWORD.sub(r"\1:***@", text)


class TransportError(InternalError):
    """A request did not get its whole answer.

    ``kind`` says why; ``unreachable`` is true when no registry was talked to at all, so that a caller can tell what
    still works without one. The message has the form ``Get "https://host/v2/": dial tcp …: connection refused``.
    """

    reason = "transport"

    def __init__(self, method: str, url: str, kind: Kind, detail: str) -> None:
        super().__init__(without_password(f'{method.capitalize()} "{url}": {detail}'))
        self.method = method
        self.url = url
        self.kind = kind
        self.detail = detail

    @property
    def unreachable(self) -> bool:
        return self.kind in UNREACHABLE_KINDS

    @property
    def temporary(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.kind in ("refused", "unreachable", "timeout", "cut")


def translate(exc: BaseException, method: str, url: str) -> TransportError:
    """The :class:`TransportError` that ``exc``, raised by aiohttp or the socket layer, stands for."""
    kind, detail = _describe(exc)
    return TransportError(method, url, kind, detail)


def _describe(exc: BaseException) -> tuple[Kind, str]:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return "tls", _certificate_words(exc.certificate_error)
    if isinstance(exc, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return "proxy", f"proxyconnect tcp: {_proxy_words(exc)}"
    if isinstance(exc, aiohttp.ClientSSLError):
        return _handshake(exc)
    if isinstance(exc, aiohttp.ClientConnectorError):
        return _dial(exc)
    if isinstance(exc, TimeoutError):
        return "timeout", "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    if isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "cut", "unexpected EOF"
    if isinstance(exc, OSError):
        return "cut", _ERRNO_WORDS.get(exc.errno or 0, exc.strerror or "unexpected EOF")
    return "protocol", f"malformed HTTP response: {_parser_words(exc)}"


def _parser_words(exc: BaseException) -> str:
    """What the parser did not like, without the bytes that it shows in further lines."""
    text = exc.message if isinstance(exc, aiohttp.ClientResponseError) else str(exc)
    line = printable(next((line for line in text.splitlines() if line.strip()), type(exc).__name__), 120)
    return line.rstrip(":")


def _proxy_words(exc: aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError) -> str:
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return _dial(exc)[1]
    return f"{exc.status} {exc.message}"


def _certificate_words(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or str(error)
    code = getattr(error, "verify_code", 0)
    words = {
        10: "certificate has expired or is not yet valid",
        18: "certificate signed by unknown authority",
        19: "certificate signed by unknown authority",
        20: "certificate signed by unknown authority",
        21: "certificate signed by unknown authority",
    }.get(code, reason)
    return f"tls: failed to verify certificate: x509: {words}"


def _handshake(exc: aiohttp.ClientSSLError) -> tuple[Kind, str]:
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    text = str(cause).upper()
    if isinstance(cause, ssl.SSLError) and any(
        mark in text for mark in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH")
    ):
        return "plain", "http: server gave HTTP response to HTTPS client"
    return "tls", f"remote error: tls: {getattr(cause, 'reason', None) or cause}"


def _dial(exc: aiohttp.ClientConnectorError) -> tuple[Kind, str]:
    error = exc.os_error
    if isinstance(error, socket.gaierror):
        words = "no such host" if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else "server misbehaving"
        return "unresolved", f"dial tcp: lookup {exc.host}: {words}"
    found = _FAILED_ADDRESS.search(str(error))
    host, port = (found[1], found[2]) if found else (str(exc.host), str(exc.port))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    number = error.errno or 0
    if number == 0 and "Connect call failed" in str(error):
        number = errno.ECONNREFUSED
    if number == 0 and not str(error):
        return "unreachable", "EOF"  # it hung up instead of answering the TLS handshake
    kind: Kind = "refused" if number == errno.ECONNREFUSED else "unreachable"
    words = _ERRNO_WORDS.get(number) or (os.strerror(number).lower() if number else str(error))
    return kind, f"dial tcp {address}: connect: {words}"


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Seconds that ``Retry-After`` asks for, itself or by a date; nonsense counts as absent."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit() and value.isascii():
        return float(value) if len(value) < 10 else None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now()) if value else None
    except (ValueError, OverflowError):
        return None


def printable(text: str, limit: int = WORDS) -> str:
    """``text`` from outside, for one line on a terminal."""
    clean = "".join(c if c.isprintable() else " " for c in text[: limit + 1]).strip()
    return clean if len(clean) <= limit else clean[:limit] + "…"


def unparsed(status: int, body: bytes) -> str:
    """What is said of a refusal whose body is not the JSON that registries speak: the words that Docker has for it."""
    text = body[:WORDS].decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    begin = text.lstrip()[:1]
    if not begin:
        why = "unexpected end of JSON input"
    elif begin == "{":
        why = "no error details found in HTTP response body"
    else:
        why = f"invalid character '{begin}' looking for beginning of value"
    return f'error parsing HTTP {status} response body: {why}: "{shown}"'
