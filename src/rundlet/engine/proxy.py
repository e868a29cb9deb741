"""Keeps the proxy running, and gives it the host's sockets of published ports (see ``network.proxy``)."""

import array
import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Sequence

from rundlet.engine.keeper import WorkerKeeper
from rundlet.linux import pidfd
from rundlet.network.portmap import PublishedPort, Reservation
from rundlet.runtime.launch import Launcher

_MOST_PORTS = 100  # in one message
_SYNC = json.dumps({"sync": True}).encode()
_PATIENCE = 2.0


class ProxyKeeper(WorkerKeeper):
    """``path`` is the proxy's socket; ``sources``: containers see their clients' own addresses."""

    def __init__(self, launcher: Launcher, path: str, *, sources: bool = False) -> None:
        super().__init__(launcher, "transparent-proxy" if sources else "proxy", path)

    async def serve(self, container_id: str, reservation: Reservation) -> None:
        """Have the proxy answer at a starting container's ports, for as long as its shim holds the reservation.

        Raises LauncherError, OSError.
        """
        if reservation.proxied:
            await self.ensure()
            reservation.keep(self._handed_over(container_id, reservation.target, reservation.proxied))

    async def settle(self) -> None:
        """Wait until the proxy has let go of the ports of containers that have ended: they may be wanted again."""
        if self._connection is None:
            return
        loop = asyncio.get_running_loop()
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with asking, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await loop.sock_connect(asking, self._path)
                await loop.sock_sendall(asking, _SYNC)
                await loop.sock_recv(asking, 16)

    def move(self, container_id: str, address: str) -> None:
        """The container is reached at another address from now on."""
        self.tell(json.dumps({"move": container_id, "address": address}).encode())

    def restore(
        self, container_id: str, shim: int, address: str, ports: Sequence[PublishedPort]
    ) -> socket.socket | None:
        """A new proxy gets the sockets of a running container from its shim; the connection is for that to hold.

        Raises OSError.
        """
        with contextlib.ExitStack() as opened:
            found = _sockets(shim, ports, opened)
            return self._handed_over(container_id, address, found) if found else None

    def _handed_over(
        self, container_id: str, address: str, proxied: Sequence[tuple[PublishedPort, socket.socket]]
    ) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._path)
            for start in range(0, len(proxied), _MOST_PORTS):
                part = proxied[start : start + _MOST_PORTS]
                ports = [[port.protocol, port.container_port] for port, _ in part]
                message = json.dumps({"id": container_id, "address": address, "ports": ports}).encode()
                rights = array.array("i", (held.fileno() for _, held in part)).tobytes()
                connection.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_NOSIGNAL)
        except BaseException:
            connection.close()
            raise
        return connection


def _sockets(
    pid: int, ports: Sequence[PublishedPort], opened: contextlib.ExitStack
) -> list[tuple[PublishedPort, socket.socket]]:
    """The sockets that a process holds for ``ports``: copies, which ``opened`` closes. Raises OSError."""
    wanted = {(port.protocol, port.host_address, port.host_port): port for port in ports}
    process = pidfd.open(pid)
    opened.callback(os.close, process)
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
            copy = socket.socket(fileno=pidfd.getfd(process, int(name)))
            opened.callback(copy.close)
            if copy.family in (socket.AF_INET, socket.AF_INET6):
                address, number = copy.getsockname()[:2]
                protocol = "tcp" if copy.type == socket.SOCK_STREAM else "udp"
                port = wanted.pop((protocol, address, number), None)
                if port is not None:
                    found.append((port, copy))
    return found
