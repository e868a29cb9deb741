"""Endpoints: one container's place in one network, recorded until it is released.

The record is written before anything exists in the kernel, so that an engine that dies halfway leaves nothing that the
next one does not know of.
"""

import json
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
        mac TEXT NOT NULL,
        interface TEXT NOT NULL,
        names TEXT NOT NULL,
        links TEXT NOT NULL,
        gw_priority INTEGER NOT NULL,
        is_gateway INTEGER NOT NULL,
        UNIQUE (container_id, network_id)
    )""",
    "CREATE INDEX IF NOT EXISTS endpoint_containers ON endpoints (container_id)",
    "CREATE INDEX IF NOT EXISTS endpoint_networks ON endpoints (network_id)",
)

_COLUMNS = (
    "id, container_id, network_id, name, address, prefix, gateway, mac, interface, gw_priority, is_gateway,"
    " names, links"
)
_PORT_COLUMNS = "protocol, container_port, host_address, host_port"


class Endpoint(msgspec.Struct, frozen=True):
    """A container's interface in a network."""

    id: str
    container_id: str
    network_id: str
    name: str
    """The container's name."""
    address: str
    prefix: int
    gateway: str
    """Empty where the network has no way out."""
    mac: str
    interface: str = "eth0"
    gw_priority: int = 0
    is_gateway: bool = False
    """The container's default route, and its published ports, go by this network."""
    names: tuple[str, ...] = ()
    """What the network's other containers may call it."""
    links: tuple[str, ...] = ()
    """``name:alias``: what it calls others."""


class Wanted(msgspec.Struct, frozen=True):
    """What a container asks of one network."""

    network: str
    """Name or id."""
    address: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gw_priority: int = 0


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
        return self._select("")

    def containers(self) -> set[str]:
        """Who has anything."""
        query = "SELECT container_id FROM endpoints UNION SELECT container_id FROM published_ports"
        return {str(row[0]) for row in self._database.query(query)}

    def of_container(self, container_id: str) -> list[Endpoint]:
        """In the order of their interfaces."""
        return self._select("WHERE container_id = ? ORDER BY length(interface), interface", container_id)

    def of_network(self, network_id: str) -> list[Endpoint]:
        return self._select("WHERE network_id = ?", network_id)

    def _select(self, where: str, *parameters: str) -> list[Endpoint]:
        rows = self._database.query(f"SELECT {_COLUMNS} FROM endpoints {where}", parameters)  # noqa: S608
        return [_decode(row) for row in rows]

    def ports(self, container_id: str) -> list[PublishedPort]:
        """The ports published for a container."""
        query = f"SELECT {_PORT_COLUMNS} FROM published_ports WHERE container_id = ?"  # noqa: S608
        return sorted(PublishedPort(*row) for row in self._database.query(query, (container_id,)))

    def published(self, container_id: str = "") -> list[tuple[str, PublishedPort]]:
        """Every port that leads somewhere now (of one container or all), with the address that it leads to."""
        query = (
            "SELECT e.address, p.protocol, p.container_port, p.host_address, p.host_port FROM published_ports p"
            " JOIN endpoints e ON e.container_id = p.container_id AND e.is_gateway = 1"
            " JOIN networks n ON n.id = e.network_id AND n.driver = 'bridge'"
        )
        if container_id:
            rows = self._database.query(f"{query} WHERE p.container_id = ?", (container_id,))
        else:
            rows = self._database.query(query)
        return [(row[0], PublishedPort(*row[1:])) for row in rows]


def insert(cursor: sqlite3.Cursor, endpoint: Endpoint) -> None:
    """Record an endpoint within the caller's transaction."""
    row = msgspec.structs.asdict(endpoint)
    row["names"], row["links"] = json.dumps(endpoint.names), json.dumps(endpoint.links)
    cursor.execute(
        f"INSERT INTO endpoints ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )


def insert_ports(cursor: sqlite3.Cursor, container_id: str, ports: Sequence[PublishedPort]) -> None:
    cursor.executemany(
        f"INSERT INTO published_ports (container_id, {_PORT_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(container_id, p.protocol, p.container_port, p.host_address, p.host_port) for p in ports],
    )


def set_gateway(cursor: sqlite3.Cursor, container_id: str, endpoint_id: str) -> None:
    """Make one endpoint (or none: empty) the container's way out."""
    cursor.execute("UPDATE endpoints SET is_gateway = (id = ?) WHERE container_id = ?", (endpoint_id, container_id))


def rename(cursor: sqlite3.Cursor, endpoint: Endpoint, name: str) -> None:
    """The container has another name: the first of the endpoint's names, too."""
    names = json.dumps((name, *endpoint.names[1:]))
    cursor.execute("UPDATE endpoints SET name = ?, names = ? WHERE id = ?", (name, names, endpoint.id))


def delete(cursor: sqlite3.Cursor, endpoint_id: str) -> None:
    """Remove an endpoint's record within the caller's transaction. Its address stays taken."""
    cursor.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))


def delete_container(cursor: sqlite3.Cursor, container_id: str) -> None:
    """Remove all endpoints and ports of a container. Its addresses stay taken."""
    cursor.execute("DELETE FROM published_ports WHERE container_id = ?", (container_id,))
    cursor.execute("DELETE FROM endpoints WHERE container_id = ?", (container_id,))


def _decode(row: Sequence[Any]) -> Endpoint:
    names, links = tuple(json.loads(row[-2])), tuple(json.loads(row[-1]))
    return msgspec.structs.replace(Endpoint(*row[:-2]), is_gateway=bool(row[-3]), names=names, links=links)
