"""-p and --expose: port specifications as Docker reads them."""

from __future__ import annotations

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


class PortError(ValueError):
    """A port specification that is none."""


def port_range(text: str) -> tuple[int, int]:
    """``80`` or ``8000-8010``. Raises PortError."""
    if not text:
        raise PortError("empty string specified for ports")
    first, dash, last = text.partition("-")
    numbers = []
    for part in (first, last) if dash else (first,):
        if not part.isdigit() or not part.isascii():
            raise PortError(f'strconv.ParseUint: parsing "{part}": invalid syntax')
        if int(part) > MAX_PORT:
            raise PortError(f'strconv.ParseUint: parsing "{part}": value out of range')
        numbers.append(int(part))
    if numbers[-1] < numbers[0]:
        raise PortError(f"invalid range specified for port: {text}")
    return numbers[0], numbers[-1]


def split_protocol(text: str) -> tuple[str, str]:
    """(``80``, ``tcp``) of ``80/tcp`` or ``80``."""
    port, _, protocol = text.partition("/")
    return (port, protocol or "tcp") if port else ("", "")


def is_address(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def _split(text: str) -> tuple[str, str, str]:
    """(address, host port, container port with protocol)."""
    parts = text.split(":")
    if len(parts) < 3:
        return "", parts[0] if len(parts) == 2 else "", parts[-1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _unbracketed(text: str) -> str:
    address, closed, rest = text[1:].partition("]")
    if not closed or rest:
        raise PortError(
            f"invalid IP address {text}: address {text}:: missing {'port' if closed else repr(']')} in address"
        )
    return address


def parse_publish(text: str) -> list[tuple[str, dict[str, str]]]:
    """(``80/tcp``, {HostIp, HostPort}) for every container port of one -p. Raises PortError."""
    if "=" in text:
        text = _standard_notation(text)
    address, host, container = _split(text)
    container, protocol = split_protocol(container)
    if protocol.lower() not in PROTOCOLS and container:
        raise PortError(f"invalid proto: {protocol}")
    if address.startswith("["):
        address = _unbracketed(address)
    if address and not is_address(address):
        raise PortError(f"invalid IP address: {address}")
    if not container:
        raise PortError(f"no port specified: {text}<empty>")
    try:
        first, last = port_range(container)
    except PortError:
        raise PortError(f"invalid containerPort: {container}") from None
    host_first = host_last = 0
    if host:
        try:
            host_first, host_last = port_range(host)
        except PortError:
            raise PortError(f"invalid hostPort: {host}") from None
        if last - first != host_last - host_first and last != first:
            raise PortError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    out = []
    for offset in range(last - first + 1):
        host_port = ""
        if host:
            # One container port and a range: the engine takes the first free port of the range.
            dynamic = first == last and host_first != host_last
            host_port = f"{host_first}-{host_last}" if dynamic else str(host_first + offset)
        out.append((f"{first + offset}/{protocol.lower()}", {"HostIp": address, "HostPort": host_port}))
    return out


def _standard_notation(text: str) -> str:
    """``published=8080,target=80,protocol=udp`` as ``8080:80/udp``."""
    values = {"protocol": "tcp", "published": "", "target": "", "mode": "ingress"}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise PortError(f"invalid publish opts format (should be name=value but got '{part}')")
        values[key] = value
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def publish(
    specifications: Iterable[str], expose: Iterable[str]
) -> tuple[dict[str, dict[str, str]], dict[str, list[dict[str, str]]]]:
    """(ExposedPorts, PortBindings). Raises RunError."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    try:
        for text in specifications:
            for port, binding in parse_publish(text):
                exposed[port] = {}
                bindings.setdefault(port, []).append(binding)
    except PortError as exc:
        raise RunError(str(exc)) from exc
    for text in expose:
        if ":" in text:
            raise RunError(f"invalid port format for --expose: {text}")
        port, protocol = split_protocol(text)
        try:
            first, last = port_range(port)
        except PortError as exc:
            raise RunError(f"invalid range format for --expose: {text}, error: {exc}") from exc
        if protocol.lower() not in PROTOCOLS:
            raise RunError(f"invalid range format for --expose: {text}, error: invalid proto: {protocol}")
        for number in range(first, last + 1):
            exposed.setdefault(f"{number}/{protocol}", {})
    return exposed, bindings
