"""Published ports: what users write, which host port they get, and the sockets that keep it theirs.

Every published port is held by one bound socket of the host, so that a conflict with any program is an error at start
and not a silent theft of its traffic. The socket never answers: the firewall sends the traffic on before it gets there.
The shim keeps the sockets for as long as the container runs.
"""

import errno
import ipaddress
import re
import socket
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from rundlet.errors import NotSupportedError
from rundlet.network.errors import InvalidPortError, PortUnavailableError

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS published_ports (
        container_id TEXT NOT NULL,
        protocol TEXT NOT NULL,
        host_address TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        container_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_port, host_address)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS published_containers ON published_ports (container_id)",
)

ANY = "0.0.0.0"
PROTOCOLS = {"tcp": 6, "udp": 17}
_KNOWN_PROTOCOLS = ("tcp", "udp", "sctp")
_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_SPEC = re.compile(r"(?:(?:(?P<address>\[[^\]]*\]|[^:\[\]]*):)?(?P<host>[^:]*):)?(?P<container>[^:]*)")


class PortRequest(msgspec.Struct, frozen=True):
    """One container port to publish on one host port out of ``first`` … ``last`` (0, 0: any ephemeral port)."""

    protocol: str
    container_port: int
    host_address: str = ANY
    first: int = 0
    last: int = 0


class PublishedPort(msgspec.Struct, frozen=True, order=True):
    """One container port on its host port."""

    protocol: str
    container_port: int
    host_address: str
    host_port: int

    def __str__(self) -> str:
        return f"{self.host_address}:{self.host_port}->{self.container_port}/{self.protocol}"


# -- what users write -----------------------------------------------------------------------------------------------


def parse_port_spec(spec: str) -> list[PortRequest]:
    """``[[address:][host port]:]container port[/protocol]`` as ``-p`` takes it, ranges included.

    Raises InvalidPortError, NotSupportedError.
    """
    body, _, protocol = spec.partition("/")
    match = _SPEC.fullmatch(body)
    if match is None:
        raise InvalidPortError(f"invalid containerPort: {spec}")
    if not match["container"]:
        raise InvalidPortError(f"no port specified: {spec}<empty>")
    protocol = _protocol(protocol or "tcp")
    address = _host_address(match["address"] or "")
    low, high = _range(match["container"], "containerPort")
    if match["host"] in (None, "", "0"):
        return [PortRequest(protocol, port, address) for port in range(low, high + 1)]
    first, last = _range(match["host"], "hostPort")
    if low == high:
        return [PortRequest(protocol, low, address, first, last)]
    if last - first != high - low:
        raise InvalidPortError(
            f"invalid ranges specified for container and host Ports: {match['container']} and {match['host']}"
        )
    return [PortRequest(protocol, low + n, address, first + n, first + n) for n in range(high - low + 1)]


def parse_container_port(value: str) -> tuple[int, str]:
    """``80/tcp`` or ``80`` as port and protocol. Raises InvalidPortError, NotSupportedError."""
    port, _, protocol = value.partition("/")
    low, high = _range(port, "containerPort")
    if low != high:
        raise InvalidPortError(f"invalid containerPort: {value}")
    return low, _protocol(protocol or "tcp")


def requests_from_bindings(
    bindings: Mapping[str, Sequence[tuple[str, str]] | None], default: str = ANY
) -> list[PortRequest]:
    """The Engine API's PortBindings: ``{"80/tcp": [(HostIp, HostPort), …]}``; no binding at all publishes nothing.

    ``default`` is the host's address where none is given.

    Raises InvalidPortError, NotSupportedError.
    """
    requests = []
    for key, chosen in bindings.items():
        port, protocol = parse_container_port(key)
        for address, host_port in chosen or ():
            first, last = _range(host_port, "hostPort") if host_port not in ("", "0") else (0, 0)
            requests.append(PortRequest(protocol, port, _host_address(address) if address else default, first, last))
    return requests


def requests_for_exposed(exposed: Iterable[str], bound: Iterable[PortRequest], default: str = ANY) -> list[PortRequest]:
    """``-P``: a random port (on the host's address ``default``) for everything exposed that is not bound by hand."""
    have = {(request.container_port, request.protocol) for request in bound}
    wanted = sorted({parse_container_port(value) for value in exposed} - have)
    return [PortRequest(protocol, port, default) for port, protocol in wanted]


def _protocol(value: str) -> str:
    protocol = value.lower()
    if protocol not in _KNOWN_PROTOCOLS:
        raise InvalidPortError(f"invalid proto: {value}")
    if protocol not in PROTOCOLS:
        raise NotSupportedError(f"publishing {protocol} ports")
    return protocol


def _host_address(value: str) -> str:
    if not value:
        return ANY
    try:
        address = ipaddress.ip_address(value.strip("[]"))
    except ValueError as exc:
        raise InvalidPortError(f"invalid IP address: {value}") from exc
    if address.version == 6:
        raise NotSupportedError(f"publishing ports on an IPv6 address ({value})")
    return str(address)


