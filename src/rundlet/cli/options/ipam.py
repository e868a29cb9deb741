"""--subnet, --ip-range, --gateway and --aux-address: which belongs to which."""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise ValueError(f"invalid CIDR address: {text}") from exc


def _owner(subnets: dict[str, dict[str, Any]], text: str) -> dict[str, Any] | None:
    """The configuration of the subnet that contains an address or range."""
    first = _network(text).network_address
    for name, config in subnets.items():
        if first in _network(name):
            return config
    return None


def ipam_config(
    subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """The API's IPAM.Config. Raises ValueError with Docker's sentence."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    configs: dict[str, dict[str, Any]] = {}
    if not ranges and not gateways and not auxiliary and len(subnets) == 1:
        # Nothing to sort out here: the engine judges the subnet.
        return [{"Subnet": subnets[0]}]
    for text in subnets:
        network = _network(text)
        if any(network.version == _network(other).version and network.overlaps(_network(other)) for other in configs):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        configs[text] = {"Subnet": text}
    for text in ranges:
        config = _owner(configs, text)
        if config is None:
            raise ValueError(f"no matching subnet for range {text}")
        if "IPRange" in config:
            raise ValueError(f"cannot configure multiple ranges ({text}, {config['IPRange']}) on the same subnet")
        config["IPRange"] = text
    for text in gateways:
        config = _owner(configs, text)
        if config is None:
            raise ValueError(f"no matching subnet for gateway {text}")
        if "Gateway" in config:
            raise ValueError(f"cannot configure multiple gateways ({text}, {config['Gateway']}) for the same subnet")
        config["Gateway"] = text
    for name, text in auxiliary.items():
        config = _owner(configs, text) if text else None
        if config is None:
            raise ValueError(f"no matching subnet for aux-address {text}".rstrip())
        config.setdefault("AuxiliaryAddresses", {})[name] = text
    return list(configs.values())
