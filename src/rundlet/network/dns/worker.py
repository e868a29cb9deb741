"""The resolver's main. It serves for as long as a sandbox or an engine is connected to it.

Its descriptors: a listening SEQPACKET socket, and the directory of the name tables. Who connects sends one JSON object:
``{"id": …}`` with three descriptors (a UDP and a listening TCP socket of the sandbox, its network namespace), or
``{"engine": true}`` with none. The end of a connection is the end of what it stands for.
"""

import array
import json
import os
import socket
import struct
from typing import Final

from rundlet.linux import caps, libc, ns
from rundlet.network.dns.forward import Forwarder
from rundlet.network.dns.loop import READ, Loop
from rundlet.network.dns.sandboxes import Sandbox
from rundlet.network.dns.tables import Tables

_GRACE: Final = 1.0  # seconds without anybody, then it ends
_MAX_MESSAGE: Final = 4096
_FDS: Final = 3


def main(fds: list[int]) -> int:
    """``fds``: the listening socket and the tables' directory. Returns the process's exit status."""
    libc.set_name("rundlet-dns")
    home = ns.open_namespace("self", "network")
    _drop_rights()
    loop = Loop()
    tables = Tables(os.dup(fds[1]))
    listener = socket.socket(fileno=os.dup(fds[0]))
    _Resolver(loop, tables, Forwarder(loop, home), listener).run()
    return 0


def _drop_rights() -> None:
    """Entering a container's network namespace, to ask from there, is all that it may do beyond being who it is."""
    keep = caps.mask(["CAP_SYS_ADMIN"])
    caps.drop_bounding(keep)
    caps.set_capabilities(keep, keep, 0)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


class _Resolver:
    def __init__(self, loop: Loop, tables: Tables, forwarder: Forwarder, listener: socket.socket) -> None:
        self._loop = loop
        self._tables = tables
        self._forwarder = forwarder
        self._listener = listener
        self._connections: dict[int, tuple[socket.socket, Sandbox | None]] = {}
        self._ending = loop.later(_GRACE, loop.stop)
        listener.setblocking(False)
        loop.add(listener.fileno(), READ, self._accept)

    def run(self) -> None:
        self._loop.run()

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if _user_of(connection) not in (0, os.geteuid()):
            connection.close()
            return
        connection.setblocking(False)
        self._ending.cancel()
        number = connection.fileno()
        self._connections[number] = (connection, None)
        self._loop.add(number, READ, lambda _events: self._readable(number))

    def _readable(self, number: int) -> None:
        connection, sandbox = self._connections[number]
        try:
            data, fds = _receive(connection)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        identifier = _identifier(data)
        if identifier is None or (identifier and (sandbox is not None or len(fds) != _FDS)):
            for fd in fds:
                os.close(fd)
            self._drop(number)
        elif identifier:
            made = Sandbox(self._loop, self._tables, self._forwarder, identifier, (fds[0], fds[1], fds[2]))
            self._connections[number] = (connection, made)

    def _drop(self, number: int) -> None:
        connection, sandbox = self._connections.pop(number)
        self._loop.remove(number)
        connection.close()
        if sandbox is not None:
            sandbox.close()
            self._tables.forget(sandbox.identifier)
        if not self._connections:
            self._ending = self._loop.later(_GRACE, self._loop.stop)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    data, ancillary, _, _ = connection.recvmsg(_MAX_MESSAGE, socket.CMSG_SPACE(_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def _identifier(data: bytes) -> str | None:
    """The sandbox that the connection stands for, empty for an engine; None for the end, or nonsense."""
    try:
        hello = json.loads(data)
        if hello.get("engine"):
            return ""
        identifier = hello["id"]
    except (ValueError, AttributeError, KeyError):
        return None
    return identifier if isinstance(identifier, str) and identifier.isalnum() else None


def _user_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
    user: int = struct.unpack("=3i", credentials)[1]
    return user
