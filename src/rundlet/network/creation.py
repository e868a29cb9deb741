"""What a user may ask of a new network, checked before anything is made. Nothing is read from the host here."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

import msgspec

from rundlet.errors import NotSwarmManagerError
from rundlet.network import networks
from rundlet.network.errors import (
    NetworkConfigError,
    NetworkDriverError,
    NetworkForbiddenError,
    PoolOverlapError,
    PredefinedNetworkError,
)
from rundlet.network.ipam import IPNetwork, overlap
from rundlet.network.networks import (
    ADVERTISED,
    ADVERTISED_MS,
    BRIDGE_NAME,
    DEFAULT_MARK,
    ENABLE4,
    ENABLE6,
    GATEWAY_MODE4,
    GATEWAY_MODE6,
    GATEWAY_MODES,
    HOST4,
    HOST6,
    HOST_BINDING,
    ICC,
    INHIBIT4,
    INTERFACE_PREFIX,
    MASQUERADE,
    MTU,
    PARENT_DRIVERS,
    TRUSTED,
    Network,
    Subnet,
)

_PARENT_OPTIONS = frozenset({"parent", "macvlan_mode", "ipvlan_mode", "ipvlan_flag"})
_MODES = {
    "macvlan_mode": (("bridge", "vepa", "private", "passthru"), "'bridge' mode is the macvlan driver default"),
    "ipvlan_mode": (("l2", "l3", "l3s"), "'l2' mode is the ipvlan driver default"),
    "ipvlan_flag": (("bridge", "private", "vepa"), "'bridge' is the ipvlan driver default"),
}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_ADVERTISED = {
    ADVERTISED: ("an integer", range(4), "0 to 3"),
    ADVERTISED_MS: ("integer milliseconds", range(100, 2001), "100 to 2000"),
}
_DRIVERS = ("bridge", *PARENT_DRIVERS)
_SINGLE = ("host", "null")
_MAX_IFNAME = 15
_MIN_MTU, _MAX_MTU = 68, 65535


class Pool(msgspec.Struct, frozen=True):
    """One ``--subnet`` with what belongs to it; every text may be empty."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = {}

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.subnet else 4


class Request(msgspec.Struct, frozen=True):
    """A network to be made."""

    name: str
    driver: str = "bridge"
    pools: tuple[Pool, ...] = ()
    options: dict[str, str] = {}
    ipam_options: dict[str, str] | None = None
    labels: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    ipv4: bool | None = None
    ipv6: bool | None = None
    """None: as its options say, else IPv4 alone."""

    def has(self, version: int) -> bool:
        """Whether the network is to have addresses of a family (4 or 6)."""
        return self.ipv4 is not False if version == 4 else bool(self.ipv6)


def normalised(request: Request) -> Request:
    """``request`` with what its options say about address families. Raises NetworkConfigError.

    An option that the request itself overrules is not kept: who looks at it would think that it holds.
    """
    options = dict(request.options)
    chosen = {}
    for name, field, version in ((ENABLE4, "ipv4", 4), (ENABLE6, "ipv6", 6)):
        asked: bool | None = getattr(request, field)
        if name in options:
            problem = _truth_problem(options[name])
            if problem:
                raise NetworkConfigError(f"failed to parse {name} value: {options[name]} ({problem})")
            if asked is None:
                asked = networks.truth(options[name])
            else:
                del options[name]
        chosen[field] = request.has(version) if asked is None else asked
    return msgspec.structs.replace(request, options=options, **chosen)


