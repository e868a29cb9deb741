"""Connections through another network than the process's own: an engine in a network namespace that pulls images."""

import asyncio
import socket
from typing import Protocol

from aiohttp import AddrInfoType, SocketFactoryType
from aiohttp.abc import AbstractResolver, ResolveResult


class Outside(Protocol):
    """The other network. Both calls block for a moment and may be made by any thread."""

    def new_socket(self, family: int, kind: int) -> socket.socket:
        """A new, unconnected socket there. Raises: OSError."""
        ...

    def resolve(self, host: str, family: int) -> list[tuple[str, int]]:
        """The addresses of ``host`` as seen there, each with its family. Raises: OSError."""
        ...


class OutsideResolver(AbstractResolver):
    """Names as the other network knows them."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await asyncio.to_thread(self._outside.resolve, host, int(family))
        except OSError as exc:
            raise socket.gaierror(socket.EAI_NONAME, exc.strerror or "Name or service not known") from exc
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address, kind in found
        ]

    async def close(self) -> None:
        return


def socket_factory(outside: Outside) -> SocketFactoryType:
    """For aiohttp's connector."""

    def make(address: AddrInfoType) -> socket.socket:
        made = outside.new_socket(address[0], address[1])
        made.setblocking(False)
        return made

    return make
