"""Bridges on the host, and the kernel switches that containers behind them need."""

import os
import socket
from collections.abc import Iterable

from rundlet.linux import netlink
from rundlet.linux.netlink import Netlink
from rundlet.network.networks import Network
from rundlet.util.database import Database

SCHEMA: tuple[str, ...] = (
    "CREATE TABLE IF NOT EXISTS network_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SETTING = "forwarding_enabled_in_boot"
_FORWARDING_USERS = ("bridge", "tun", "wireguard", "ipvlan", "macvlan")
_LOCALLY_ADMINISTERED = "02:42"


def bridge_name(instance: str, name: str) -> str:
    """A bridge's interface name, 15 characters at most: ``rd<4 hex>-<name>``."""
    return f"rd{instance[:4]}-{name}"[:15]


def mac_of(address: str) -> str:
    """The hardware address that goes with an IPv4 address, as Docker derives it: no neighbour's cache is ever wrong."""
    return f"{_LOCALLY_ADMINISTERED}:{socket.inet_aton(address).hex(':')}"


class BridgeDriver:
    """Makes and removes bridge interfaces. Raises OSError that names the step."""

    def __init__(self, rtnl: Netlink) -> None:
        self._rtnl = rtnl

    def ensure(self, network: Network) -> None:
        """Have the network's bridge up with its gateway address and its switches, whatever is there already."""
        name, subnet = network.bridge, network.subnets[0]
        gateway = f"{subnet.gateway}/{subnet.subnet.partition('/')[2]}"
        link = self._rtnl.link(name)
        if link is None:
            self._rtnl.create_bridge(name, mac=mac_of(subnet.gateway), mtu=network.mtu)
            link = self._rtnl.link(name)
        if link is None:
            raise FileNotFoundError(2, "the bridge vanished", f"create bridge {name}")
        self._set_address(link, gateway)
        if not link.up:
            self._rtnl.set_up(name)
        # Lets this host reach a port on 127.0.0.1 without a proxy; the firewall keeps the bridge's own frames from it.
        _write(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", "1")

    def exists(self, network: Network) -> bool:
        return self._rtnl.link(network.bridge) is not None

    def adopt(self, network: Network, ports: Iterable[str]) -> None:
        """Put those of ``ports`` that exist (back) into the bridge: it may have been deleted under them."""
        links = {link.name: link for link in self._rtnl.links()}
        index = links[network.bridge].ifindex
        wanted = [name for name in ports if name in links and links[name].master != index]
        self._rtnl.execute([netlink.master_request(name, index) for name in wanted])

    def remove(self, network: Network) -> None:
        self._rtnl.delete_link(network.bridge, missing_ok=True)

    def _set_address(self, link: netlink.Link, gateway: str) -> None:
        found = [a for a in self._rtnl.addresses(socket.AF_INET) if a.ifindex == link.ifindex]
        have = [f"{address.address}/{address.prefix}" for address in found]
        for other in have:
            if other != gateway:
                self._rtnl.remove_address(link.name, other)
        if gateway not in have:
            self._rtnl.add_address(link.name, gateway)


class Forwarding:
    """IP forwarding of the host. When we turn it on, we remember: the firewall then keeps the rest off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self) -> bool:
        """Turn forwarding on. Returns whether it is on because of us."""
        boot = _read(_BOOT_ID)
        if _read(_FORWARDING) != "1":
            self._remember(boot)
            _write(_FORWARDING, "1")
            return True
        rows = self._database.query("SELECT value FROM network_settings WHERE name = ?", (_SETTING,))
        return bool(rows) and rows[0][0] == boot

    def restore(self, rtnl: Netlink) -> None:
        """Turn forwarding off if we turned it on and nobody else's virtual network is there to need it."""
        rows = self._database.query("SELECT value FROM network_settings WHERE name = ?", (_SETTING,))
        if not rows:
            return
        needed = any(link.kind in _FORWARDING_USERS for link in rtnl.links())
        if rows[0][0] == _read(_BOOT_ID) and not needed:
            _write(_FORWARDING, "0")
        self._remember(None)

    def _remember(self, boot: str | None) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM network_settings WHERE name = ?", (_SETTING,))
            if boot is not None:
                cursor.execute("INSERT INTO network_settings VALUES (?, ?)", (_SETTING, boot))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
