"""Endpoints: one container's place in one network, recorded until it is released.

The record is written before anything exists in the kernel, so that an engine that dies halfway leaves nothing that the
next one does not know of.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rundlet.network.portmap import ANY, ANY6, PublishedPort
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
    # What not every endpoint has, as JSON; it goes with the endpoint.
    "CREATE TABLE IF NOT EXISTS endpoint_extras (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TRIGGER IF NOT EXISTS endpoint_extras_go AFTER DELETE ON endpoints
        BEGIN DELETE FROM endpoint_extras WHERE id = OLD.id; END""",
)

_COLUMNS = (
    "id, container_id, network_id, name, address, prefix, gateway, mac, interface, gw_priority, is_gateway,"
    " names, links"
)
_LEADS: dict[int, tuple[int, ...]] = {0: (), 1: (4, 6), 4: (4,), 6: (6,)}
"""What the column ``is_gateway`` says."""
_EXTRAS = ("address6", "prefix6", "gateway6", "link_local", "sysctls")
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
    leads: tuple[int, ...] = ()
    """The families (4, 6) whose default route, and published ports, go by this network."""
    names: tuple[str, ...] = ()
    """What the network's other containers may call it."""
    links: tuple[str, ...] = ()
    """``name:alias``: what it calls others."""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    link_local: tuple[str, ...] = ()
    """More addresses, that mean something on the link only."""
    sysctls: dict[str, str] = {}
    """Switches of its interface, by the name after the interface's own."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address that the network gave it."""
        return tuple(address for address in (self.address, self.address6) if address)

    def gateway_of(self, version: int) -> str:
        return self.gateway if version == 4 else self.gateway6


class Wanted(msgspec.Struct, frozen=True):
    """What a container asks of one network."""

    network: str
    """Name or id."""
    address: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gw_priority: int = 0
    address6: str = ""
    link_local: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    interface: str = ""
    """The name that the interface is to have; empty: the first that is free."""
    ipv6: bool = True
    """The container can have IPv6 addresses."""


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
        query = f"SELECT {_COLUMNS}, record FROM endpoints LEFT JOIN endpoint_extras USING (id) {where}"  # noqa: S608
        rows = self._database.query(query, parameters)
        return [_decode(row) for row in rows]

    def ports(self, container_id: str) -> list[PublishedPort]:
        """The ports published for a container."""
        query = f"SELECT {_PORT_COLUMNS} FROM published_ports WHERE container_id = ?"  # noqa: S608
        return sorted(PublishedPort(*row) for row in self._database.query(query, (container_id,)))

    def opened(self, container_id: str) -> list[PublishedPort]:
        """The ports that are open at the container's own addresses, as published ones with the host port 0."""
        query = "SELECT protocol, container_port, family FROM opened_ports WHERE container_id = ?"
        rows = self._database.query(query, (container_id,))
        return sorted(PublishedPort(row[0], row[1], ANY if row[2] == 4 else ANY6, 0) for row in rows)

    def published(self, container_id: str = "") -> list[tuple[str, PublishedPort]]:
        """Every port that leads somewhere now (of one container or all), with the address that it leads to.

        The address is of the host address's family: ports that only the proxy serves are not among them.
        """
        query = (
            "SELECT e.address, json_extract(x.record, '$.address6'), p.protocol, p.container_port, p.host_address,"
            " p.host_port FROM published_ports p"
            " JOIN endpoints e ON e.container_id = p.container_id"
            " AND e.is_gateway IN (1, CASE WHEN instr(p.host_address, ':') THEN 6 ELSE 4 END)"
            " JOIN networks n ON n.id = e.network_id AND n.driver = 'bridge'"
            " LEFT JOIN endpoint_extras x ON x.id = e.id"
        )
        if container_id:
            rows = self._database.query(f"{query} WHERE p.container_id = ?", (container_id,))
        else:
            rows = self._database.query(query)
        ports = [(row[0], row[1] or "", PublishedPort(*row[2:])) for row in rows]
        found = [(address6 if ":" in port.host_address else address, port) for address, address6, port in ports]
        return [pair for pair in found if pair[0]] + self._opened(container_id)

    def _opened(self, container_id: str) -> list[tuple[str, PublishedPort]]:
        """The ports that are open at containers' own addresses, as published ones with the host port 0."""
        query = (
            "SELECT CASE o.family WHEN 4 THEN e.address ELSE json_extract(x.record, '$.address6') END,"
            " o.protocol, o.container_port FROM opened_ports o"
            " JOIN endpoints e ON e.container_id = o.container_id"
            " AND e.is_gateway IN (1, o.family)"
            " LEFT JOIN endpoint_extras x ON x.id = e.id"
        )
        where, parameters = (" WHERE o.container_id = ?", (container_id,)) if container_id else ("", ())
        rows = self._database.query(query + where, parameters)
        return [(row[0], PublishedPort(row[1], row[2], "", 0)) for row in rows if row[0]]


