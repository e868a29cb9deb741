"""Addresses: which subnet a network gets, which address a container.

Subnets come from Docker's predefined pools; one that overlaps with anything the host can already reach is left out, so
that two engines (or dockerd and Rundlet) live side by side. Addresses go round robin, because the one freed last is the
one that others still remember; one whose owner is gone stays taken until the host has forgotten it too. All of it is
kept in the state database: an address is never handed out twice.
"""

import hashlib
import ipaddress
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence

from rundlet.network.errors import AddressInUseError, InvalidAddressError, NoFreeSubnetError, PoolExhaustedError
from rundlet.network.networks import Subnet
from rundlet.util.database import Database

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
    # IPv6 addresses are longer than the database's numbers: 32 hexadecimal digits, which sort as the addresses do.
    """CREATE TABLE IF NOT EXISTS ipam6_cursors (
        network_id TEXT PRIMARY KEY,
        last TEXT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS ipam6_addresses (
        network_id TEXT NOT NULL,
        address TEXT NOT NULL,
        owner TEXT NOT NULL,
        PRIMARY KEY (network_id, address)
    ) WITHOUT ROWID""",
)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


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


_POOL6_PREFIX, _SUBNET6_PREFIX = 48, 64


def local_pool(instance: str) -> tuple[str, int]:
    """The IPv6 pool of an engine without configured ones: a unique local /48 of its own, cut into /64s (RFC 4193)."""
    number = hashlib.sha256(f"rundlet pool {instance}".encode()).digest()[:5]
    return str(ipaddress.IPv6Network((b"\xfd" + number + bytes(10), _POOL6_PREFIX))), _SUBNET6_PREFIX


def candidates(pools: Iterable[tuple[str, int]] = DEFAULT_POOLS) -> Iterator[IPNetwork]:
    """Every subnet of the pools, in order."""
    for pool, size in pools:
        yield from ipaddress.ip_network(pool).subnets(new_prefix=size)


def choose_subnet(occupied: Collection[IPNetwork], pools: Iterable[tuple[str, int]] = DEFAULT_POOLS) -> IPNetwork:
    """The first subnet that overlaps with nothing in ``occupied``. Raises NoFreeSubnetError."""
    for subnet in candidates(pools):
        if not any(overlap(subnet, other) for other in occupied):
            return subnet
    raise NoFreeSubnetError()


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two networks share addresses; those of different families never do."""
    return one.version == other.version and one.overlaps(other)


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
    subnet = ipaddress.ip_network(pool.subnet)
    book = _Book(cursor, network_id, subnet.version)
    reserved = _reserved(pool)
    if requested is not None:
        number = _requested(subnet, requested)
        if number in reserved or book.taken(number):
            raise AddressInUseError(requested)
    else:
        chosen_from = ipaddress.ip_network(pool.ip_range) if pool.ip_range else subnet
        found = _next(book, _span(subnet, chosen_from), reserved)
        if found is None:
            raise PoolExhaustedError(str(chosen_from), subnet.version)
        number = found
        book.remember(number)
    book.take(number, owner)
    return str(_numbered(number, subnet.version))


def allocate_from(
    cursor: sqlite3.Cursor, network_id: str, pools: Sequence[Subnet], owner: str, *, requested: str | None = None
) -> tuple[str, Subnet]:
    """The same for a network with several pools (of one family): the one that ``requested`` is in, else the first with
    room."""
    if requested is not None:
        address = _address(requested)
        for pool in pools:
            if address in ipaddress.ip_network(pool.subnet):
                return allocate(cursor, network_id, pool, owner, requested=requested), pool
        raise NotInSubnetsError(requested)
    failure: PoolExhaustedError | None = None
    for pool in pools:
        try:
            return allocate(cursor, network_id, pool, owner), pool
        except PoolExhaustedError as exc:
            failure = failure or exc
    raise failure or PoolExhaustedError("")


def of_mac(cursor: sqlite3.Cursor, network_id: str, pool: Subnet, mac: str) -> str:
    """The IPv6 address that a chosen hardware address makes, as Docker has it: its end. Empty where that is taken, or
    the subnet has no room for it."""
    if not mac or pool.prefix > _LONGEST_WITH_MAC:
        return ""
    number = int(ipaddress.ip_network(pool.subnet).network_address) + int(mac.replace(":", ""), 16)
    if number in _reserved(pool) or _Book(cursor, network_id, 6).taken(number):
        return ""
    return str(_numbered(number, 6))


def forget(cursor: sqlite3.Cursor, network_id: str) -> None:
    """Forget a network's pools: it is gone, or has other subnets now."""
    for table in ("ipam_addresses", "ipam_cursors", "ipam6_addresses", "ipam6_cursors"):
        cursor.execute(f"DELETE FROM {table} WHERE network_id = ?", (network_id,))  # noqa: S608


