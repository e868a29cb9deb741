"""The networks that exist, in the state database; their ids never change.

Every root has Docker's three from the start: ``bridge`` (the default), ``host`` and ``none``.
"""

import msgspec

from rundlet.network.errors import NetworkNotFoundError
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.util.ids import new_id

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        ipam TEXT NOT NULL,
        options TEXT NOT NULL,
        labels TEXT NOT NULL,
        internal INTEGER NOT NULL,
        created INTEGER NOT NULL
    )""",
)

DEFAULT_BRIDGE = "bridge"
_OPTION = "com.docker.network"


class Subnet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pool of a network: ``subnet`` as 172.17.0.0/16, ``gateway`` as 172.17.0.1."""

    subnet: str
    gateway: str


class Network(msgspec.Struct, frozen=True):
    """A network's record."""

    id: str
    name: str
    driver: str
    """``bridge``, ``host`` or ``null``."""
    created: int
    """Nanoseconds since the epoch."""
    subnets: tuple[Subnet, ...] = ()
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    internal: bool = False

    @property
    def bridge(self) -> str:
        """The name of its bridge interface; empty for other drivers."""
        return self.options.get(f"{_OPTION}.bridge.name", "")

    @property
    def mtu(self) -> int:
        return int(self.options.get(f"{_OPTION}.driver.mtu", "1500"))


def bridge_options(bridge: str, mtu: int) -> dict[str, str]:
    """The options of the default bridge, as clients know them."""
    return {
        f"{_OPTION}.bridge.default_bridge": "true",
        f"{_OPTION}.bridge.enable_icc": "true",
        f"{_OPTION}.bridge.enable_ip_masquerade": "true",
        f"{_OPTION}.bridge.host_binding_ipv4": "0.0.0.0",
        f"{_OPTION}.bridge.name": bridge,
        f"{_OPTION}.driver.mtu": str(mtu),
    }


class NetworkStore:
    """Reads and writes networks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ensure_defaults(self, options: dict[str, str]) -> None:
        """Make the three networks that every engine has, where they are missing."""
        names = {network.name for network in self.all()}
        drivers: tuple[tuple[str, str, dict[str, str]], ...] = (
            (DEFAULT_BRIDGE, "bridge", options),
            ("host", "host", {}),
            ("none", "null", {}),
        )
        for name, driver, chosen in drivers:
            if name not in names:
                self.put(Network(new_id(), name, driver, self._clock.now_ns(), options=chosen))

    def all(self) -> list[Network]:
        """Every network, by name."""
        columns = "id, name, driver, ipam, options, labels, internal, created"
        rows = self._database.query(f"SELECT {columns} FROM networks ORDER BY name")  # noqa: S608
        return [_decode(row) for row in rows]

    def find(self, reference: str) -> Network:
        """The network with this name, id, or unambiguous start of an id. Raises NetworkNotFoundError."""
        networks = self.all()
        for network in networks:
            if reference in (network.name, network.id):
                return network
        matches = [network for network in networks if reference and network.id.startswith(reference)]
        if len(matches) != 1:
            raise NetworkNotFoundError(reference)
        return matches[0]

    def put(self, network: Network) -> None:
        """Add or replace a record."""
        row = (
            network.id,
            network.name,
            network.driver,
            msgspec.json.encode(network.subnets).decode(),
            msgspec.json.encode(network.options).decode(),
            msgspec.json.encode(network.labels).decode(),
            network.internal,
            network.created,
        )
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO networks (id, name, driver, ipam, options, labels, internal, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET ipam = excluded.ipam, options = excluded.options,"
                " labels = excluded.labels",
                row,
            )


def _decode(row: tuple[object, ...]) -> Network:
    identifier, name, driver, ipam, options, labels, internal, created = row
    return Network(
        id=str(identifier),
        name=str(name),
        driver=str(driver),
        subnets=msgspec.json.decode(str(ipam), type=tuple[Subnet, ...]),
        options=msgspec.json.decode(str(options), type=dict[str, str]),
        labels=msgspec.json.decode(str(labels), type=dict[str, str]),
        internal=bool(internal),
        created=int(str(created)),
    )
