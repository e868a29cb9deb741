"""What daemon.json and the command line say about networks, checked: Docker's names for Docker's things."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from rundlet.daemon.errors import ConfigError
from rundlet.errors import RundletError
from rundlet.network import creation, ipam
from rundlet.network.etc_files import ResolverOptions
from rundlet.network.networks import STANDARD_MTU
from rundlet.network.options import DaemonOptions

FLAGS: dict[str, tuple[str, str]] = {
    "allow-direct-routing": ("allow-direct-routing", "bool"),
    "bip": ("bip", "str"),
    "bridge": ("bridge", "str"),
    "default-address-pool": ("default-address-pools", "pool"),
    "default-gateway": ("default-gateway", "str"),
    "default-gateway-v6": ("default-gateway-v6", "str"),
    "default-network-opt": ("default-network-opts", "netopt"),
    "dns": ("dns", "list"),
    "dns-opt": ("dns-opts", "list"),
    "dns-search": ("dns-search", "list"),
    "fixed-cidr": ("fixed-cidr", "str"),
    "fixed-cidr-v6": ("fixed-cidr-v6", "str"),
    "host-gateway-ip": ("host-gateway-ips", "list"),
    "icc": ("icc", "bool"),
    "ip-forward-no-drop": ("ip-forward-no-drop", "bool"),
    "ip6tables": ("ip6tables", "bool"),
    "iptables": ("iptables", "bool"),
    "ip": ("ip", "str"),
    "ip-forward": ("ip-forward", "bool"),
    "ip-masq": ("ip-masq", "bool"),
    "ipv6": ("ipv6", "bool"),
    "mtu": ("mtu", "int"),
    "userland-proxy": ("userland-proxy", "bool"),
}
"""flag → (key in daemon.json, kind), as in ``config``."""

KEYS: dict[str, type] = {
    "allow-direct-routing": bool,
    "bip": str,
    "bridge": str,
    "default-address-pools": list,
    "default-gateway": str,
    "default-gateway-v6": str,
    "default-network-opts": dict,
    "dns": list,
    "dns-opts": list,
    "dns-search": list,
    "fixed-cidr": str,
    "fixed-cidr-v6": str,
    "host-gateway-ip": str,
    "host-gateway-ips": list,
    "icc": bool,
    "ip-forward-no-drop": bool,
    "ip6tables": bool,
    "iptables": bool,
    "ip": str,
    "ip-forward": bool,
    "ip-masq": bool,
    "ipv6": bool,
    "mtu": int,
    "userland-proxy": bool,
}

_LONGEST_POOL = {4: 30, 6: 126}


def options(values: Mapping[str, Any]) -> DaemonOptions:
    """Raises ConfigError."""
    subnet = _bip(values)
    cidr, cidr6 = _network(values, "fixed-cidr", 4), _network(values, "fixed-cidr-v6", 6)
    if subnet is not None and cidr is not None and not ipam.overlap(cidr, subnet):
        raise ConfigError(f"fixed-cidr {cidr} is outside of the subnet of bip, {subnet}")
    if cidr6 is not None and not values.get("ipv6"):
        raise ConfigError("fixed-cidr-v6 needs ipv6")
    return DaemonOptions(
        bip=values.get("bip", ""),
        mtu=_mtu(values.get("mtu", 0)),
        pools=tuple(values.get("default-address-pools", ())),
        ipv6=bool(values.get("ipv6", False)),
        fixed_cidr=str(cidr or ""),
        fixed_cidr_v6=str(cidr6 or ""),
        gateway=_address(values, "default-gateway", 4),
        gateway_v6=_address(values, "default-gateway-v6", 6),
        binding=_binding(values),
        direct=values.get("allow-direct-routing", False),
        icc=values.get("icc", True),
        masquerade=values.get("ip-masq", True),
        forwarding=values.get("ip-forward", True),
        forward_others=values.get("ip-forward-no-drop", False),
        families=_families(values),
        bridge=_bridge(values),
        default_bridge=values.get("bridge", "") != "none",
        defaults=_defaults(values.get("default-network-opts", {})),
        host_gateways=tuple(_host_gateway(text) for text in _host_gateways(values)),
    )


def resolver(values: Mapping[str, Any]) -> ResolverOptions:
    """What containers have that choose nothing themselves. Raises ConfigError."""
    for server in values.get("dns", ()):
        _parsed("dns", server)
    for key in ("dns-opts", "dns-search"):
        for word in values.get(key, ()):
            if not isinstance(word, str) or not word or any(character.isspace() for character in word):
                raise ConfigError(f"invalid {key}: {word!r}")
    return ResolverOptions(
        tuple(values.get("dns", ())), tuple(values.get("dns-search", ())), tuple(values.get("dns-opts", ()))
    )


def proxied(values: Mapping[str, Any]) -> bool:
    """Whether a proxy may answer at published ports."""
    return bool(values.get("userland-proxy", True))


def pool(where: str, value: object) -> tuple[str, int]:
    """``{"base": "10.10.0.0/16", "size": 24}``: what networks' subnets are cut from, and how long their prefix is.

    Raises ConfigError.
    """
    if isinstance(value, dict) and set(value) == {"base", "size"} and str(value["size"]).isdigit():
        size = int(value["size"])
        try:
            base = ipaddress.ip_network(value["base"])
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where}: invalid base pool {value['base']!r}: {error}") from error
        longest = _LONGEST_POOL[base.version]
        if base.prefixlen <= size <= longest:
            return str(base), size
        raise ConfigError(f"{where}: invalid size {size} for pool {base}: want {base.prefixlen} to {longest}")
    raise ConfigError(f'{where}: want {{"base": "…", "size": …}}')


def driver_option(text: str) -> tuple[str, str, str]:
    """``--default-network-opt bridge=name=value`` in its three parts. Raises ConfigError."""
    driver, _, rest = text.partition("=")
    name, equals, value = rest.partition("=")
    if not driver or not name or not equals:
        raise ConfigError(f'invalid argument "{text}" for "--default-network-opt" flag: want DRIVER=OPTION=VALUE')
    return driver, name, value


def _bip(values: Mapping[str, Any]) -> ipam.IPNetwork | None:
    text = values.get("bip", "")
    if not text:
        return None
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise ConfigError(f"invalid bip: {text}: {error}") from error
    if "/" not in text:
        raise ConfigError(f"invalid bip: {text}: want an address with its prefix length, as in 192.168.5.1/24")
    return interface.network


def _mtu(value: int) -> int:
    if value and not 68 <= value <= 65535:
        raise ConfigError(f"invalid mtu: {value}: want 68 to 65535")
    return value or STANDARD_MTU


def _network(values: Mapping[str, Any], key: str, version: int) -> ipam.IPNetwork | None:
    text = values.get(key, "")
    if not text:
        return None
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(f"invalid {key}: {text}: {error}") from error
    if found.version != version:
        raise ConfigError(f"invalid {key}: {text}: want an IPv{version} subnet")
    return found


def _parsed(key: str, text: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(text))
    except ValueError as error:
        raise ConfigError(f"invalid {key}: {text}: {error}") from error


def _address(values: Mapping[str, Any], key: str, version: int) -> str:
    text = values.get(key, "")
    if not text:
        return ""
    address = _parsed(key, text)
    if address.version != version:
        raise ConfigError(f"invalid {key}: {text}: want an IPv{version} address")
    return str(address)


def _binding(values: Mapping[str, Any]) -> str:
    chosen = _address(values, "ip", 4)
    return "" if chosen == "0.0.0.0" else chosen


def _families(values: Mapping[str, Any]) -> tuple[int, ...]:
    """Those that the host's firewall is filled in: Docker's keys name the program that it does so with."""
    return tuple(version for version, key in ((4, "iptables"), (6, "ip6tables")) if values.get(key, True))


def _bridge(values: Mapping[str, Any]) -> str:
    """Somebody else's that the default network is to be on. Raises ConfigError."""
    chosen: str = values.get("bridge", "")
    if chosen and values.get("bip"):
        raise ConfigError("you specified -b & --bip, mutually exclusive options. Please specify only one")
    if chosen == "none" and values.get("fixed-cidr"):
        raise ConfigError("bridge and fixed-cidr: there is no default bridge")
    return "" if chosen == "none" else chosen


def _host_gateways(values: Mapping[str, Any]) -> list[Any]:
    """Docker's earlier key names one address."""
    single = values.get("host-gateway-ip", "")
    if single and values.get("host-gateway-ips"):
        raise ConfigError("host-gateway-ip and host-gateway-ips: want one of them")
    return [single] if single else list(values.get("host-gateway-ips", ()))


def _host_gateway(text: object) -> str:
    return str(_parsed("host-gateway-ips", text))


def _defaults(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    for driver, chosen in found.items():
        if not isinstance(chosen, dict) or not all(isinstance(value, str) for value in chosen.values()):
            raise ConfigError(f'default-network-opts: {driver}: want {{"option": "value"}}')
        try:
            creation.check(creation.normalised(creation.Request("checked", driver, options=dict(chosen))))
        except RundletError as error:
            raise ConfigError(f"default-network-opts: {driver}: {error}") from error
    return {driver: dict(chosen) for driver, chosen in found.items()}
