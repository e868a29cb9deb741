"""The resolver's main. It serves for as long as a sandbox or an engine is connected to it.

Its descriptors: a listening SEQPACKET socket, and the directory of the name tables. Who connects sends one JSON object:
``{"id": …}`` with three descriptors (a UDP and a listening TCP socket of the sandbox, its network namespace), or
``{"engine": true}`` with none. The end of a connection is the end of what it stands for.
"""

import json
import os
import socket
from typing import Final

from rundlet.linux import caps, libc, ns
from rundlet.linux.loop import Loop
from rundlet.network.dns.forward import Forwarder
from rundlet.network.dns.sandboxes import Sandbox
from rundlet.network.dns.tables import Tables
from rundlet.network.serving.connections import Connections

_FDS: Final = 3


def main(fds: list[int]) -> int:
    """``fds``: the listening socket and the tables' directory. Returns the process's exit status."""
    libc.set_name("rundlet-dns")
    home = ns.open_namespace("self", "network")
    _drop_rights()
    loop = Loop()
    tables = Tables(os.dup(fds[1]))
    listener = socket.socket(fileno=os.dup(fds[0]))
    _Resolver(loop, tables, Forwarder(loop, home), listener)
    loop.run()
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
        Connections(loop, listener, self._heard, self._ended, most_fds=_FDS)

    def _heard(
        self, data: bytes, fds: list[int], _connection: socket.socket, sandbox: Sandbox | None
    ) -> Sandbox | None:
        hello = json.loads(data)
        if hello.get("engine") and not fds:
            return sandbox
        identifier = hello["id"]
        if sandbox is not None or len(fds) != _FDS or not isinstance(identifier, str) or not identifier.isalnum():
            raise ValueError(identifier)
        return Sandbox(self._loop, self._tables, self._forwarder, identifier, (fds[0], fds[1], fds[2]))

    def _ended(self, sandbox: Sandbox) -> None:
        sandbox.close()
        self._tables.forget(sandbox.identifier)
