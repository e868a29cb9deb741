"""Which hosts a proxy is not asked for: ``NO_PROXY``, with Go's rules. Of the standard library, for the client too."""

import ipaddress
from collections.abc import Iterable


def rules(text: str) -> tuple[str, ...]:
    """The rules of ``NO_PROXY``'s text."""
    return tuple(rule.strip().lower() for rule in text.split(",") if rule.strip())


def bypassed(host: str, port: int, bypass: Iterable[str]) -> bool:
    """Whether ``host`` is reached without a proxy: it is this machine, or one of the rules means it."""
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(rule, host, address, port) for rule in bypass)


def _matches(rule: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if rule == "*":
        return True
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    if address is not None:
        return rule == str(address)
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")
