"""Bridges on the host, and the kernel switches that containers behind them need."""

import contextlib
import os
import socket
from collections.abc import Iterable

from rundlet.linux import netlink
from rundlet.linux.netlink import Netlink
from rundlet.network.errors import NetworkConfigError
from rundlet.network.networks import Network, Subnet
from rundlet.util.database import Database

SCHEMA: tuple[str, ...] = (
    "CREATE TABLE IF NOT EXISTS network_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_CONF4 = "/proc/sys/net/ipv4/conf"
_CONF6 = "/proc/sys/net/ipv6/conf"
_FORWARDING6 = f"{_CONF6}/all/forwarding"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SETTING = "forwarding_enabled_in_boot"
_FORWARDING_USERS = ("bridge", "tun", "wireguard", "ipvlan", "macvlan")
_LOCALLY_ADMINISTERED = "02:42"


def bridge_name(instance: str, name: str) -> str:
    """A bridge's interface name, 15 characters at most: ``rd<4 hex>-<name>``."""
    return f"rd{instance[:4]}-{name}"[:15]


def mac_of(address: str) -> str:
    """The hardware address that goes with an address, as Docker derives it from IPv4 ones: no neighbour's cache is ever
    wrong."""
    packed = socket.inet_pton(socket.AF_INET6, address)[-4:] if ":" in address else socket.inet_aton(address)
    return f"{_LOCALLY_ADMINISTERED}:{packed.hex(':')}"


def _own_mac(pool: Subnet) -> str:
    """The bridge's: without an address of its own one that no container's address makes."""
    if pool.gateway:
        return mac_of(pool.gateway)
    return f"06{mac_of(pool.subnet.partition('/')[0])[2:]}"


class BridgeDriver:
    """Makes and removes bridge interfaces. Raises OSError that names the step."""

    def __init__(self, rtnl: Netlink, *, route_loopback: bool = True) -> None:
        """``route_loopback``: the firewall sends from 127.0.0.1 into containers, and keeps theirs from there."""
        self._rtnl = rtnl
        self._route_loopback = route_loopback

    def ensure(self, network: Network) -> None:
        """Have the network's bridge up with its gateway addresses and its switches, whatever is there already."""
        name = network.bridge
        link = self._rtnl.link(name)
        if link is None and network.given is not None:
            raise NetworkConfigError(f"bridge device with non default name {name} must be created manually")
        if link is None:
            self._rtnl.create_bridge(name, mac=_own_mac(network.subnets[0]), mtu=network.mtu)
            link = self._rtnl.link(name)
        if link is None:
            raise FileNotFoundError(2, "the bridge vanished", f"create bridge {name}")
        self._set_switches(network)
        self._set_addresses(link, network, 4)
        self._set_addresses(link, network, 6)
        if not link.up:
            self._rtnl.set_up(name)

    def _set_switches(self, network: Network) -> None:
        # Lets this host reach a port on 127.0.0.1 without a proxy; the firewall keeps the bridge's own frames from it.
        _write(f"{_CONF4}/{network.bridge}/route_localnet", "1" if self._route_loopback else "0")
        switches = f"{_CONF6}/{network.bridge}"
        if os.path.exists(switches):
            # Containers must not tell this host where its routers are (CVE-2020-13401).
            _write(f"{switches}/accept_ra", "0")
            # Nobody else has our addresses, and for as long as the kernel looks it asks for no neighbour: a second
            # without forwarded traffic.
            _write(f"{switches}/accept_dad", "0")
            if network.ipv6 or network.given is None:
                _write(f"{switches}/disable_ipv6", "0" if network.ipv6 else "1")

    def route_within(self, network: Network, *, on: bool) -> None:
        """Have this host answer for containers that the bridge keeps apart, so that it is asked to send on between
        them. Then the firewall alone says what goes."""
        _write(f"{_CONF4}/{network.bridge}/proxy_arp_pvlan", "1" if on else "0")

    def exists(self, network: Network) -> bool:
        """Asked at every start, in the event loop. Netlink would answer when the kernel's one lock for all that is
        changed about links is free, which is late while other containers are being connected."""
        return os.path.exists(f"{_CONF4}/{network.bridge}")

    def adopt(self, network: Network, ports: Iterable[str]) -> None:
        """Put those of ``ports`` that exist (back) into the bridge: it may have been deleted under them."""
        links = {link.name: link for link in self._rtnl.links()}
        index = links[network.bridge].ifindex
        wanted = [name for name in ports if name in links and links[name].master != index]
        self._rtnl.execute([netlink.master_request(name, index) for name in wanted])

    def found(self, name: str) -> tuple[str, ...]:
        """The addresses of somebody else's bridge, with their prefixes. Raises NetworkConfigError: it is none."""
        link = self._rtnl.link(name)
        if link is None:
            raise NetworkConfigError(f"bridge device with non default name {name} must be created manually")
        if link.kind != "bridge":
            raise NetworkConfigError(f"existing interface {name} is not a bridge")
        every = (*self._rtnl.addresses(socket.AF_INET), *self._rtnl.addresses(socket.AF_INET6))
        own = [a for a in every if a.ifindex == link.ifindex and not a.address.startswith("fe80:")]
        return tuple(f"{a.address}/{a.prefix}" for a in own)

    def remove(self, network: Network) -> None:
        """Somebody else's bridge stays, as it was found."""
        if network.given is None:
            self._rtnl.delete_link(network.bridge, missing_ok=True)
        elif self.exists(network):
            for gateway in _gateways(network, 4) + _gateways(network, 6):
                if gateway not in network.given:
                    with contextlib.suppress(OSError):  # it is gone already
                        self._rtnl.remove_address(network.bridge, gateway)
            _write(f"/proc/sys/net/ipv4/conf/{network.bridge}/route_localnet", "0")

    def _set_addresses(self, link: netlink.Link, network: Network, version: int) -> None:
        """The gateways of one family, and no others; what the kernel itself gives every IPv6 link stays."""
        wanted = _gateways(network, version)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        found = [a for a in self._rtnl.addresses(family) if a.ifindex == link.ifindex]
        have = [f"{a.address}/{a.prefix}" for a in found if not a.address.startswith("fe80:")]
        for other in have:
            if other not in wanted and network.given is None:
                self._rtnl.remove_address(link.name, other)
        for gateway in wanted:
            if gateway not in have:
                self._rtnl.add_address(link.name, gateway)


def _gateways(network: Network, version: int) -> list[str]:
    """The host's addresses of one family, with their prefixes."""
    if not network.host_has_address(version):
        return []
    return [f"{pool.gateway}/{pool.prefix}" for pool in network.pools(version) if pool.gateway]


class Forwarding:
    """IP forwarding of the host. When we turn it on, we remember: the firewall then keeps the rest off."""

    def __init__(self, database: Database, version: int = 4) -> None:
        self._database = database
        self._switch = _FORWARDING if version == 4 else _FORWARDING6
        self._setting = _SETTING if version == 4 else f"{_SETTING}6"
        self._version = version

    def ensure(self) -> bool:
        """Turn forwarding on. Returns whether it is on because of us."""
        boot = _read(_BOOT_ID)
        if _read(self._switch) != "1":
            self._remember(boot)
            if self._version == 6:
                _keep_listening_to_routers()
            _write(self._switch, "1")
            return True
        rows = self._database.query("SELECT value FROM network_settings WHERE name = ?", (self._setting,))
        return bool(rows) and rows[0][0] == boot

    def restore(self, rtnl: Netlink) -> None:
        """Turn forwarding off if we turned it on and nobody else's virtual network is there to need it."""
        rows = self._database.query("SELECT value FROM network_settings WHERE name = ?", (self._setting,))
        if not rows:
            return
        needed = any(link.kind in _FORWARDING_USERS for link in rtnl.links())
        if rows[0][0] == _read(_BOOT_ID) and not needed:
            _write(self._switch, "0")
        self._remember(None)

    def _remember(self, boot: str | None) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM network_settings WHERE name = ?", (self._setting,))
            if boot is not None:
                cursor.execute("INSERT INTO network_settings VALUES (?, ?)", (self._setting, boot))


def _keep_listening_to_routers() -> None:
    """A router ignores other routers' advertisements, by which this host may have its own way out: 2 says "all the
    same". It makes no difference once forwarding is off again."""
    for name in os.listdir(_CONF6):
        if name not in ("all", "default", "lo") and _read(f"{_CONF6}/{name}/accept_ra") == "1":
            _write(f"{_CONF6}/{name}/accept_ra", "2")


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
