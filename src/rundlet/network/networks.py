"""The networks that exist, in the state database; their ids never change.

Every root has Docker's three from the start: ``bridge`` (the default), ``host`` and ``none``.
"""

import sqlite3

import msgspec

from rundlet.network.errors import NetworkExistsError, NetworkNotFoundError
from rundlet.util.clock import Clock
from rundlet.util.database import Database
from rundlet.util.ids import new_id

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        record TEXT NOT NULL
    )""",
)

DEFAULT_BRIDGE = "bridge"
STANDARD_MTU = 1500
DEFAULT_GATEWAY = "DefaultGatewayIPv4"
"""The name of the auxiliary address that is the way out of a network, in the place of the host's own."""
PREDEFINED = (DEFAULT_BRIDGE, "host", "none")
PARENT_DRIVERS = ("macvlan", "ipvlan")

_OPTION = "com.docker.network"
DEFAULT_MARK = f"{_OPTION}.bridge.default_bridge"
BRIDGE_NAME = f"{_OPTION}.bridge.name"
ICC = f"{_OPTION}.bridge.enable_icc"
MASQUERADE = f"{_OPTION}.bridge.enable_ip_masquerade"
HOST_BINDING = f"{_OPTION}.bridge.host_binding_ipv4"
MTU = f"{_OPTION}.driver.mtu"
INTERFACE_PREFIX = f"{_OPTION}.container_iface_prefix"
GATEWAY_MODE4 = f"{_OPTION}.bridge.gateway_mode_ipv4"
GATEWAY_MODE6 = f"{_OPTION}.bridge.gateway_mode_ipv6"
GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
INHIBIT4 = f"{_OPTION}.bridge.inhibit_ipv4"
HOST4 = f"{_OPTION}.host_ipv4"
HOST6 = f"{_OPTION}.host_ipv6"
TRUSTED = f"{_OPTION}.bridge.trusted_host_interfaces"
ADVERTISED, ADVERTISED_MS = f"{_OPTION}.advertise_addr_nmsgs", f"{_OPTION}.advertise_addr_ms"
ENABLE4, ENABLE6 = f"{_OPTION}.enable_ipv4", f"{_OPTION}.enable_ipv6"


class Subnet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One pool of a network: ``subnet`` as 172.17.0.0/16, ``gateway`` as 172.17.0.1 (empty: it has none)."""

    subnet: str
    gateway: str
    ip_range: str = ""
    """The part that addresses are chosen from; empty: all of it."""
    auxiliary: dict[str, str] = {}
    """Addresses, by name, that belong to something else."""
    requested: bool = False
    """A user chose it: then containers may choose their addresses."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.subnet else 4

    @property
    def prefix(self) -> int:
        return int(self.subnet.partition("/")[2])