def _range(value: str, what: str) -> tuple[int, int]:
    low, dash, high = value.partition("-")
    if not low.isascii() or not low.isdigit() or (dash and not (high.isascii() and high.isdigit())):
        raise InvalidPortError(f"invalid {what}: {value}")
    first, last = int(low), int(high or low)
    if not 0 < first <= last <= 65535:
        raise InvalidPortError(f"invalid {what}: {value}")
    return first, last


# -- sockets --------------------------------------------------------------------------------------------------------


class Reservation:
    """The sockets that hold a container's published ports; closed by :meth:`close` unless handed on before."""

    def __init__(self) -> None:
        self.ports: list[PublishedPort] = []
        self._sockets: list[socket.socket] = []

    def add(self, port: PublishedPort, held: socket.socket) -> None:
        self.ports.append(port)
        self._sockets.append(held)

    def fds(self) -> list[int]:
        """The descriptors for the shim to hold. They stay open here until :meth:`close`."""
        return [held.fileno() for held in self._sockets]

    def close(self) -> None:
        """Close this process's copies."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()


class PortAllocator:
    """Chooses host ports and reserves them."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def reserve(self, requests: Sequence[PortRequest], taken: "TakenPorts", address: str) -> Reservation:
        """One bound socket for every request, or none at all. ``address`` is the container's, for messages.

        Raises PortUnavailableError in Docker's words.
        """
        reservation = Reservation()
        try:
            for request in requests:
                port, held = self._reserve_one(request, taken, address)
                reservation.add(port, held)
                taken.add(port)
        except BaseException:
            reservation.close()
            raise
        return reservation

    def _reserve_one(
        self, request: PortRequest, taken: "TakenPorts", address: str
    ) -> tuple[PublishedPort, socket.socket]:
        failure: PortUnavailableError | None = None
        for number in self._candidates(request):
            port = PublishedPort(request.protocol, request.container_port, request.host_address, number)
            if taken.conflicts(port):
                failure = PortUnavailableError(
                    f"Bind for {request.host_address}:{number} failed: port is already allocated"
                )
                continue
            try:
                held = _bind(port)
            except OSError as exc:
                failure = _bind_error(exc, port, address)
                continue
            if request.first != request.last or not request.first:
                self._last[request.protocol] = number
            return port, held
        if failure is None or (request.first == 0):
            raise PortUnavailableError("all ports are allocated") from failure
        raise failure

    def _candidates(self, request: PortRequest) -> Iterable[int]:
        if request.first:
            return range(request.first, request.last + 1)
        low, high = _ephemeral_range()
        start = self._last.get(request.protocol, low - 1) + 1
        if not low <= start <= high:
            start = low
        return chain(range(start, high + 1), range(low, start))


class TakenPorts:
    """The host ports that this engine's containers have."""

    def __init__(self, ports: Iterable[tuple[str, int, str]] = ()) -> None:
        self._addresses: dict[tuple[str, int], set[str]] = {}
        for protocol, number, address in ports:
            self._addresses.setdefault((protocol, number), set()).add(address)

    @classmethod
    def load(cls, cursor: sqlite3.Cursor) -> "TakenPorts":
        return cls(cursor.execute("SELECT protocol, host_port, host_address FROM published_ports"))

    def add(self, port: PublishedPort) -> None:
        self._addresses.setdefault((port.protocol, port.host_port), set()).add(port.host_address)

    def conflicts(self, port: PublishedPort) -> bool:
        """Whether someone has the port on the same address, or either of the two is on all addresses."""
        have = self._addresses.get((port.protocol, port.host_port))
        return have is not None and (port.host_address == ANY or ANY in have or port.host_address in have)


def _ephemeral_range() -> tuple[int, int]:
    with open(_PORT_RANGE, encoding="ascii") as file:
        low, high = file.read().split()
    return int(low), int(high)


def _bind(port: PublishedPort) -> socket.socket:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    held = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        # Nothing is ever read from it: a datagram that arrives all the same must not cost memory.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        try:
            held.bind((port.host_address, port.host_port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or port.protocol != "tcp":
                raise
            # A server that ended leaves connections in TIME_WAIT, which are no reason to refuse. The option is taken
            # back at once: it would let others bind the port beside us.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((port.host_address, port.host_port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        held.close()
        raise
    return held


def _bind_error(exc: OSError, port: PublishedPort, address: str) -> PortUnavailableError:
    what = f"{port.host_address}:{port.host_port}:{address}:{port.container_port}/{port.protocol}"
    known = {
        errno.EADDRINUSE: "address already in use",
        errno.EADDRNOTAVAIL: "cannot assign requested address",
        errno.EACCES: "permission denied",
    }
    reason = known.get(exc.errno or 0) or str(exc.strerror)
    return PortUnavailableError(f"failed to bind host port for {what}: {reason}")