def insert(cursor: sqlite3.Cursor, endpoint: Endpoint) -> None:
    """Record an endpoint within the caller's transaction."""
    every = msgspec.structs.asdict(endpoint)
    every["is_gateway"] = _code(endpoint.leads)
    row = {name: every[name] for name in _COLUMNS.replace(" ", "").split(",")}
    row["names"], row["links"] = json.dumps(endpoint.names), json.dumps(endpoint.links)
    cursor.execute(
        f"INSERT INTO endpoints ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )
    extras = {name: every[name] for name in _EXTRAS if every[name]}
    if extras:
        cursor.execute("INSERT INTO endpoint_extras VALUES (?, ?)", (endpoint.id, json.dumps(extras)))


def insert_ports(cursor: sqlite3.Cursor, container_id: str, ports: Sequence[PublishedPort]) -> None:
    cursor.executemany(
        f"INSERT INTO published_ports (container_id, {_PORT_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(container_id, p.protocol, p.container_port, p.host_address, p.host_port) for p in ports],
    )


def insert_opened(cursor: sqlite3.Cursor, container_id: str, opened: Sequence[tuple[str, int, int]]) -> None:
    cursor.executemany(
        "INSERT OR IGNORE INTO opened_ports VALUES (?, ?, ?, ?)", [(container_id, *one) for one in opened]
    )


def delete_ports(cursor: sqlite3.Cursor, ports: Sequence[PublishedPort]) -> None:
    """They are published no more."""
    cursor.executemany(
        "DELETE FROM published_ports WHERE protocol = ? AND host_port = ? AND host_address = ?",
        [(port.protocol, port.host_port, port.host_address) for port in ports],
    )


def set_gateways(cursor: sqlite3.Cursor, container_id: str, gateways: Mapping[int, str]) -> None:
    """Make endpoints the container's ways out: their IDs by family (4, 6)."""
    cursor.execute("UPDATE endpoints SET is_gateway = 0 WHERE container_id = ?", (container_id,))
    for chosen in set(gateways.values()):
        leads = tuple(version for version in (4, 6) if gateways.get(version) == chosen)
        cursor.execute("UPDATE endpoints SET is_gateway = ? WHERE id = ?", (_code(leads), chosen))


def _code(leads: tuple[int, ...]) -> int:
    return next(code for code, versions in _LEADS.items() if versions == leads)


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
    cursor.execute("DELETE FROM opened_ports WHERE container_id = ?", (container_id,))
    cursor.execute("DELETE FROM endpoints WHERE container_id = ?", (container_id,))


def _decode(row: Sequence[Any]) -> Endpoint:
    *plain, gateway, names, links, record = row
    extras = json.loads(record) if record else {}
    if "link_local" in extras:
        extras["link_local"] = tuple(extras["link_local"])
    listed = {"names": tuple(json.loads(names)), "links": tuple(json.loads(links))}
    return msgspec.structs.replace(Endpoint(*plain), leads=_LEADS[gateway], **listed, **extras)
