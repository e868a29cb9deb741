"""Addresses: which subnet a network gets, which address a container.

Subnets come from Docker's predefined pools; one that overlaps with anything the host can already reach is left out, so
that two engines (or dockerd and Rundlet) live side by side. Addresses go round robin, because the one freed last is the
one that others still remember; one whose owner is gone stays taken until the host has forgotten it too. All of it is
kept in the state database: an address is never handed out twice.
"""

import ipaddress
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence

from rundlet.network.errors import AddressInUseError, InvalidAddressError, NoFreeSubnetError, PoolExhaustedError
from rundlet.network.networks import Subnet

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS ipam_cursors (
        network_id TEXT PRIMARY KEY,
        last INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS ipam_addresses (
        network_id TEXT NOT NULL,
        address INTEGER NOT NULL,
        owner TEXT NOT NULL,
        PRIMARY KEY (network_id, address)
    ) WITHOUT ROWID""",
)


class NotInSubnetsError(InvalidAddressError):
    """A chosen address that no subnet of the network has."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {address}"
        )


DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""(pool, prefix length of the subnets cut from it), in the order they are tried: Docker's."""


def candidates(pools: Iterable[tuple[str, int]] = DEFAULT_POOLS) -> Iterator[ipaddress.IPv4Network]:
    """Every subnet of the pools, in order."""
    for pool, size in pools:
        yield from ipaddress.IPv4Network(pool).subnets(new_prefix=size)


def choose_subnet(
    occupied: Collection[ipaddress.IPv4Network], pools: Iterable[tuple[str, int]] = DEFAULT_POOLS
) -> ipaddress.IPv4Network:
    """The first subnet that overlaps with nothing in ``occupied``. Raises NoFreeSubnetError."""
    for subnet in candidates(pools):
        if not any(subnet.overlaps(other) for other in occupied):
            return subnet
    raise NoFreeSubnetError()


def parse_bip(value: str) -> tuple[ipaddress.IPv4Network, str]:
    """``bip`` of daemon.json (``192.168.5.1/24``) as subnet and gateway. Raises InvalidAddressError."""
    try:
        interface = ipaddress.IPv4Interface(value)
    except ValueError as exc:
        raise InvalidAddressError(f"invalid CIDR address: {value}") from exc
    if "/" not in value or interface.network.prefixlen > 30 or interface.ip == interface.network.network_address:
        raise InvalidAddressError(f"invalid CIDR address: {value}")
    return interface.network, str(interface.ip)


def allocate(cursor: sqlite3.Cursor, network_id: str, pool: Subnet, owner: str, *, requested: str | None = None) -> str:
    """Give ``owner`` an address of ``pool`` within the caller's transaction.

    Raises AddressInUseError, InvalidAddressError for a ``requested`` one outside, PoolExhaustedError.
    """
    subnet = ipaddress.IPv4Network(pool.subnet)
    reserved = _reserved(pool)
    if requested is not None:
        number = _requested(subnet, requested)
        if number in reserved or _taken(cursor, network_id, number):
            raise AddressInUseError(requested)
    else:
        chosen_from = ipaddress.IPv4Network(pool.ip_range) if pool.ip_range else subnet
        found = _next(cursor, network_id, _span(subnet, chosen_from), reserved)
        if found is None:
            raise PoolExhaustedError(str(chosen_from))
        number = found
        cursor.execute(
            "INSERT INTO ipam_cursors VALUES (?, ?) ON CONFLICT (network_id) DO UPDATE SET last = excluded.last",
            (network_id, number),
        )
    cursor.execute("INSERT INTO ipam_addresses VALUES (?, ?, ?)", (network_id, number, owner))
    return str(ipaddress.IPv4Address(number))


def allocate_from(
    cursor: sqlite3.Cursor, network_id: str, pools: Sequence[Subnet], owner: str, *, requested: str | None = None
) -> tuple[str, Subnet]:
    """The same for a network with several pools: the one that ``requested`` is in, else the first with room."""
    if requested is not None:
        address = _address(requested)
        for pool in pools:
            if address in ipaddress.IPv4Network(pool.subnet):
                return allocate(cursor, network_id, pool, owner, requested=requested), pool
        raise NotInSubnetsError(requested)
    failure: PoolExhaustedError | None = None
    for pool in pools:
        try:
            return allocate(cursor, network_id, pool, owner), pool
        except PoolExhaustedError as exc:
            failure = failure or exc
    raise failure or PoolExhaustedError("")


def forget(cursor: sqlite3.Cursor, network_id: str) -> None:
    """Forget a network's pool: it is gone, or has another subnet now."""
    cursor.execute("DELETE FROM ipam_addresses WHERE network_id = ?", (network_id,))
    cursor.execute("DELETE FROM ipam_cursors WHERE network_id = ?", (network_id,))


def _reserved(pool: Subnet) -> frozenset[int]:
    """The addresses of the gateway and of what the user keeps for something else."""
    named = [pool.gateway, *pool.auxiliary.values()]
    return frozenset(int(ipaddress.IPv4Address(address)) for address in named if address)


def _span(subnet: ipaddress.IPv4Network, part: ipaddress.IPv4Network) -> tuple[int, int]:
    """The first and the last address to choose: without the subnet's own and its broadcast address."""
    first, last = int(part.network_address), int(part.broadcast_address)
    if subnet.prefixlen < 31:
        first = max(first, int(subnet.network_address) + 1)
        last = min(last, int(subnet.broadcast_address) - 1)
    return first, last


def _address(requested: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(requested)
    except ValueError as exc:
        raise InvalidAddressError(f"invalid IPv4 address: {requested}") from exc


def _requested(subnet: ipaddress.IPv4Network, requested: str) -> int:
    number = int(_address(requested))
    first, last = _span(subnet, subnet)
    if not first <= number <= last:
        raise NotInSubnetsError(requested)
    return number


def _taken(cursor: sqlite3.Cursor, network_id: str, number: int) -> bool:
    query = "SELECT 1 FROM ipam_addresses WHERE network_id = ? AND address = ?"
    return cursor.execute(query, (network_id, number)).fetchone() is not None


def _next(cursor: sqlite3.Cursor, network_id: str, span: tuple[int, int], reserved: Collection[int]) -> int | None:
    """The first free address after the one given last, around the pool's end if need be."""
    first, last = span
    row = cursor.execute("SELECT last FROM ipam_cursors WHERE network_id = ?", (network_id,)).fetchone()
    start = row[0] + 1 if row and first <= row[0] < last else first
    for low, high in ((start, last), (first, start - 1)):
        number = _first_free(cursor, network_id, low, high, reserved)
        if number is not None:
            return number
    return None


def _first_free(cursor: sqlite3.Cursor, network_id: str, low: int, high: int, reserved: Collection[int]) -> int | None:
    """The lowest address from ``low`` to ``high`` that is neither taken nor reserved."""
    number = low
    while number <= high:
        if number in reserved:
            number += 1
            continue
        if not _taken(cursor, network_id, number):
            return number
        # The end of the run of taken addresses that ``number`` is in.
        row = cursor.execute(
            "SELECT a.address FROM ipam_addresses a WHERE a.network_id = ?1 AND a.address >= ?2 AND NOT EXISTS"
            " (SELECT 1 FROM ipam_addresses b WHERE b.network_id = ?1 AND b.address = a.address + 1)"
            " ORDER BY a.address LIMIT 1",
            (network_id, number),
        ).fetchone()
        number = row[0] + 1
    return None