def check(request: Request) -> None:
    """Raises PredefinedNetworkError, NetworkForbiddenError, NetworkConfigError, NetworkDriverError,
    NotSwarmManagerError."""
    if not request.name.strip():
        raise NetworkConfigError("invalid name: name is empty")
    if request.name in (*networks.PREDEFINED, "default"):
        raise PredefinedNetworkError(f"operation is not permitted on predefined {request.name} network ")
    if request.name.startswith("container:"):
        raise NetworkConfigError(f"invalid name: {request.name} would be taken for a container's network")
    if request.driver in _SINGLE and not request.config_only:
        raise NetworkForbiddenError(f'only one instance of "{request.driver}" network is allowed')
    if request.driver not in _DRIVERS and not request.config_only:
        raise NotSwarmManagerError if request.driver == "overlay" else NetworkDriverError(request.driver)
    if request.config_only and request.config_from:
        raise NetworkForbiddenError("a configuration network cannot depend on another configuration network")
    if request.config_only and (request.internal or request.attachable):
        raise NetworkForbiddenError(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if request.config_from and request.options:
        raise NetworkForbiddenError(
            "network driver options are not supported if the network depends on a configuration network"
        )
    own = request.pools or request.ipam_options or request.labels
    if request.config_from and (own or not request.has(4) or request.has(6)):
        raise NetworkForbiddenError(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if not request.has(4) and not request.has(6):
        raise NetworkConfigError("IPv4 or IPv6 must be enabled")
    _check_options(request.driver, request.options)
    _check_modes(request)
    _check_pools(request.pools)
    for version in (4, 6):
        named = [pool for pool in request.pools if pool.subnet and pool.version == version]
        if request.driver == "bridge" and len(named) > 1 and request.has(version) and not request.config_only:
            raise NetworkForbiddenError("bridge driver doesn't support multiple subnets")


def _check_modes(request: Request) -> None:
    """Raises NetworkConfigError."""
    for name in (GATEWAY_MODE4, GATEWAY_MODE6):
        if request.options.get(name) == "isolated" and not request.internal:
            raise NetworkConfigError("gateway mode 'isolated' can only be used for an internal network")


def pool_overlaps(wanted: Iterable[Subnet], existing: Iterable[Network]) -> None:
    """Raises PoolOverlapError when a wanted subnet shares addresses with another network's, or with a wanted one."""
    taken = [
        ipaddress.ip_network(pool.subnet) for network in existing if not network.config_only for pool in network.subnets
    ]
    for pool in wanted:
        subnet = ipaddress.ip_network(pool.subnet)
        if any(overlap(subnet, other) for other in taken):
            raise PoolOverlapError
        taken.append(subnet)


def subnet(pool: Pool, chosen: IPNetwork | None, *, gateway: bool) -> Subnet:
    """The pool as it is recorded; ``chosen`` is for one that names no subnet. ``gateway``: it needs one."""
    net = ipaddress.ip_network(pool.subnet) if pool.subnet else chosen
    assert net is not None
    address = _plain(pool.gateway)
    if not address and gateway:
        kept = {_plain(text) for text in pool.auxiliary.values()}
        first = 1 if net.prefixlen < net.max_prefixlen - 1 else 0
        candidates = (str(net[number]) for number in range(first, len(kept) + 3) if number < net.num_addresses)
        address = next((candidate for candidate in candidates if candidate not in kept), "")
    return Subnet(str(net), address, pool.ip_range, dict(pool.auxiliary), bool(pool.subnet))


def _plain(address: str) -> str:
    """An address in the one form that it is compared in."""
    return str(ipaddress.ip_address(address)) if address else ""


def _check_options(driver: str, options: Mapping[str, str]) -> None:
    """What no driver knows is its user's own, kept and shown as Docker does. So are other drivers' options."""
    for name, value in options.items():
        if name in _ADVERTISED:
            _check_number(name, value, *_ADVERTISED[name])
        if name == DEFAULT_MARK:
            raise NetworkForbiddenError(f"option {name}: the network bridge alone is the default one")
        if name in _PARENT_OPTIONS and driver == "bridge":
            continue
        if name in _MODES and value not in ("", *_MODES[name][0]):
            raise NetworkConfigError(f"requested {name.replace('_', ' ')} '{value}' is not valid, {_MODES[name][1]}")
        if name == "parent" and value == "lo":
            raise NetworkConfigError(f"loopback interface is not a valid {driver} parent link")
        if name in _CHECKS:
            problem = _CHECKS[name](value)
            if problem:
                raise NetworkConfigError(f"failed to parse {name} value: {value} ({problem})")


def check_shared(made: Network, others: Iterable[Network]) -> None:
    """``others`` of its driver are on its parent already. Raises NetworkForbiddenError."""
    for other in others:
        using = f"network {other.name} is already using parent interface {other.parent}"
        if made.driver == "ipvlan":
            raise NetworkForbiddenError(using)
        if made.options.get("macvlan_mode") == "passthru":
            raise NetworkForbiddenError(f"cannot use mode passthru, macvlan {using}")
        if other.options.get("macvlan_mode") == "passthru":
            raise NetworkForbiddenError(f"macvlan {using} in mode passthru")


def _check_number(name: str, value: str, what: str, possible: range, words: str) -> None:
    """Raises NetworkConfigError in Docker's words."""
    if not _INTEGER.fullmatch(value):
        raise NetworkConfigError(f'value for option {name} "{value}" must be {what}')
    if int(value) not in possible:
        raise NetworkConfigError(f"{name} must be in the range {words}")


def _truth_problem(value: str) -> str:
    try:
        networks.truth(value)
    except ValueError:
        return f'strconv.ParseBool: parsing "{value}": invalid syntax'
    return ""


def _gateway_mode_problem(value: str) -> str:
    return "" if value in ("", *GATEWAY_MODES) else f"unknown gateway mode {value}"


def _mtu_problem(value: str) -> str:
    if not re.fullmatch("[+-]?[0-9]+", value):
        return f'strconv.Atoi: parsing "{value}": invalid syntax'
    return "" if _MIN_MTU <= int(value) <= _MAX_MTU else f"want {_MIN_MTU} to {_MAX_MTU}"


def _binding_problem(value: str) -> str:
    try:
        IPv4Address(value or "0.0.0.0")
    except ValueError:
        return "invalid IPv4 address"
    return ""


def _address4_problem(value: str) -> str:
    try:
        IPv4Address(value)
    except ValueError:
        return "invalid IPv4 address"
    return ""


def _address6_problem(value: str) -> str:
    try:
        IPv6Address(value)
    except ValueError:
        return "invalid IPv6 address"
    return ""


def _interfaces_problem(value: str) -> str:
    return next((problem for problem in map(_interface_problem, value.split(":")) if problem), "")


def _interface_problem(name: str) -> str:
    plain = name.isascii() and name.isprintable() and not set(name) & set(" /:")
    good = plain and 0 < len(name) <= _MAX_IFNAME and name not in (".", "..")
    return "" if good else "no name for an interface"


def _prefix_problem(prefix: str) -> str:
    # Room for a number; a dot would end the word in the names of the interface's switches.
    return "no name for an interface" if "." in prefix else _interface_problem(f"{prefix}00")


_CHECKS = {
    ICC: _truth_problem,
    MASQUERADE: _truth_problem,
    MTU: _mtu_problem,
    GATEWAY_MODE4: _gateway_mode_problem,
    GATEWAY_MODE6: _gateway_mode_problem,
    HOST_BINDING: _binding_problem,
    BRIDGE_NAME: _interface_problem,
    "parent": _interface_problem,
    INTERFACE_PREFIX: _prefix_problem,
    INHIBIT4: _truth_problem,
    HOST4: _address4_problem,
    HOST6: _address6_problem,
    TRUSTED: _interfaces_problem,
}


def _check_pools(pools: Iterable[Pool]) -> None:
    problems: list[str] = []
    for pool in pools:
        if not pool.subnet:
            if pool.ip_range or pool.gateway or pool.auxiliary:
                problems.append("invalid subnet : invalid CIDR block notation")
            continue
        problems += _problems(pool)
    if problems:
        raise NetworkConfigError("invalid network config:\n" + "\n".join(problems))


def _problems(pool: Pool) -> list[str]:
    parent, problem = _network(pool.subnet, "subnet")
    if parent is None:
        return [problem]
    problems = [problem] if problem else []
    if pool.ip_range:
        part, problem = _network(pool.ip_range, "ip-range")
        if problem:
            problems.append(problem)
        elif part is not None and not _within(part, parent):
            problems.append(f"invalid ip-range {pool.ip_range}: parent subnet {parent} doesn't contain ip-range")
    named = [(f"gateway {pool.gateway}", pool.gateway)] if pool.gateway else []
    named += [(f"auxiliary address {name}", address) for name, address in pool.auxiliary.items()]
    for what, text in named:
        try:
            inside = ipaddress.ip_address(text) in parent
        except ValueError:
            problems.append(f"invalid {what}: invalid address")
            continue
        if not inside:
            problems.append(f"invalid {what}: parent subnet {parent} doesn't contain this address")
    return problems


def _within(part: IPNetwork, parent: IPNetwork) -> bool:
    return overlap(part, parent) and part.prefixlen >= parent.prefixlen


def _network(text: str, what: str) -> tuple[IPNetwork | None, str]:
    """The network, and what is wrong with the text; with host bits set there are both."""
    address, slash, _ = text.partition("/")
    try:
        net: IPNetwork | None = ipaddress.ip_network(text, strict=False)
    except ValueError:
        net = None
    if net is None or not slash:
        return None, f"invalid {what} {text}: invalid CIDR block notation"
    if net.network_address != ipaddress.ip_address(address):
        return net, f"invalid {what} {text}: it should be {net}"
    return net, ""
