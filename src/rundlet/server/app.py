"""The server: routes over a unix socket, and over TCP where it is asked for."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from rundlet.server.connection import Server
from rundlet.server.dispatch import Dispatcher
from rundlet.server.metering import Observe, timed
from rundlet.server.routers.builds.backend import BuildBackend, BuildKitBackend
from rundlet.server.routers.builds.router import routes as build_routes
from rundlet.server.routers.containers.backend import ContainerBackend
from rundlet.server.routers.containers.router import routes as container_routes
from rundlet.server.routers.distribution.backend import DistributionBackend
from rundlet.server.routers.distribution.router import routes as distribution_routes
from rundlet.server.routers.exec.backend import ExecBackend
from rundlet.server.routers.exec.router import routes as exec_routes
from rundlet.server.routers.images.backend import ImageBackend
from rundlet.server.routers.images.router import routes as image_routes
from rundlet.server.routers.networks.backend import NetworkBackend
from rundlet.server.routers.networks.router import routes as network_routes
from rundlet.server.routers.plugins.router import routes as plugin_routes
from rundlet.server.routers.swarm.router import routes as swarm_routes
from rundlet.server.routers.system.backend import SystemBackend
from rundlet.server.routers.system.router import routes as system_routes
from rundlet.server.routers.volumes.backend import VolumeBackend
from rundlet.server.routers.volumes.router import routes as volume_routes
from rundlet.server.routing import Route, RouteTable
from rundlet.server.tls import TlsGate

_MAX_BODY: Final = 8 * 1024 * 1024
"""Of JSON bodies: arguments and environment of a program are 6 MB at most, and other clients wait while one is read.
Archives are streamed and have no limit here."""
_MAX_LINE: Final = 1024 * 1024
"""Of the request line and of each header: filters and registry credentials grow long."""
_READ_AHEAD: Final = 512 * 1024
"""Bytes of a body that may wait for who works on it: twice what is read at once, so that archives flow."""
_KEEP_ALIVE: Final = 3600.0
_SHUTDOWN: Final = 5.0
_CUT: Final = 0.05
"""Seconds for streams that are under way at the end; aiohttp takes 0 for no limit at all."""
_WAITING: Final = 512
"""Clients that the kernel keeps until they are taken in."""
_AT_ONCE: Final = 1
"""How many of them are taken in at a time. When no descriptor is free, asyncio tries as often as this in a row, and a
second later as often again for each of these: with more than one, nothing else would be done any more."""


@dataclass(frozen=True, slots=True)
class Backends:
    """The engine's services, each as the narrow interface that its router declares."""

    containers: ContainerBackend
    exec: ExecBackend
    images: ImageBackend
    networks: NetworkBackend
    volumes: VolumeBackend
    system: SystemBackend
    distribution: DistributionBackend
    builds: BuildBackend
    buildkit: BuildKitBackend


def all_routes(backends: Backends) -> Iterable[Route]:
    """Every endpoint, of what Rundlet does and of what it refuses by name."""
    yield from system_routes(backends.system)
    yield from container_routes(backends.containers)
    yield from exec_routes(backends.exec)
    yield from image_routes(backends.images)
    yield from network_routes(backends.networks)
    yield from volume_routes(backends.volumes)
    yield from distribution_routes(backends.distribution)
    yield from build_routes(backends.builds, backends.buildkit)
    yield from plugin_routes()
    yield from swarm_routes()


class APIServer:
    """Serves the Engine API on any number of listening sockets."""

    def __init__(self, backends: Backends, observe: Observe | None = None) -> None:
        """``observe`` is told how long some actions took."""
        routes = all_routes(backends)
        self._dispatcher = Dispatcher(RouteTable(routes if observe is None else timed(routes, observe)))
        self._server = Server(
            self._dispatcher,
            request_factory=_make_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            auto_decompress=False,
            read_bufsize=_READ_AHEAD,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
        self._listeners: list[asyncio.Server] = []
        self._gates: list[TlsGate] = []

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound socket, unix or TCP (inside ``tls``); it is owned from now on."""
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            # From 3.13 on asyncio would remove the path at the end: it may be a service manager's.
            keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
            server = await loop.create_unix_server(self._server, sock=sock, backlog=_AT_ONCE, **keep)
        else:
            factory: Callable[[], asyncio.BaseProtocol] = self._server
            if tls is not None:
                factory = gate = TlsGate(tls, self._server)
                self._gates.append(gate)
            server = await loop.create_server(factory, sock=sock, backlog=_AT_ONCE)
        sock.listen(_WAITING)
        self._listeners.append(server)

    async def close(self) -> None:
        """Accept nothing more, let running changes finish for a few seconds, then close every connection."""
        for server in self._listeners:
            server.close()
        self._listeners.clear()
        try:
            async with asyncio.timeout(_SHUTDOWN):
                await self._dispatcher.finish()
        except TimeoutError:
            pass
        await self._server.shutdown(_CUT)
        for gate in self._gates:
            gate.close()


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY)
