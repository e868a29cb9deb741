"""Entries for systemd's journal, in its native protocol. See: systemd.io/JOURNAL_NATIVE_PROTOCOL."""

import errno
import fcntl
import os
import socket
import struct
from typing import Any, Final

from rundlet.runtime import protocol

SOCKET: Final = "/run/systemd/journal/socket"
_PRIORITIES: Final = {2: b"3", 1: b"6"}
_SECONDS: Final = 5.0
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_LENGTH: Final = struct.Struct("<Q")


class Journal:
    """``fields`` go with every entry."""

    def __init__(self, settings: dict[str, Any], fields: dict[str, str]) -> None:
        self._path: str = settings.get("socket") or SOCKET
        self._fields = b"".join(field(name, value.encode()) for name, value in fields.items())
        self._socket: socket.socket | None = None

    def send(self, stream: int, time_ns: int, message: bytes, *, partial: bool) -> None:
        """Raises: OSError; the next call connects again."""
        data = self.encode(stream, time_ns, message, partial=partial)
        if self._socket is None:
            self._socket = self._connect()
        try:
            self._socket.send(data)
        except OSError as exc:
            if exc.errno in (errno.EMSGSIZE, errno.ENOBUFS):
                self._send_in_memory(data)
                return
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def encode(self, stream: int, time_ns: int, message: bytes, *, partial: bool) -> bytes:
        """One entry's datagram."""
        parts = [
            field("MESSAGE", message),
            field("PRIORITY", _PRIORITIES.get(stream, b"6")),
            field("SYSLOG_TIMESTAMP", _timestamp(time_ns)),
            self._fields,
        ]
        if partial:
            parts.append(field("CONTAINER_PARTIAL_MESSAGE", b"true"))
        return b"".join(parts)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connection.settimeout(_SECONDS)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def _send_in_memory(self, data: bytes) -> None:
        """What is too long for a datagram goes as a sealed memory file."""
        assert self._socket is not None
        memory = os.memfd_create("entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(data)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            protocol.send_packet(self._socket, b"", [memory])
        finally:
            os.close(memory)


def field(name: str, value: bytes) -> bytes:
    """``NAME=value``, or with its length where the value has lines."""
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _timestamp(time_ns: int) -> bytes:
    from rundlet.runtime.logfile import timestamp

    return timestamp(time_ns)