class Network(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network's record."""

    id: str
    name: str
    driver: str
    """``bridge``, ``macvlan``, ``ipvlan``, ``host`` or ``null``; empty for a configuration only."""
    created: int
    """Nanoseconds since the epoch."""
    subnets: tuple[Subnet, ...] = ()
    idle: tuple[Subnet, ...] = ()
    """Asked for in a family that the network doesn't have: shown, and not used."""
    options: dict[str, str] = {}
    ipam_options: dict[str, str] | None = None
    """The address management knows none: kept for who looks at them, as Docker does."""
    labels: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    bridge: str = ""
    """The name of its bridge interface; empty for other drivers."""
    given: tuple[str, ...] | None = None
    """Its bridge is somebody else's, with these addresses before it was ours to use; it stays when the network goes."""
    parent: str = ""
    """The host's interface that a macvlan or ipvlan network is on."""
    parent_made: bool = False
    """It was made for the network and goes with it."""
    ipv4: bool = True
    ipv6: bool = False

    @property
    def predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def third_layer(self) -> bool:
        """Its interfaces have no neighbours, and need no router: they pass everything to their parent's machine."""
        return self.driver == "ipvlan" and self.options.get("ipvlan_mode", "") in ("l3", "l3s")

    @property
    def has_names(self) -> bool:
        """Whether containers on it find one another by name: on every network but Docker's own three."""
        return not self.predefined

    def pools(self, version: int) -> tuple[Subnet, ...]:
        """The subnets of one family (4 or 6)."""
        return tuple(pool for pool in self.subnets if pool.version == version)

    def gateway(self, version: int) -> str:
        """The host's address in one family; empty where there is none."""
        return next((pool.gateway for pool in self.pools(version)), "")

    def way_out(self, version: int) -> str:
        """The router that containers use: this host, or another on the same network; empty where there is none."""
        for pool in self.pools(version):
            return pool.auxiliary.get(DEFAULT_GATEWAY, pool.gateway) if self.host_has_address(version) else ""
        return ""

    def gateway_mode(self, version: int) -> str:
        """How containers reach the world and the world reaches them: one of GATEWAY_MODES."""
        return self.options.get(GATEWAY_MODE4 if version == 4 else GATEWAY_MODE6, "") or "nat"

    def host_has_address(self, version: int) -> bool:
        """Whether the bridge carries the gateway's address."""
        inhibited = version == 4 and truth(self.options.get(INHIBIT4, "false"))
        return not inhibited and self.gateway_mode(version) != "isolated"

    def source(self, version: int) -> str:
        """The host's address that containers leave with; empty: that of the interface they leave by."""
        return self.options.get(HOST4 if version == 4 else HOST6, "")

    @property
    def trusted_interfaces(self) -> tuple[str, ...]:
        """The host's interfaces from which containers may be asked at their own addresses."""
        return tuple(name for name in self.options.get(TRUSTED, "").split(":") if name)

    @property
    def mtu(self) -> int:
        """0: the parent's."""
        return int(self.options.get(MTU, "1500" if self.driver == "bridge" else "0"))

    @property
    def icc(self) -> bool:
        """Whether its containers reach one another."""
        return truth(self.options.get(ICC, "true"))

    @property
    def masquerade(self) -> bool:
        """Whether its containers leave with the host's address."""
        return truth(self.options.get(MASQUERADE, "true")) and not self.internal

    @property
    def host_binding(self) -> str:
        """The host's address that ports are published on when none is given; empty: all, of both families."""
        chosen = self.options.get(HOST_BINDING, "")
        return "" if chosen == "0.0.0.0" else chosen

    def announcing(self, *, known: bool) -> tuple[int, int]:
        """How often, and every how many milliseconds, neighbours are told of a new address unasked.

        Where nobody says so: as Docker does on links that lead to other machines, and not at all where an address's
        hardware address is always the same (``known``), so that nobody's cache can be wrong.
        """
        if self.third_layer:
            return 0, 0  # there are no neighbours in the third layer
        chosen = self.options.get(ADVERTISED, ""), self.options.get(ADVERTISED_MS, "")
        needed = any(chosen) or not known or self.driver in PARENT_DRIVERS or self.given is not None
        return int(chosen[0] or 3) if needed else 0, int(chosen[1] or 1000)

    @property
    def interface_prefix(self) -> str:
        return self.options.get(INTERFACE_PREFIX, "") or "eth"


def truth(value: str) -> bool:
    """Go's ParseBool. Raises ValueError."""
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(value)


def bridge_options(bridge: str, mtu: int) -> dict[str, str]:
    """The options of the default bridge, as clients know them."""
    return {
        DEFAULT_MARK: "true",
        ICC: "true",
        MASQUERADE: "true",
        HOST_BINDING: "0.0.0.0",
        BRIDGE_NAME: bridge,
        MTU: str(mtu),
    }


class NetworkStore:
    """Reads and writes networks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leaving: set[str] = set()

    def ensure_defaults(self, options: dict[str, str] | None) -> None:
        """Make the three networks that every engine has, where they are missing; None: without the first."""
        names = {network.name for network in self.all()}
        drivers: list[tuple[str, str, dict[str, str]]] = [("host", "host", {}), ("none", "null", {})]
        if options is not None:
            drivers.insert(0, (DEFAULT_BRIDGE, "bridge", options))
        for name, driver, chosen in drivers:
            if name not in names:
                bridge = chosen.get(BRIDGE_NAME, "")
                self.put(Network(new_id(), name, driver, self._clock.now_ns(), options=chosen, bridge=bridge))

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def all(self) -> list[Network]:
        """Every network, by name."""
        rows = self._database.query("SELECT id, record FROM networks ORDER BY name")
        return [_decode(record) for network_id, record in rows if network_id not in self._leaving]

    def by_id(self, network_id: str) -> Network | None:
        if network_id in self._leaving:
            return None
        rows = self._database.query("SELECT record FROM networks WHERE id = ?", (network_id,))
        return _decode(rows[0][0]) if rows else None

    def find(self, reference: str) -> Network:
        """The network with this id, name, or unambiguous start of an id. Raises NetworkNotFoundError."""
        networks = self.all()
        for network in networks:
            if reference == network.id:
                return network
        for network in networks:
            if reference == network.name:
                return network
        matches = [network for network in networks if reference and network.id.startswith(reference)]
        if len(matches) != 1:
            raise NetworkNotFoundError(reference)
        return matches[0]

    def put(self, network: Network) -> None:
        """Add or replace a record. Raises NetworkExistsError when another one has the name."""
        row = (network.id, network.name, network.driver, msgspec.json.encode(network).decode())
        try:
            with self._database.transaction() as cursor:
                cursor.execute(
                    "INSERT INTO networks (id, name, driver, record) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                    row,
                )
        except sqlite3.IntegrityError as exc:
            raise NetworkExistsError(network.name) from exc

    def delete(self, network_id: str) -> None:
        with self._database.transaction(freeing=True) as cursor:
            cursor.execute("DELETE FROM networks WHERE id = ?", (network_id,))
        self._leaving.discard(network_id)

    def hide(self, network_id: str) -> None:
        """Nobody finds it any more, but for an engine after this one: its links may still be there."""
        self._leaving.add(network_id)

    def show(self, network_id: str) -> None:
        """It stays after all."""
        self._leaving.discard(network_id)


def _decode(record: str) -> Network:
    return msgspec.json.decode(record, type=Network)