def ownerless(database: Database) -> list[tuple[str, str]]:
    """(network, address) of everything whose owner is no endpoint any more."""
    found = []
    for version, prefix in _PREFIXES.items():
        query = f"SELECT network_id, address FROM {prefix}_addresses WHERE owner NOT IN (SELECT id FROM endpoints)"  # noqa: S608
        rows = database.query(query)
        found += [(network, str(_numbered(_decoded(value), version))) for network, value in rows]
    return found


def free(cursor: sqlite3.Cursor, addresses: Iterable[tuple[str, str]]) -> None:
    """Give what :func:`ownerless` found back for use."""
    for network, text in addresses:
        address = ipaddress.ip_address(text)
        row = (network, _encoded(int(address), address.version))
        table = f"{_PREFIXES[address.version]}_addresses"
        cursor.execute(f"DELETE FROM {table} WHERE network_id = ? AND address = ?", row)  # noqa: S608


_LONGEST_WITH_MAC = 80
_PREFIXES = {4: "ipam", 6: "ipam6"}


def _encoded(number: int, version: int) -> int | str:
    return number if version == 4 else f"{number:032x}"


def _decoded(value: int | str) -> int:
    return value if isinstance(value, int) else int(value, 16)


def _numbered(number: int, version: int) -> IPAddress:
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)


class _Book:
    """What one family's tables say about a network, within a transaction."""

    def __init__(self, cursor: sqlite3.Cursor, network_id: str, version: int) -> None:
        self._cursor = cursor
        self._network = network_id
        self._version = version
        self._addresses = f"{_PREFIXES[version]}_addresses"
        self._cursors = f"{_PREFIXES[version]}_cursors"

    def taken(self, number: int) -> bool:
        query = f"SELECT 1 FROM {self._addresses} WHERE network_id = ? AND address = ?"  # noqa: S608
        return self._cursor.execute(query, (self._network, self._value(number))).fetchone() is not None

    def from_on(self, number: int) -> Iterator[int]:
        """The taken addresses from ``number`` on, in order."""
        query = f"SELECT address FROM {self._addresses} WHERE network_id = ? AND address >= ? ORDER BY address"  # noqa: S608
        for row in self._cursor.execute(query, (self._network, self._value(number))):
            yield _decoded(row[0])

    def take(self, number: int, owner: str) -> None:
        row = (self._network, self._value(number), owner)
        self._cursor.execute(f"INSERT INTO {self._addresses} VALUES (?, ?, ?)", row)  # noqa: S608

    def last(self) -> int | None:
        """The one that was given last."""
        query = f"SELECT last FROM {self._cursors} WHERE network_id = ?"  # noqa: S608
        row = self._cursor.execute(query, (self._network,)).fetchone()
        return _decoded(row[0]) if row else None

    def remember(self, number: int) -> None:
        query = (
            f"INSERT INTO {self._cursors} VALUES (?, ?)"  # noqa: S608
            " ON CONFLICT (network_id) DO UPDATE SET last = excluded.last"
        )
        self._cursor.execute(query, (self._network, self._value(number)))

    def _value(self, number: int) -> int | str:
        return _encoded(number, self._version)


def _reserved(pool: Subnet) -> frozenset[int]:
    """The addresses of the gateway and of what the user keeps for something else."""
    named = [pool.gateway, *pool.auxiliary.values()]
    return frozenset(int(ipaddress.ip_address(address)) for address in named if address)


def _span(subnet: IPNetwork, part: IPNetwork) -> tuple[int, int]:
    """The first and the last address to choose: without the subnet's own and its broadcast address."""
    first, last = int(part.network_address), int(part.broadcast_address)
    if subnet.prefixlen < subnet.max_prefixlen - 1:
        first = max(first, int(subnet.network_address) + 1)
        if subnet.version == 4:
            last = min(last, int(subnet.broadcast_address) - 1)
    return first, last


def _address(requested: str) -> IPAddress:
    try:
        return ipaddress.ip_address(requested)
    except ValueError as exc:
        raise InvalidAddressError(f"invalid IP address: {requested}") from exc


def _requested(subnet: IPNetwork, requested: str) -> int:
    number = int(_address(requested))
    first, last = _span(subnet, subnet)
    if not first <= number <= last:
        raise NotInSubnetsError(requested)
    return number


def _next(book: _Book, span: tuple[int, int], reserved: Collection[int]) -> int | None:
    """The first free address after the one given last, around the pool's end if need be."""
    first, last = span
    before = book.last()
    start = before + 1 if before is not None and first <= before < last else first
    for low, high in ((start, last), (first, start - 1)):
        number = _first_free(book, low, high, reserved)
        if number is not None:
            return number
    return None


def _first_free(book: _Book, low: int, high: int, reserved: Collection[int]) -> int | None:
    """The lowest address from ``low`` to ``high`` that is neither taken nor reserved."""
    number = low
    taken = book.from_on(low)
    following = next(taken, None)
    while number <= high:
        while following is not None and following < number:
            following = next(taken, None)
        if number not in reserved and number != following:
            return number
        number += 1
    return None
