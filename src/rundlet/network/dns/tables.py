"""The engine's name tables, read again whenever the engine has replaced a file."""

import json
import os
import socket
from typing import Any, Final, NamedTuple

from rundlet.network.dns import message
from rundlet.network.dns.message import Query, Record

_LARGEST: Final = 64 << 20  # bytes

Document = dict[str, Any]
Found = dict[int, list[str]]
"""Addresses by the type of record that holds them."""

_NAMES: Final = ((message.A, "names"), (message.AAAA, "names6"))
_KINDS: Final = {message.A: (message.A,), message.AAAA: (message.AAAA,), message.ANY: (message.A, message.AAAA)}


class Server(NamedTuple):
    """A resolver to forward to; ``from_host``: by the host's network, not the container's."""

    address: str
    from_host: bool


class _Cached(NamedTuple):
    identity: tuple[int, int, int]
    document: Document


class Tables:
    """``directory`` is an open descriptor: the files are found wherever mounts have gone since."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._cache: dict[str, _Cached] = {}
        self._turn = 0

    def forget(self, sandbox: str) -> None:
        self._cache.pop(sandbox, None)

    def answer(self, sandbox: str, query: Query) -> list[Record] | None:
        """What the sandbox's networks know; None when the question is for others to answer."""
        table = self._load(sandbox)
        networks = [(identifier, self._load(identifier)) for identifier in table.get("networks", ())]
        if query.kind == message.PTR:
            return self._pointer(networks, query.name)
        addresses = self._addresses(table, networks, query.name)
        if addresses is None:
            return None
        kinds = _KINDS.get(query.kind, ())
        # A name without an address of that kind exists all the same: nobody else is asked.
        return [Record(kind, _packed(address)) for kind in kinds for address in self._turned(addresses[kind])]

    def servers(self, sandbox: str) -> list[Server]:
        """Where the rest goes; nowhere from internal networks."""
        table = self._load(sandbox)
        if not table.get("forward"):
            return []
        return [Server(str(address), bool(from_host)) for address, from_host in table.get("servers", ())]

    def answers_alone(self, sandbox: str, query: Query) -> bool:
        """Whether nobody else is asked for an address, as the name has no dot and the client wants to see some."""
        asked = query.kind in (message.A, message.AAAA) and "." not in query.name
        return asked and bool(self._load(sandbox).get("dotted"))

    def _pointer(self, networks: list[tuple[str, Document]], name: str) -> list[Record] | None:
        address = message.reverse_address(name)
        for _, network in networks:
            found = network.get("pointers", {}).get(address)
            if found:
                return [Record(message.PTR, message.encode_name(found))]
        return None

    def _addresses(self, table: Document, networks: list[tuple[str, Document]], name: str) -> Found | None:
        """Of ``name``, or of ``name.network``; aliases that the container itself gave come first."""
        for identifier, network in networks:
            alias = table.get("links", {}).get(identifier, {}).get(name)
            found = {kind: list(network.get(key, {}).get(alias or name, ())) for kind, key in _NAMES}
            if any(found.values()):
                return found
        for identifier, network in networks:
            suffix = f".{str(network.get('name', '')).lower()}"
            if name.endswith(suffix) and name != suffix:
                return self._addresses(table, [(identifier, network | {"name": "\0"})], name.removesuffix(suffix))
        return None

    def _turned(self, addresses: list[str]) -> list[str]:
        """Each client's first choice is another one: round robin."""
        if len(addresses) < 2:
            return addresses
        self._turn += 1
        start = self._turn % len(addresses)
        return addresses[start:] + addresses[:start]

    def _load(self, name: str) -> Document:
        """A file's content; empty when there is none (any more)."""
        try:
            found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            cached = self._cache.get(name)
            if cached is not None and cached.identity == identity:
                return cached.document
            document = self._read(name)
        except (OSError, ValueError):
            self._cache.pop(name, None)
            return {}
        self._cache[name] = _Cached(identity, document)
        return document

    def _read(self, name: str) -> Document:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._directory)
        with os.fdopen(fd, "rb") as file:
            document = json.loads(file.read(_LARGEST))
        if not isinstance(document, dict):
            raise ValueError(name)
        return document


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
