"""Messages for syslog servers, with Docker's formats, over unix sockets, UDP, TCP and TLS. See: RFC 3164, RFC 5424."""

import os
import socket
import time
from typing import Any, Final

INFO: Final = 6
ERROR: Final = 3
STDERR: Final = 2
_LOCAL: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
_SECONDS: Final = 5.0  # for connecting, and for what a server doesn't take
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Syslog:
    """One server. ``network`` is "" (the machine's own), unix, unixgram, udp, tcp or tcp+tls."""

    def __init__(self, settings: dict[str, Any], tag: str) -> None:
        self._network: str = settings["network"]
        self._address: str = settings["address"]
        self._facility: int = settings["facility"]
        self._format: str = settings["format"]
        self._tls: dict[str, Any] = settings.get("tls") or {}
        self._tag = tag
        self._host = socket.gethostname()
        self._pid = os.getpid()
        self._socket: socket.socket | None = None

    def send(self, stream: int, time_ns: int, message: bytes, *, partial: bool) -> None:
        """Raises: OSError; the next call connects again."""
        del partial  # syslog has no word for it
        if self._socket is None:
            self._socket = self._connect()
        try:
            self._socket.sendall(self.encode(stream, time_ns, message))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def encode(self, stream: int, time_ns: int, message: bytes) -> bytes:
        """One message as it goes over the wire, with the newline that ends it."""
        priority = self._facility << 3 | (ERROR if stream == STDERR else INFO)
        seconds = time_ns // 10**9
        if self._format.startswith("rfc5424"):
            stamp = _rfc3339(seconds, time_ns if self._format.endswith("micro") else None)
            head = f"<{priority}>1 {stamp} {self._host} {self._tag} {self._pid} {self._tag} - "
        elif self._format == "rfc3164":
            head = f"<{priority}>{_stamp(seconds)} {self._host} {self._tag}[{self._pid}]: "
        else:
            head = f"<{priority}>{_stamp(seconds)} {self._tag}[{self._pid}]: "
        data = head.encode() + message
        if self._format.startswith("rfc5424") and self._network == "tcp+tls":
            return b"%d %s" % (len(data), data)  # RFC 5425: messages are counted, not ended
        return data + b"\n"

    def _connect(self) -> socket.socket:
        if self._network in ("tcp", "tcp+tls"):
            connection = socket.create_connection(_split(self._address), timeout=_SECONDS)
            return self._secure(connection) if self._network == "tcp+tls" else connection
        if self._network == "udp":
            return _connect_udp(_split(self._address))
        return _connect_unix((self._address,) if self._address else _LOCAL, self._network)

    def _secure(self, connection: socket.socket) -> socket.socket:
        import ssl

        try:
            context = ssl.create_default_context(cafile=self._tls.get("ca") or None)
            if self._tls.get("skip_verify"):
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self._tls.get("cert"):
                context.load_cert_chain(self._tls["cert"], self._tls.get("key") or None)
            return context.wrap_socket(connection, server_hostname=_split(self._address)[0])
        except BaseException:
            connection.close()
            raise


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _connect_udp(address: tuple[str, int]) -> socket.socket:
    family, kind, protocol, _, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    connection = socket.socket(family, kind, protocol)
    connection.settimeout(_SECONDS)
    connection.connect(found)
    return connection


def _connect_unix(paths: tuple[str, ...], network: str) -> socket.socket:
    """Datagrams first, as every syslog daemon wants them; ``unix`` and the machine's own may be streams, too."""
    kinds = [socket.SOCK_DGRAM] if network == "unixgram" else [socket.SOCK_DGRAM, socket.SOCK_STREAM]
    failure: OSError = FileNotFoundError(2, "Unix syslog delivery error")
    for kind in kinds:
        for path in paths:
            connection = socket.socket(socket.AF_UNIX, kind)
            connection.settimeout(_SECONDS)
            try:
                connection.connect(path)
                return connection
            except OSError as exc:
                connection.close()
                failure = exc
    raise failure


def _stamp(seconds: int) -> str:
    """Go's time.Stamp, ``Jan _2 15:04:05``, whatever the locale."""
    now = time.localtime(seconds)
    return f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"


def _rfc3339(seconds: int, time_ns: int | None) -> str:
    now = time.localtime(seconds)
    fraction = f".{time_ns // 1000 % 10**6:06d}" if time_ns is not None else ""
    offset = now.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    zone = f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}" if offset else "Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", now) + fraction + zone
