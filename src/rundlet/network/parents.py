"""The host's interfaces that macvlan and ipvlan networks are on: an existing one, a VLAN of one, or one to nowhere."""

from rundlet.linux.netlink import Netlink
from rundlet.network.errors import NetworkConfigError
from rundlet.network.networks import Network

_MAX_VLAN = 4094


class ParentDriver:
    """Methods raise OSError that names the step."""

    def __init__(self, rtnl: Netlink) -> None:
        self._rtnl = rtnl

    def ensure(self, network: Network) -> None:
        """Have the parent, if making it is ours to do. Raises NetworkConfigError when it must exist and doesn't."""
        name = network.parent
        if self._rtnl.link(name) is not None:
            return
        if not network.options.get("parent"):
            self._rtnl.create_dummy(name)
            return
        base, number = vlan(name)
        if not base:
            raise NetworkConfigError(_no_vlan(name))
        if self._rtnl.link(base) is None:
            raise NetworkConfigError(f"-o parent interface was not found on the host: {base}")
        self._rtnl.create_vlan(name, base, number)

    def exists(self, name: str) -> bool:
        return self._rtnl.link(name) is not None

    def remove(self, network: Network) -> None:
        """Delete a parent that was made for the network."""
        if network.parent_made:
            self._rtnl.delete_link(network.parent, missing_ok=True)


def _no_vlan(name: str) -> str:
    """Why an interface that is missing can't be made."""
    parts = name.split(".")
    if len(parts) == 1:
        return f"invalid subinterface vlan name {name}, example formatting is eth0.10"
    if len(parts) > 2:
        return f"required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
    if not parts[1].isascii() or not parts[1].isdigit():
        return f"unable to parse a valid vlan id from: {parts[1]} (ex. eth0.10 for vlan 10)"
    return f"vlan id must be between 1-{_MAX_VLAN}, received: {int(parts[1])}"


def vlan(name: str) -> tuple[str, int]:
    """``eth0.10`` as (``eth0``, 10); an empty name when it is none."""
    base, _, number = name.rpartition(".")
    if not base or not number.isascii() or not number.isdigit() or not 0 < int(number) <= _MAX_VLAN:
        return "", 0
    return base, int(number)
