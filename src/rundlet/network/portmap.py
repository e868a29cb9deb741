"""Published ports: what users write, which host port they get, and the sockets that keep it theirs.

Every published port is held by bound sockets of the host (one for each family), so that a conflict with any program is
an error at start and not a silent theft of its traffic. They don't answer: the firewall sends the traffic on before it
gets there. What can't be sent on (from ::1, or from IPv6 to a container that has IPv4 only) the proxy answers by the
same sockets. The shim keeps them for as long as the container runs.
"""

import contextlib
import errno
import ipaddress
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

import msgspec

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
    # Ports that are reached at the container's own address (gateway mode "routed"), of a family: 4 or 6.
    """CREATE TABLE IF NOT EXISTS opened_ports (
        container_id TEXT NOT NULL,
        protocol TEXT NOT NULL,
        container_port INTEGER NOT NULL,
        family INTEGER NOT NULL,
        PRIMARY KEY (container_id, protocol, container_port, family)
    ) WITHOUT ROWID""",
)

EVERY = ""
"""All addresses of the host, of both families."""
ANY, ANY6 = "0.0.0.0", "::"
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_PROXIED = ("tcp", "udp")
_BACKLOG = 512
_IF_INET6 = "/proc/net/if_inet6"
_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_SPEC = re.compile(r"(?:(?:(?P<address>\[[^\]]*\]|[^:\[\]]*):)?(?P<host>[^:]*):)?(?P<container>[^:]*)")


NewSocket: TypeAlias = Callable[[int, int, int], socket.socket]


class PortRequest(msgspec.Struct, frozen=True):
    """One container port to publish on one host port out of ``first`` … ``last`` (0, 0: any ephemeral port)."""

    protocol: str
    container_port: int
    host_address: str = EVERY
    first: int = 0
    last: int = 0
    preferred: int = 0
    """The number to be tried first."""


class PublishedPort(msgspec.Struct, frozen=True, order=True):
    """One container port on its host port."""

    protocol: str
    container_port: int
    host_address: str
    host_port: int

    def __str__(self) -> str:
        return f"{joined(self.host_address, self.host_port)}->{self.container_port}/{self.protocol}"


class Reach(msgspec.Struct, frozen=True):
    """How a container can be reached by each family: ``nat``, ``routed`` (its own address), or empty: not at all."""

    v4: str = "nat"
    v6: str = ""
    proxy: bool = True
    """Whether a proxy may answer where the firewall can't send on."""
    host_v6: bool = False
    """Whether the host has IPv6."""
    outside: bool = False
    """The host's ports are in another network than our firewall: the proxy answers at all of them."""
    unsent: frozenset[int] = frozenset()
    """The families in which no firewall sends anything on: the proxy, if there is one, answers."""

    def addresses(self, request: PortRequest) -> list[str]:
        """The host's addresses to hold a port on. Raises PortUnavailableError: there is no way from a chosen one."""
        chosen = request.host_address
        if self.outside and request.protocol not in _PROXIED:
            raise PortUnavailableError(
                f"cannot publish {request.container_port}/{request.protocol}: without root only TCP and UDP ports are "
                "passed on"
            )
        bridged = self.proxy and self.v4 == "nat" and not self.v6 and request.protocol in _PROXIED
        if chosen == EVERY:
            wanted = [ANY] if self.v4 == "nat" else []
            return [*wanted, ANY6] if self.host_v6 and (self.v6 == "nat" or bridged) else wanted
        if ":" not in chosen:
            ways = self.v4
        elif ipaddress.IPv6Address(chosen).is_loopback:
            ways = "nat" if request.protocol in _PROXIED and self.proxy and "nat" in (self.v4, self.v6) else ""
        else:
            ways = self.v6 or ("nat" if bridged else "")
        if not ways:
            raise PortUnavailableError(
                f"cannot publish {request.container_port}/{request.protocol} on {chosen}: the container can't be "
                "reached from there"
            )
        return [chosen] if ways == "nat" else []

    def opened(self, request: PortRequest) -> list[int]:
        """The families in which the container's own port is open."""
        chosen = request.host_address
        return [
            version
            for version, way in ((4, self.v4), (6, self.v6))
            if way == "routed" and chosen in (EVERY, ANY if version == 4 else ANY6)
        ]

    def proxied(self, port: "PublishedPort") -> bool:
        """Whether (also) the proxy answers at a host port."""
        if self.outside:
            return port.protocol in _PROXIED
        if not self.proxy or port.protocol not in _PROXIED:
            return False
        if (6 if ":" in port.host_address else 4) in self.unsent:
            return True
        if ":" not in port.host_address:
            return False
        return self.v6 != "nat" or port.host_address == ANY6 or ipaddress.ip_address(port.host_address).is_loopback


