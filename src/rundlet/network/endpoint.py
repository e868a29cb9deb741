"""Endpoints: one container's place in one network, recorded until it is released.

The record is written before anything exists in the kernel, so that an engine that dies halfway leaves nothing that the
next one does not know of.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from rundlet.network.portmap import PublishedPort
from rundlet.util.database import Database

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS endpoints (
        id TEXT PRIMARY KEY,
        container_id TEXT NOT NULL,
        network_id TEXT NOT NULL,
        name TEXT NOT NULL,
        address TEXT NOT NULL,
        prefix INTEGER NOT NULL,
        gateway TEXT NOT NULL,
        mac TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS endpoint_containers ON endpoints (container_id)",
)

_COLUMNS = "id, container_id, network_id, name, address, prefix, gateway, mac"
_PORT_COLUMNS = "protocol, container_port, host_address, host_port"


class Endpoint(msgspec.Struct, frozen=True):
    """A container's interface in a network."""

    id: str
    container_id: str
    network_id: str
    name: str
    """The container's name when it was made."""
    address: str
    prefix: int
    gateway: str
    mac: str


def host_name(instance: str, endpoint_id: str) -> str:
    """The name of the host's end of an endpoint's veth, 15 characters: ``rv<4 hex>-<8 hex>``."""
    return f"rv{instance[:4]}-{endpoint_id[:8]}"


def host_name_prefix(instance: str) -> str:
    return f"rv{instance[:4]}-"


class EndpointStore:
    """Reads endpoints; writes go through a caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Endpoint]:
        return [_decode(row) for row in self._database.query(f"SELECT {_COLUMNS} FROM endpoints")]  # noqa: S608

    def of_container(self, container_id: str) -> list[Endpoint]:
        query = f"SELECT {_COLUMNS} FROM endpoints WHERE container_id = ?"  # noqa: S608
        return [_decode(row) for row in self._database.query(query, (container_id,))]

    def of_network(self, network_id: str) -> list[Endpoint]:
        query = f"SELECT {_COLUMNS} FROM endpoints WHERE network_id = ?"  # noqa: S608
        return [_decode(row) for row in self._database.query(query, (network_id,))]

    def ports(self, endpoint_id: str) -> list[PublishedPort]:
        """The ports published for an endpoint."""
        query = f"SELECT {_PORT_COLUMNS} FROM published_ports WHERE endpoint_id = ?"  # noqa: S608
        return sorted(PublishedPort(*row) for row in self._database.query(query, (endpoint_id,)))

    def published(self) -> list[tuple[str, PublishedPort]]:
        """Every published port with its endpoint's address."""
        query = (
            "SELECT e.address, p.protocol, p.container_port, p.host_address, p.host_port"
            " FROM published_ports p JOIN endpoints e ON e.id = p.endpoint_id"
        )
        return [(row[0], PublishedPort(*row[1:])) for row in self._database.query(query)]


def insert(cursor: sqlite3.Cursor, endpoint: Endpoint, ports: Sequence[PublishedPort]) -> None:
    """Record an endpoint and its ports within the caller's transaction."""
    cursor.execute(
        f"INSERT INTO endpoints ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        msgspec.structs.astuple(endpoint),
    )
    cursor.executemany(
        f"INSERT INTO published_ports (endpoint_id, {_PORT_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(endpoint.id, p.protocol, p.container_port, p.host_address, p.host_port) for p in ports],
    )


def delete(cursor: sqlite3.Cursor, endpoint_id: str) -> None:
    """Remove an endpoint's record and its ports within the caller's transaction. Its address stays taken."""
    cursor.execute("DELETE FROM published_ports WHERE endpoint_id = ?", (endpoint_id,))
    cursor.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))


def _decode(row: Sequence[Any]) -> Endpoint:
    return Endpoint(*row)