def host_has_ipv6() -> bool:
    """Whether this host has any IPv6 address."""
    try:
        return os.path.getsize(_IF_INET6) > 0 or bool(_first_line(_IF_INET6))
    except OSError:
        return False


def _first_line(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.readline()


def joined(address: str, port: int) -> str:
    """``address:port``, in brackets where the address has colons."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# -- what users write -----------------------------------------------------------------------------------------------


def parse_port_spec(spec: str) -> list[PortRequest]:
    """``[[address:][host port]:]container port[/protocol]`` as ``-p`` takes it, ranges included.

    Raises InvalidPortError.
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
    """``80/tcp`` or ``80`` as port and protocol. Raises InvalidPortError."""
    port, _, protocol = value.partition("/")
    low, high = _range(port, "containerPort")
    if low != high:
        raise InvalidPortError(f"invalid containerPort: {value}")
    return low, _protocol(protocol or "tcp")


def requests_from_bindings(
    bindings: Mapping[str, Sequence[tuple[str, str]] | None], default: str = EVERY
) -> list[PortRequest]:
    """The Engine API's PortBindings: ``{"80/tcp": [(HostIp, HostPort), …]}``; no binding at all publishes nothing.

    ``default`` is the host's address where none is given.

    Raises InvalidPortError.
    """
    requests = []
    for key, chosen in bindings.items():
        port, protocol = parse_container_port(key)
        for address, host_port in chosen or ():
            first, last = _range(host_port, "hostPort") if host_port not in ("", "0") else (0, 0)
            requests.append(PortRequest(protocol, port, _host_address(address) if address else default, first, last))
    return requests


def requests_for_exposed(
    exposed: Iterable[str], bound: Iterable[PortRequest], default: str = EVERY
) -> list[PortRequest]:
    """``-P``: a random port (on the host's address ``default``) for everything exposed that is not bound by hand."""
    have = {(request.container_port, request.protocol) for request in bound}
    wanted = sorted({parse_container_port(value) for value in exposed} - have)
    return [PortRequest(protocol, port, default) for port, protocol in wanted]


def _protocol(value: str) -> str:
    protocol = value.lower()
    if protocol not in PROTOCOLS:
        raise InvalidPortError(f"invalid proto: {value}")
    return protocol


def _host_address(value: str) -> str:
    if not value:
        return EVERY
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError as exc:
        raise InvalidPortError(f"invalid IP address: {value}") from exc


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
        self.opened: list[tuple[str, int, int]] = []
        """(protocol, port, family) of the container's own ports that are open."""
        self.proxied: list[tuple[PublishedPort, socket.socket]] = []
        """What the proxy is to answer."""
        self.target = ""
        """The container's address, for the proxy."""
        self._sockets: list[socket.socket] = []

    def add(self, port: PublishedPort, held: socket.socket | None, *, proxied: bool = False) -> None:
        self.ports.append(port)
        if held is not None:
            self._sockets.append(held)
            if proxied:
                self.proxied.append((port, held))

    def keep(self, other: socket.socket) -> None:
        """One more socket that is to live as long as the ports."""
        self._sockets.append(other)

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

    def __init__(self, new_socket: NewSocket = socket.socket) -> None:
        """``new_socket`` makes sockets in the network whose ports are published."""
        self._last: dict[str, int] = {}
        self._new_socket = new_socket

    def reserve(self, requests: Sequence[PortRequest], taken: "TakenPorts", reach: Reach, address: str) -> Reservation:
        """Bound sockets for every request, or none at all. ``address`` is the container's, for messages.

        Raises PortUnavailableError in Docker's words.
        """
        reservation = Reservation()
        try:
            # What asks for one number first: another's free choice must not take it.
            for request in sorted(requests, key=lambda one: (not one.first, one.last - one.first)):
                opened = [(request.protocol, request.container_port, family) for family in reach.opened(request)]
                reservation.opened += [one for one in opened if one not in reservation.opened]
                addresses = reach.addresses(request)
                if addresses:
                    self._reserve_one(reservation, request, addresses, taken, reach, address)
        except BaseException:
            reservation.close()
            raise
        return reservation

    def _reserve_one(
        self,
        reservation: Reservation,
        request: PortRequest,
        addresses: Sequence[str],
        taken: "TakenPorts",
        reach: Reach,
        address: str,
    ) -> None:
        """The same number on all ``addresses``."""
        failure: PortUnavailableError | None = None
        for number in self._candidates(request):
            ports = [PublishedPort(request.protocol, request.container_port, host, number) for host in addresses]
            blocked = next((port for port in ports if taken.conflicts(port)), None)
            if blocked is not None:
                where = joined(blocked.host_address, number)
                failure = PortUnavailableError(f"Bind for {where} failed: port is already allocated")
                continue
            try:
                held = _bind_all(ports, reach, address, self._new_socket)
            except PortUnavailableError as exc:
                failure = exc
                continue
            if request.first != request.last or not request.first:
                self._last[request.protocol] = number
            for port, one in zip(ports, held, strict=True):
                reservation.add(port, one, proxied=reach.proxied(port))
                taken.add(port)
            return
        if failure is None or (request.first == 0):
            raise PortUnavailableError("all ports are allocated") from failure
        raise failure

    def _candidates(self, request: PortRequest) -> Iterable[int]:
        if request.preferred:
            others = self._candidates(msgspec.structs.replace(request, preferred=0))
            return chain((request.preferred,), (number for number in others if number != request.preferred))
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
        every = ANY6 if ":" in port.host_address else ANY
        have = self._addresses.get((port.protocol, port.host_port), set())
        same_family = {address for address in have if (":" in address) == (every == ANY6)}
        if port.host_address == every:
            return bool(same_family)
        return not same_family.isdisjoint((every, port.host_address))


def _ephemeral_range() -> tuple[int, int]:
    with open(_PORT_RANGE, encoding="ascii") as file:
        low, high = file.read().split()
    return int(low), int(high)


def _bind_all(
    ports: Sequence[PublishedPort], reach: Reach, address: str, new_socket: NewSocket
) -> list[socket.socket | None]:
    """Raises PortUnavailableError; then nothing stays bound."""
    with contextlib.ExitStack() as undo:
        held: list[socket.socket | None] = []
        for port in ports:
            try:
                made = _bind(port, new_socket, proxied=reach.proxied(port))
            except OSError as exc:
                raise _bind_error(exc, port, address) from exc
            held.append(made)
            if made is not None:
                undo.callback(made.close)
        undo.pop_all()
        return held


def _bind(port: PublishedPort, new_socket: NewSocket, *, proxied: bool) -> socket.socket | None:
    """None: the kernel has no such sockets, so nobody on this host can have the port."""
    family = socket.AF_INET6 if ":" in port.host_address else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    try:
        held = new_socket(family, kind | socket.SOCK_CLOEXEC, PROTOCOLS[port.protocol])
    except OSError as exc:
        if port.protocol == "sctp" and exc.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        raise
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not proxied:
            # Nothing is ever read from it: a datagram that arrives all the same must not cost memory.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        serving = proxied and port.protocol == "tcp"
        if serving:
            # What it accepts must not keep the port when it has ended: TIME_WAIT gives way only where both sides of the
            # wait had the option. A socket that listens keeps others off all the same.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((port.host_address, port.host_port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or port.protocol != "tcp" or serving:
                raise
            # A server that ended leaves connections in TIME_WAIT, which are no reason to refuse. The option is taken
            # back at once: it would let others bind the port beside us.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((port.host_address, port.host_port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        if serving:
            held.listen(_BACKLOG)
    except BaseException:
        held.close()
        raise
    return held


def _bind_error(exc: OSError, port: PublishedPort, address: str) -> PortUnavailableError:
    what = f"{joined(port.host_address, port.host_port)}:{address}:{port.container_port}/{port.protocol}"
    known = {
        errno.EADDRINUSE: "address already in use",
        errno.EADDRNOTAVAIL: "cannot assign requested address",
        errno.EACCES: "permission denied (which ports are open to every user is up to the machine's sysctl "
        "net.ipv4.ip_unprivileged_port_start)",
    }
    reason = known.get(exc.errno or 0) or str(exc.strerror)
    return PortUnavailableError(f"failed to bind host port for {what}: {reason}")
